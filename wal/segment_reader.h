#pragma once

// Reads the records of one segment in order and judges how it ends.
//
// A record that cannot be read is one of two things. Torn: a crash hit while it was being written;
// only possible at the end of the last segment, and what follows was never promised to anybody, so
// it may be cut. Damaged: anything else; cutting would lose promised data, so it is refused.
//
// Disks write sectors of 512 bytes whole or not at all, and space that was never written reads as
// zeros. So a record is torn when it runs beyond the end of the file or one of the sectors it
// touches lacks its part of it (reads as zeros there). Damaged is, beyond what etcd detects,
//  - a record whose content is intact while its length field is not (etcd would cut here);
//  - a zero length field with other bytes behind it in the same sector.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/file_system.h"
#include "wal/record.h"

namespace etcdd::wal {

class SegmentReader {
 public:
  enum class Outcome {
    kRecord,
    kEnd,   // the end of the data: end of file or a zero length field
    kTorn,  // only in the last segment; valid_end() is where to cut
  };

  // `crc` is the rolling checksum at the end of the segment before, nullopt when reading starts
  // here. `file` must outlive the reader; `path` is for messages.
  SegmentReader(base::File& file, std::string path, bool is_last, std::optional<uint32_t> crc);

  // Reads the size; call once, before Next.
  absl::Status Init();

  // On kRecord fills `record`, whose data is valid until the next call. DataLoss names the file and
  // the offset of the damaged record. After anything but kRecord: do not call again.
  absl::StatusOr<Outcome> Next(Record* record);

  // Offset behind the last record returned.
  uint64_t valid_end() const { return offset_; }
  uint64_t size() const { return size_; }
  std::optional<uint32_t> crc() const { return crc_; }

 private:
  // `size` bytes at `offset`, fewer at the end of the file; valid until the next call.
  absl::StatusOr<std::string_view> View(uint64_t offset, uint64_t size);
  absl::StatusOr<Outcome> EndAtZeroLength();
  absl::StatusOr<Outcome> JudgeUnreadable(std::string_view what, std::string_view bytes,
                                          bool runs_beyond_file);
  absl::Status Damaged(std::string_view what) const;

  base::File& file_;
  const std::string path_;
  const bool is_last_;
  uint64_t size_ = 0;
  uint64_t offset_ = 0;
  std::optional<uint32_t> crc_;

  std::string window_;  // the file's bytes from window_begin_ on
  uint64_t window_begin_ = 0;
};

}  // namespace etcdd::wal
