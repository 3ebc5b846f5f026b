#pragma once

// One record of the log: its frame, its protobuf form and the rolling checksum, both ways.
//
// On disk: an 8-byte little-endian length field, the record, zero padding to a multiple of 8.
//   length field: bits 0-55 record bytes, bits 56-58 padding bytes, bit 63 set iff there is padding
//   record: walpb.Record {1: type, 2: crc, 3: data}
//   crc: CRC-32C over the data of all records so far; a kCrc record (first in each file) carries it
//        over from the file before
// Scalar fields are written even when zero, as etcd up to 3.6 does; both forms are read.
// The encoding is by hand: a record costs two checksum passes' worth of work and no allocation.

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "wal/types.h"

namespace etcdd::wal {

enum class RecordType : int64_t {
  kMetadata = 1,
  kEntry = 2,
  kState = 3,
  kCrc = 4,
  kSnapshot = 5,
};

struct Record {
  RecordType type;
  uint32_t crc;           // the rolling checksum including `data`
  std::string_view data;  // borrowed from what was parsed
};

inline constexpr uint64_t kFrameHeaderBytes = 8;

struct Frame {
  uint64_t record_bytes;
  uint64_t padding_bytes;
};

// Parses a length field that is not zero; nullopt when no writer can have made it.
// Requires: kFrameHeaderBytes readable bytes.
std::optional<Frame> ParseFrame(const char* in);

// The parsers are strict: malformed protobuf, an unknown field, a wrong wire type or a value out of
// range gives nullopt, and so does content that is not plausible. Absent fields are zero. This is
// what protects the record's type, which no checksum covers.
std::optional<Record> ParseRecord(std::string_view bytes);
std::optional<Entry> ParseEntry(std::string_view data);
std::optional<HardState> ParseHardState(std::string_view data);
std::optional<SnapshotRecord> ParseSnapshot(std::string_view data);

// Whether raft can have produced this: an entry has an index and a known type, and data unless it
// is a normal one; a hard state with a vote or a commit has a term.
bool IsPlausible(const EntryView& entry);
bool IsPlausible(const HardState& state);

// True when a whole record with the right checksum stands at the front of `bytes`, however long the
// frame claims it to be. `crc` is the rolling checksum before it.
bool StartsWithIntactRecord(std::string_view bytes, uint32_t crc);

// Encodes records behind each other, ready for one write. Large payloads are not copied: they must
// stay valid until Clear. Confined to the Wal's caller.
class RecordEncoder {
 public:
  explicit RecordEncoder(uint32_t crc) : crc_(crc) {}

  void AddCrc();
  void AddMetadata(std::string_view metadata);
  void AddEntries(absl::Span<const EntryView> entries);
  void AddState(const HardState& state);
  void AddSnapshot(const SnapshotRecord& snapshot);

  // What was added since Clear, in order; valid until the next call of any method.
  absl::Span<const std::string_view> Pieces();
  // Their total size; a multiple of 8.
  uint64_t bytes() const { return used_ + borrowed_bytes_; }
  void Clear();

  // The rolling checksum after everything added so far.
  uint32_t crc() const { return crc_; }

 private:
  // Data that stands between two parts of the buffer.
  struct Borrowed {
    size_t before;  // the buffer's bytes in front of it
    std::string_view data;
  };

  void Reserve(size_t more);
  // Appends the record whose data is `head` + `body`. Requires: room reserved.
  void Append(RecordType type, std::string_view head, std::string_view body);

  uint32_t crc_;
  std::unique_ptr<char[]> buffer_;
  size_t capacity_ = 0;
  size_t used_ = 0;
  std::vector<Borrowed> borrowed_;
  uint64_t borrowed_bytes_ = 0;
  std::vector<std::string_view> pieces_;
};

}  // namespace etcdd::wal
