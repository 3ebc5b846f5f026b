#include "raft/codec.h"

#include <utility>

#include "absl/status/status.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace etcdd::raft {
namespace {

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void AppendVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

void AppendNumber(uint32_t field, uint64_t value, std::string* out) {
  AppendVarint(field << 3 | kVarint, out);
  AppendVarint(value, out);
}

void AppendIfSet(uint32_t field, uint64_t value, std::string* out) {
  if (value != 0) AppendNumber(field, value, out);
}

void AppendBytes(uint32_t field, std::string_view bytes, std::string* out) {
  AppendVarint(field << 3 | kBytes, out);
  AppendVarint(bytes.size(), out);
  out->append(bytes);
}

std::string EncodeConfState(const ConfState& state) {
  std::string out;
  for (NodeId id : state.voters) AppendNumber(1, id, &out);
  for (NodeId id : state.learners) AppendNumber(2, id, &out);
  for (NodeId id : state.voters_outgoing) AppendNumber(3, id, &out);
  for (NodeId id : state.learners_next) AppendNumber(4, id, &out);
  AppendNumber(5, state.auto_leave ? 1 : 0, &out);
  return out;
}

std::string EncodeSnapshot(const Snapshot& snapshot) {
  std::string metadata;
  AppendBytes(1, EncodeConfState(snapshot.conf_state), &metadata);
  AppendNumber(2, snapshot.index, &metadata);
  AppendNumber(3, snapshot.term, &metadata);
  std::string out;
  if (!snapshot.data.empty()) AppendBytes(1, snapshot.data.view(), &out);
  AppendBytes(2, metadata, &out);
  return out;
}

absl::Status Malformed() { return absl::InvalidArgumentError("malformed raft message"); }

// One field after the other.
class Reader {
 public:
  struct Field {
    uint32_t number = 0;
    bool is_number = false;  // else bytes, or skipped fixed-width ones (both empty)
    uint64_t value = 0;
    std::string_view bytes;
  };

  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  bool done() const { return rest_.empty(); }

  // False if the bytes are broken.
  bool Next(Field* field) {
    uint64_t tag = 0;
    if (!ReadVarint(&tag) || (tag >> 3) == 0 || (tag >> 3) > UINT32_MAX) return false;
    *field = Field();
    field->number = static_cast<uint32_t>(tag >> 3);
    switch (tag & 7) {
      case kVarint:
        field->is_number = true;
        return ReadVarint(&field->value);
      case kBytes: {
        uint64_t size = 0;
        return ReadVarint(&size) && Take(size, &field->bytes);
      }
      case kFixed64:
        return Skip(8);
      case kFixed32:
        return Skip(4);
      default:
        return false;
    }
  }

  bool ReadVarint(uint64_t* value) {
    *value = 0;
    for (uint32_t shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      *value |= static_cast<uint64_t>(byte & 0x7fu) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

 private:
  bool Take(uint64_t size, std::string_view* bytes) {
    if (size > rest_.size()) return false;
    *bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }
  bool Skip(uint64_t size) {
    std::string_view ignored;
    return Take(size, &ignored);
  }

  std::string_view rest_;
};

// A repeated number, packed or not.
bool AppendIds(const Reader::Field& field, std::vector<NodeId>* ids) {
  if (field.is_number) {
    ids->push_back(field.value);
    return true;
  }
  Reader reader(field.bytes);
  while (!reader.done()) {
    uint64_t id = 0;
    if (!reader.ReadVarint(&id)) return false;
    ids->push_back(id);
  }
  return true;
}

absl::Status DecodeConfState(std::string_view bytes, ConfState* state) {
  Reader reader(bytes);
  Reader::Field field;
  while (!reader.done()) {
    if (!reader.Next(&field)) return Malformed();
    bool ok = true;
    switch (field.number) {
      case 1:
        ok = AppendIds(field, &state->voters);
        break;
      case 2:
        ok = AppendIds(field, &state->learners);
        break;
      case 3:
        ok = AppendIds(field, &state->voters_outgoing);
        break;
      case 4:
        ok = AppendIds(field, &state->learners_next);
        break;
      case 5:
        state->auto_leave = field.value != 0;
        break;
      default:
        break;
    }
    if (!ok) return Malformed();
  }
  return absl::OkStatus();
}

absl::Status DecodeMetadata(std::string_view bytes, Snapshot* snapshot) {
  Reader reader(bytes);
  Reader::Field field;
  while (!reader.done()) {
    if (!reader.Next(&field)) return Malformed();
    if (field.number == 1) {
      ETCDD_RETURN_IF_ERROR(DecodeConfState(field.bytes, &snapshot->conf_state));
    } else if (field.number == 2) {
      snapshot->index = field.value;
    } else if (field.number == 3) {
      snapshot->term = field.value;
    }
  }
  return absl::OkStatus();
}

absl::Status DecodeSnapshot(std::string_view bytes, Message* message) {
  Snapshot snapshot;
  Reader reader(bytes);
  Reader::Field field;
  while (!reader.done()) {
    if (!reader.Next(&field)) return Malformed();
    if (field.number == 1) {
      snapshot.data = base::Bytes::Copy(field.bytes);
    } else if (field.number == 2) {
      ETCDD_RETURN_IF_ERROR(DecodeMetadata(field.bytes, &snapshot));
    }
  }
  if (!snapshot.empty()) message->snapshot = std::make_shared<const Snapshot>(std::move(snapshot));
  return absl::OkStatus();
}

absl::Status SetField(const Reader::Field& field, Message* message) {
  switch (field.number) {
    case 1:
      if (field.value >= static_cast<uint64_t>(kMessageTypeCount)) return Malformed();
      message->type = static_cast<MessageType>(field.value);
      break;
    case 2:
      message->to = field.value;
      break;
    case 3:
      message->from = field.value;
      break;
    case 4:
      message->term = field.value;
      break;
    case 5:
      message->log_term = field.value;
      break;
    case 6:
      message->index = field.value;
      break;
    case 7: {
      ETCDD_ASSIGN_OR_RETURN(Entry entry, DecodeEntry(field.bytes));
      message->entries.push_back(std::move(entry));
      break;
    }
    case 8:
      message->commit = field.value;
      break;
    case 9:
      return DecodeSnapshot(field.bytes, message);
    case 10:
      message->reject = field.value != 0;
      break;
    case 11:
      message->reject_hint = field.value;
      break;
    case 12:
      message->context = base::Bytes::Copy(field.bytes);
      break;
    case 13:
      message->vote = field.value;
      break;
    default:
      break;
  }
  return absl::OkStatus();
}

}  // namespace

void AppendEncoded(const Entry& entry, std::string* out) {
  AppendNumber(1, static_cast<uint64_t>(entry.type), out);
  AppendNumber(2, entry.term, out);
  AppendNumber(3, entry.index, out);
  if (!entry.data.empty()) AppendBytes(4, entry.data.view(), out);
}

void AppendEncoded(const Message& m, std::string* out) {
  ETCDD_CHECK(m.responses.empty());
  AppendNumber(1, static_cast<uint64_t>(m.type), out);
  AppendIfSet(2, m.to, out);
  AppendIfSet(3, m.from, out);
  AppendIfSet(4, m.term, out);
  AppendIfSet(5, m.log_term, out);
  AppendIfSet(6, m.index, out);
  for (const Entry& entry : m.entries) {
    AppendVarint(7 << 3 | kBytes, out);
    AppendVarint(EncodedSize(entry), out);
    AppendEncoded(entry, out);
  }
  AppendIfSet(8, m.commit, out);
  if (m.snapshot != nullptr) AppendBytes(9, EncodeSnapshot(*m.snapshot), out);
  AppendIfSet(10, m.reject ? 1 : 0, out);
  AppendIfSet(11, m.reject_hint, out);
  if (!m.context.empty()) AppendBytes(12, m.context.view(), out);
  AppendIfSet(13, m.vote, out);
}

absl::StatusOr<Entry> DecodeEntry(std::string_view bytes) {
  Entry entry;
  Reader reader(bytes);
  Reader::Field field;
  while (!reader.done()) {
    if (!reader.Next(&field)) return Malformed();
    switch (field.number) {
      case 1:
        if (field.value > static_cast<uint64_t>(EntryType::kConfChangeV2)) return Malformed();
        entry.type = static_cast<EntryType>(field.value);
        break;
      case 2:
        entry.term = field.value;
        break;
      case 3:
        entry.index = field.value;
        break;
      case 4:
        entry.data = base::Bytes::Copy(field.bytes);
        break;
      default:
        break;
    }
  }
  return entry;
}

absl::StatusOr<Message> DecodeMessage(std::string_view bytes) {
  Message message;
  Reader reader(bytes);
  Reader::Field field;
  while (!reader.done()) {
    if (!reader.Next(&field)) return Malformed();
    ETCDD_RETURN_IF_ERROR(SetField(field, &message));
  }
  return message;
}

}  // namespace etcdd::raft
