#pragma once

// The image of a backend: all its records as one stream of bytes, for another member or a file.
//
//   header  "etcddimg", version (4), CRC-32C of the 12 bytes before (4)
//   frame   head: payload length (4), CRC-32C of the payload (4), CRC-32C of the 8 bytes before (4)
//           payload: its kind (1), then
//             'r'  records, at least one: bucket (1, the number in enum Bucket), key length
//                  (varint), key, value length (varint), value
//             'e'  the end: number of records (8), CRC-32C of the heads of all frames before (4)
//
// Numbers are big-endian. There are as many frames of records as it takes, then one end, then
// nothing. Records are strictly ascending by bucket and key. Equal backends give equal images,
// whatever kind of backend they are.
//
// So a flipped bit is found before what it is in is used, a lost or doubled frame by order, count
// or the last checksum, and a cut by the missing end.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mvcc/backend/backend.h"

namespace etcdd::mvcc {

inline constexpr uint32_t kImageVersion = 1;
// A piece handed out by ImageReader; also a frame's, unless one record alone is larger.
inline constexpr size_t kImagePieceBytesMax = 1 << 20;
// A record must fit into one frame, and both sides hold a frame in memory.
inline constexpr size_t kImageFrameBytesMax = 1 << 30;

// Reads an image from a view. Keeps one frame in memory, whatever the size of the store.
// Confined to one thread at a time; blocks on the disk.
class ImageReader {
 public:
  // The view's backend must outlive the object.
  explicit ImageReader(std::unique_ptr<const View> view);

  // The next piece, of 1 to kImagePieceBytesMax bytes; empty at the end. An error is final.
  // ResourceExhausted: a record is larger than kImageFrameBytesMax. Others: the view's.
  absl::StatusOr<std::string> Next();

 private:
  absl::Status FillFrame();
  absl::Status AppendRecords();
  void SealFrame(size_t begin);

  const std::unique_ptr<const View> view_;
  absl::Status status_;
  bool begun_ = false;
  bool ended_ = false;
  // Where the scan goes on: every record before this one was put into a frame.
  int bucket_ = 0;
  std::string next_key_;
  uint64_t records_ = 0;
  uint32_t heads_crc_ = 0;
  // The frame on its way out, and how much of it is gone.
  std::string frame_;
  size_t frame_sent_ = 0;
};

// Checks and takes apart an image as it arrives, in pieces of any size. Keeps one frame and one
// piece in memory. Confined to one thread at a time; does no I/O.
class ImageParser {
 public:
  // The views are valid during the call only. An error ends the parsing.
  using OnRecord = absl::FunctionRef<absl::Status(Bucket bucket, std::string_view key,
                                                  std::string_view value)>;

  // Calls `on_record` for each record that became whole. Records come only from frames whose
  // checksum is right, but an error may still follow: all is good when Finish says so. An error is
  // final. DataLoss: the image is damaged, the message says where. FailedPrecondition: the image is
  // in a later version of the format. Others: what on_record returned.
  absl::Status Append(std::string_view piece, OnRecord on_record);
  // All pieces were appended. DataLoss: the image was cut short.
  absl::Status Finish() const;

  uint64_t records() const { return records_; }

 private:
  absl::Status TakeHeader();
  absl::Status TakeFrame(OnRecord on_record);
  absl::Status TakeRecords(std::string_view payload, OnRecord on_record);
  absl::Status TakeEnd(std::string_view payload);
  absl::Status Damaged(std::string_view what) const;
  std::string_view rest() const { return std::string_view(buffer_).substr(taken_); }

  absl::Status status_;
  bool begun_ = false;
  bool ended_ = false;
  // What has arrived and how much of it was taken apart already.
  std::string buffer_;
  size_t taken_ = 0;
  // Where in the image the untaken part begins.
  uint64_t offset_ = 0;
  uint64_t records_ = 0;
  uint32_t heads_crc_ = 0;
  // The record before.
  int last_bucket_ = -1;
  std::string last_key_;
};

// Writes an image into an empty backend, in batches of about 1 MiB; does not flush. `next` gives
// the pieces and is empty at the end. Blocks; call it on a worker.
// FailedPrecondition: `into` is not empty, or see ImageParser::Append. DataLoss: the image is
// damaged. Others: what `next` or the backend said. After an error `into` holds a part of the
// image: throw it away.
absl::Status LoadImage(absl::FunctionRef<absl::StatusOr<std::string>()> next, Backend& into);

}  // namespace etcdd::mvcc
