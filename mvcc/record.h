#pragma once

// Records: encoded mvccpb.KeyValue with ascending fields, zero fields left out (MAINT-030):
// 1 key, 2 create_revision, 3 mod_revision, 4 version, 5 value, 6 lease. The same bytes are stored,
// kept in memory, sent in replies and in events, so nothing here makes protobuf objects.
//
// A record whose value was dropped from memory is a *stub*: the record without field 5.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/base/bytes.h"

namespace etcdd::mvcc {

struct RecordFields {
  std::string_view key = {};
  int64_t create_revision = 0;
  int64_t mod_revision = 0;
  int64_t version = 0;
  std::string_view value = {};
  int64_t lease = 0;
};

base::Bytes EncodeRecord(const RecordFields& fields);

// nullopt when the bytes are no KeyValue. Accepts any field order and skips unknown fields; the
// views point into `bytes`.
std::optional<RecordFields> DecodeRecord(std::string_view bytes);

// True when `bytes` is exactly what EncodeRecord would write for it, and has a key.
bool IsCanonicalRecord(std::string_view bytes, const RecordFields& fields);

// The functions below require a record of EncodeRecord with a key, or a stub of it.

inline std::string_view RecordKey(std::string_view record) {
  const auto first = static_cast<uint8_t>(record[1]);
  if (first < 0x80) return record.substr(2, first);
  size_t size = first & 0x7f;
  size_t at = 2;
  for (int shift = 7;; shift += 7, ++at) {
    const auto byte = static_cast<uint8_t>(record[at]);
    size |= static_cast<size_t>(byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return record.substr(at + 1, size);
}

int64_t RecordModRevision(std::string_view record);

// Fields 1 to 4: what a keys-only read answers (KV-021).
std::string_view RecordWithoutValueAndLease(std::string_view record);
// The record without field 5.
std::string RecordWithoutValue(std::string_view record);

}  // namespace etcdd::mvcc
