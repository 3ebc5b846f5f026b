#include "wal/record.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "server/base/check.h"
#include "server/base/coding.h"
#include "server/base/crc32c.h"

namespace etcdd::wal {
namespace {

using base::BytesTag;
using base::TakeVarint;
using base::VarintTag;
using base::WriteVarint;

// Everything of a record but the payload: length field, three tags, type, crc, data length, the
// entry's own tags and numbers, padding.
constexpr size_t kRecordOverheadMax = 96;
// A payload of this size is cheaper to hand to the kernel than to copy.
constexpr size_t kBorrowBytesMin = 8 * 1024;
// A buffer that one big Save blew up is given back.
constexpr size_t kKeptBufferBytesMax = 4 * 1024 * 1024;

uint64_t LoadLittleEndian64(const char* in) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) {
    value |= static_cast<uint64_t>(static_cast<uint8_t>(in[i])) << (8 * i);
  }
  return value;
}

char* StoreLittleEndian64(uint64_t value, char* out) {
  for (size_t i = 0; i < 8; ++i) *out++ = static_cast<char>(value >> (8 * i));
  return out;
}

// Both take a field number below 16, whose tag is one byte.
char* WriteVarintField(uint32_t field, uint64_t value, char* out) {
  *out++ = static_cast<char>(VarintTag(field));
  return WriteVarint(value, out);
}
char* WriteBytesHeader(uint32_t field, uint64_t size, char* out) {
  *out++ = static_cast<char>(BytesTag(field));
  return WriteVarint(size, out);
}

// One field taken off a message.
struct Field {
  uint32_t number;
  uint32_t wire_type;
  uint64_t varint;         // wire type 0
  std::string_view bytes;  // wire type 2
};

bool TakeBytes(std::string_view* in, uint64_t size, std::string_view* out) {
  if (size > in->size()) return false;
  *out = in->substr(0, size);
  in->remove_prefix(size);
  return true;
}

bool TakeField(std::string_view* in, Field* field) {
  const std::optional<uint64_t> tag = TakeVarint(in);
  if (!tag || *tag > std::numeric_limits<uint32_t>::max()) return false;
  *field = {};
  field->number = static_cast<uint32_t>(*tag >> 3);
  field->wire_type = static_cast<uint32_t>(*tag & 7);
  if (field->number == 0) return false;
  switch (field->wire_type) {
    case 0: {
      const std::optional<uint64_t> value = TakeVarint(in);
      if (!value) return false;
      field->varint = *value;
      return true;
    }
    case 1:
      return TakeBytes(in, 8, &field->bytes);
    case 2: {
      const std::optional<uint64_t> size = TakeVarint(in);
      return size && TakeBytes(in, *size, &field->bytes);
    }
    case 5:
      return TakeBytes(in, 4, &field->bytes);
    default:
      return false;  // groups: never used by etcd
  }
}

bool IsVarint(const Field& field, uint64_t max, uint64_t* out) {
  if (field.wire_type != 0 || field.varint > max) return false;
  *out = field.varint;
  return true;
}

// raftpb.EntryType has the values 0 to 2.
constexpr int32_t kEntryTypeMax = 2;
constexpr uint64_t kAny = std::numeric_limits<uint64_t>::max();

// Takes one field of walpb.Record into `record`.
bool TakeRecordField(std::string_view* in, Record* record, bool* has_data) {
  Field field;
  if (!TakeField(in, &field)) return false;
  uint64_t value = 0;
  switch (field.number) {
    case 1:
      if (!IsVarint(field, kAny, &value)) return false;
      record->type = static_cast<RecordType>(value);
      return true;
    case 2:
      if (!IsVarint(field, std::numeric_limits<uint32_t>::max(), &value)) return false;
      record->crc = static_cast<uint32_t>(value);
      return true;
    case 3:
      if (field.wire_type != 2) return false;
      record->data = field.bytes;
      *has_data = true;
      return true;
    default:
      return false;
  }
}

}  // namespace

std::optional<Frame> ParseFrame(const char* in) {
  const uint64_t length = LoadLittleEndian64(in);
  const uint64_t record_bytes = length & ((uint64_t{1} << 56) - 1);
  const uint64_t padding = (8 - record_bytes % 8) % 8;
  const uint64_t top = padding == 0 ? 0 : 0x80 | padding;
  if (record_bytes == 0 || (length >> 56) != top) return std::nullopt;
  return Frame{record_bytes, padding};
}

std::optional<Record> ParseRecord(std::string_view bytes) {
  Record record{};
  bool has_data = false;
  while (!bytes.empty()) {
    if (!TakeRecordField(&bytes, &record, &has_data)) return std::nullopt;
  }
  return record;
}

std::optional<Entry> ParseEntry(std::string_view data) {
  Entry entry;
  while (!data.empty()) {
    Field field;
    if (!TakeField(&data, &field)) return std::nullopt;
    uint64_t value = 0;
    bool good = false;
    switch (field.number) {
      case 1:
        good = IsVarint(field, kEntryTypeMax, &value);
        entry.type = static_cast<int32_t>(value);
        break;
      case 2:
        good = IsVarint(field, kAny, &entry.term);
        break;
      case 3:
        good = IsVarint(field, kAny, &entry.index);
        break;
      case 4:
        good = field.wire_type == 2;
        entry.data = base::Bytes::Copy(field.bytes);
        break;
      default:
        break;
    }
    if (!good) return std::nullopt;
  }
  if (!IsPlausible({entry.type, entry.term, entry.index, entry.data.view()})) return std::nullopt;
  return entry;
}

std::optional<HardState> ParseHardState(std::string_view data) {
  HardState state;
  uint64_t* const numbers[] = {&state.term, &state.vote, &state.commit};
  while (!data.empty()) {
    Field field;
    if (!TakeField(&data, &field) || field.number > 3) return std::nullopt;
    if (!IsVarint(field, kAny, numbers[field.number - 1])) return std::nullopt;
  }
  if (!IsPlausible(state)) return std::nullopt;
  return state;
}

std::optional<SnapshotRecord> ParseSnapshot(std::string_view data) {
  SnapshotRecord snapshot;
  while (!data.empty()) {
    Field field;
    if (!TakeField(&data, &field) || field.number > 3) return std::nullopt;
    if (field.number == 3) {
      if (field.wire_type != 2) return std::nullopt;
      snapshot.conf_state = std::string(field.bytes);
    } else if (!IsVarint(field, kAny, field.number == 1 ? &snapshot.index : &snapshot.term)) {
      return std::nullopt;
    }
  }
  return snapshot;
}

bool IsPlausible(const EntryView& entry) {
  return entry.index != 0 && entry.type >= 0 && entry.type <= kEntryTypeMax &&
         (entry.type == 0 || !entry.data.empty());
}

bool IsPlausible(const HardState& state) { return state.term != 0 || state.empty(); }

bool StartsWithIntactRecord(std::string_view bytes, uint32_t crc) {
  Record record{};
  bool has_data = false;
  // Data is the last field written, so the record ends with it.
  while (!has_data && !bytes.empty()) {
    if (!TakeRecordField(&bytes, &record, &has_data)) return false;
  }
  return has_data && record.crc == base::Crc32c(crc, record.data);
}

void RecordEncoder::Reserve(size_t more) {
  if (capacity_ - used_ >= more) return;
  const size_t capacity = std::max(used_ + more, 2 * capacity_);
  std::unique_ptr<char[]> buffer(new char[capacity]);  // uninitialised on purpose
  if (used_ > 0) std::memcpy(buffer.get(), buffer_.get(), used_);
  buffer_ = std::move(buffer);
  capacity_ = capacity;
}

void RecordEncoder::Append(RecordType type, std::string_view head, std::string_view body) {
  crc_ = base::Crc32c(base::Crc32c(crc_, head), body);
  const size_t data_bytes = head.size() + body.size();

  char prefix[32];
  char* end = WriteVarintField(1, static_cast<uint64_t>(type), prefix);
  end = WriteVarintField(2, crc_, end);
  if (type != RecordType::kCrc) end = WriteBytesHeader(3, data_bytes, end);
  const auto prefix_bytes = static_cast<size_t>(end - prefix);

  const size_t record_bytes = prefix_bytes + data_bytes;
  const size_t padding = (8 - record_bytes % 8) % 8;
  const uint64_t top = padding == 0 ? 0 : 0x80 | padding;

  const bool borrow = body.size() >= kBorrowBytesMin;
  char* const begin = buffer_.get() + used_;
  char* out = StoreLittleEndian64(record_bytes | (top << 56), begin);
  std::memcpy(out, prefix, prefix_bytes);
  out += prefix_bytes;
  if (!head.empty()) std::memcpy(out, head.data(), head.size());
  out += head.size();
  if (borrow) {
    borrowed_.push_back({used_ + static_cast<size_t>(out - begin), body});
    borrowed_bytes_ += body.size();
  } else if (!body.empty()) {
    std::memcpy(out, body.data(), body.size());
    out += body.size();
  }
  std::memset(out, 0, padding);
  out += padding;
  used_ += static_cast<size_t>(out - begin);
  ETCDD_CHECK(used_ <= capacity_);
}

void RecordEncoder::AddCrc() {
  Reserve(kRecordOverheadMax);
  Append(RecordType::kCrc, {}, {});
}

void RecordEncoder::AddMetadata(std::string_view metadata) {
  Reserve(kRecordOverheadMax + metadata.size());
  // As head, so that it is copied: the caller's bytes need not outlive the call.
  Append(RecordType::kMetadata, metadata, {});
}

void RecordEncoder::AddEntries(absl::Span<const EntryView> entries) {
  size_t bytes = 0;
  for (const EntryView& entry : entries) {
    bytes += kRecordOverheadMax;
    if (entry.data.size() < kBorrowBytesMin) bytes += entry.data.size();
  }
  Reserve(bytes);
  for (const EntryView& entry : entries) {
    char head[48];
    char* end = WriteVarintField(1, static_cast<uint64_t>(entry.type), head);
    end = WriteVarintField(2, entry.term, end);
    end = WriteVarintField(3, entry.index, end);
    if (!entry.data.empty()) end = WriteBytesHeader(4, entry.data.size(), end);
    Append(RecordType::kEntry, {head, static_cast<size_t>(end - head)}, entry.data);
  }
}

void RecordEncoder::AddState(const HardState& state) {
  Reserve(kRecordOverheadMax);
  char data[40];
  char* end = WriteVarintField(1, state.term, data);
  end = WriteVarintField(2, state.vote, end);
  end = WriteVarintField(3, state.commit, end);
  Append(RecordType::kState, {data, static_cast<size_t>(end - data)}, {});
}

void RecordEncoder::AddSnapshot(const SnapshotRecord& snapshot) {
  std::string data;
  char numbers[32];
  char* end = WriteVarintField(1, snapshot.index, numbers);
  end = WriteVarintField(2, snapshot.term, end);
  data.assign(numbers, static_cast<size_t>(end - numbers));
  if (!snapshot.conf_state.empty()) base::AppendBytesField(3, snapshot.conf_state, &data);
  Reserve(kRecordOverheadMax + data.size());
  Append(RecordType::kSnapshot, data, {});
}

absl::Span<const std::string_view> RecordEncoder::Pieces() {
  pieces_.clear();
  size_t done = 0;
  for (const Borrowed& borrowed : borrowed_) {
    pieces_.emplace_back(buffer_.get() + done, borrowed.before - done);
    pieces_.push_back(borrowed.data);
    done = borrowed.before;
  }
  if (used_ > done) pieces_.emplace_back(buffer_.get() + done, used_ - done);
  return pieces_;
}

void RecordEncoder::Clear() {
  used_ = 0;
  borrowed_.clear();
  borrowed_bytes_ = 0;
  if (capacity_ > kKeptBufferBytesMax) {
    buffer_.reset();
    capacity_ = 0;
  }
}

}  // namespace etcdd::wal
