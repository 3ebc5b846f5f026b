#include "snap/snapshot_file.h"

#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "server/base/check.h"
#include "server/base/coding.h"
#include "server/base/crc32c.h"

namespace etcdd::snap {
namespace {

using base::TakeVarint;

constexpr size_t kDigits = 16;
constexpr std::string_view kSuffix = ".snap";

std::optional<uint64_t> ParseHex(std::string_view text) {
  uint64_t value = 0;
  for (const char c : text) {
    if (c >= '0' && c <= '9') {
      value = value << 4 | static_cast<uint64_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      value = value << 4 | (static_cast<uint64_t>(c - 'a') + 10);
    } else {
      return std::nullopt;
    }
  }
  return value;
}

// Appends the number also when it is zero, as etcd up to 3.6 does.
void AppendNumber(uint32_t field, uint64_t value, std::string* out) {
  base::AppendVarint(base::VarintTag(field), out);
  base::AppendVarint(value, out);
}

struct Field {
  uint64_t number;
  bool is_bytes;
  uint64_t varint;
  std::string_view bytes;
};

// Takes a varint or bytes field off the front; these messages know no other kinds.
bool TakeField(std::string_view* in, Field* field) {
  const std::optional<uint64_t> tag = TakeVarint(in);
  if (!tag) return false;
  const std::optional<uint64_t> value = TakeVarint(in);
  if (!value) return false;
  *field = {*tag >> 3, (*tag & 7) == 2, *value, {}};
  if ((*tag & 7) == 0) return true;
  if (!field->is_bytes || *value > in->size()) return false;
  field->bytes = in->substr(0, static_cast<size_t>(*value));
  in->remove_prefix(static_cast<size_t>(*value));
  return true;
}

// raftpb.SnapshotMetadata
bool ParseMetadata(std::string_view in, Snapshot* snapshot) {
  while (!in.empty()) {
    Field field;
    if (!TakeField(&in, &field)) return false;
    if (field.is_bytes != (field.number == 1)) return false;
    switch (field.number) {
      case 1:
        snapshot->conf_state = std::string(field.bytes);
        break;
      case 2:
        snapshot->id.index = field.varint;
        break;
      case 3:
        snapshot->id.term = field.varint;
        break;
      default:
        return false;
    }
  }
  return true;
}

// raftpb.Snapshot
bool ParseSnapshot(std::string_view in, Snapshot* snapshot) {
  while (!in.empty()) {
    Field field;
    if (!TakeField(&in, &field) || !field.is_bytes) return false;
    if (field.number == 1) {
      snapshot->data = std::string(field.bytes);
    } else if (field.number != 2 || !ParseMetadata(field.bytes, snapshot)) {
      return false;
    }
  }
  return true;
}

}  // namespace

std::string FormatSnapshotName(const SnapshotId& id) {
  return absl::StrFormat("%016x-%016x.snap", id.term, id.index);
}

std::optional<SnapshotId> ParseSnapshotName(std::string_view file_name) {
  if (file_name.size() != 2 * kDigits + 1 + kSuffix.size() || file_name[kDigits] != '-' ||
      file_name.substr(2 * kDigits + 1) != kSuffix) {
    return std::nullopt;
  }
  const std::optional<uint64_t> term = ParseHex(file_name.substr(0, kDigits));
  const std::optional<uint64_t> index = ParseHex(file_name.substr(kDigits + 1, kDigits));
  if (!term || !index) return std::nullopt;
  return SnapshotId{*term, *index};
}

std::string EncodeSnapshotFile(const Snapshot& snapshot) {
  ETCDD_CHECK(snapshot.id.index > 0);
  std::string metadata;
  base::AppendBytesField(1, snapshot.conf_state, &metadata);
  AppendNumber(2, snapshot.id.index, &metadata);
  AppendNumber(3, snapshot.id.term, &metadata);
  std::string message;
  if (!snapshot.data.empty()) base::AppendBytesField(1, snapshot.data, &message);
  base::AppendBytesField(2, metadata, &message);
  std::string content;
  AppendNumber(1, base::Crc32c(0, message), &content);
  base::AppendBytesField(2, message, &content);
  return content;
}

absl::StatusOr<Snapshot> DecodeSnapshotFile(std::string_view content) {
  if (content.empty()) return absl::DataLossError("empty snapshot file");
  uint64_t crc = 0;
  std::string_view message;
  while (!content.empty()) {
    Field field;
    if (!TakeField(&content, &field) || field.is_bytes != (field.number == 2) ||
        field.number < 1 || field.number > 2 ||
        field.varint > std::numeric_limits<uint32_t>::max()) {
      return absl::DataLossError("malformed snapshot file");
    }
    if (field.number == 1) crc = field.varint;
    if (field.number == 2) message = field.bytes;
  }
  // etcd takes a zero checksum for an unwritten one.
  if (message.empty() || crc == 0) return absl::DataLossError("snapshot file without content");
  if (base::Crc32c(0, message) != crc) return absl::DataLossError("checksum mismatch");
  Snapshot snapshot;
  if (!ParseSnapshot(message, &snapshot) || snapshot.id.index == 0) {
    return absl::DataLossError("malformed snapshot");
  }
  return snapshot;
}

}  // namespace etcdd::snap
