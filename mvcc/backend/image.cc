#include "mvcc/backend/image.h"

#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/coding.h"
#include "server/base/crc32c.h"
#include "server/base/status_macros.h"

namespace etcdd::mvcc {
namespace {

constexpr std::string_view kMagic = "etcddimg";
constexpr size_t kHeaderBytes = 16;
constexpr size_t kHeadBytes = 12;
constexpr char kRecords = 'r';
constexpr char kEnd = 'e';
constexpr size_t kEndBytes = 13;
constexpr size_t kLoadBatchBytes = 1 << 20;

void AppendNumber(uint32_t value, std::string* out) {
  value = __builtin_bswap32(value);
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

uint32_t ReadNumber(std::string_view in, size_t offset) {
  uint32_t value;
  std::memcpy(&value, in.data() + offset, sizeof value);
  return __builtin_bswap32(value);
}

std::string Header() {
  std::string header(kMagic);
  AppendNumber(kImageVersion, &header);
  AppendNumber(base::Crc32c(0, header), &header);
  return header;
}

size_t RecordBytes(std::string_view key, std::string_view value) {
  return 1 + base::VarintSize(key.size()) + key.size() + base::VarintSize(value.size()) +
         value.size();
}

void AppendRecord(int bucket, std::string_view key, std::string_view value, std::string* out) {
  out->push_back(static_cast<char>(bucket));
  base::AppendVarint(key.size(), out);
  out->append(key);
  base::AppendVarint(value.size(), out);
  out->append(value);
}

// Takes a length and as many bytes off the front.
std::optional<std::string_view> TakeBytes(std::string_view* in) {
  const std::optional<uint64_t> size = base::TakeVarint(in);
  if (!size || *size > in->size()) return std::nullopt;
  const std::string_view bytes = in->substr(0, static_cast<size_t>(*size));
  in->remove_prefix(bytes.size());
  return bytes;
}

absl::Status CheckEmpty(const Backend& backend) {
  const std::unique_ptr<View> view = backend.NewView();
  for (int bucket = 0; bucket < kBucketCount; ++bucket) {
    bool empty = true;
    ETCDD_RETURN_IF_ERROR(view->Scan(static_cast<Bucket>(bucket), "", "",
                                     [&empty](std::string_view, std::string_view) {
                                       empty = false;
                                       return false;
                                     }));
    if (!empty) {
      return absl::FailedPreconditionError(
          absl::StrCat("a backend image goes into an empty backend only; bucket ",
                       std::string(BucketName(static_cast<Bucket>(bucket))), " is not"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

ImageReader::ImageReader(std::unique_ptr<const View> view) : view_(std::move(view)) {}

absl::StatusOr<std::string> ImageReader::Next() {
  ETCDD_RETURN_IF_ERROR(status_);
  if (frame_.empty()) {
    status_ = FillFrame();
    ETCDD_RETURN_IF_ERROR(status_);
  }
  if (frame_sent_ == 0 && frame_.size() <= kImagePieceBytesMax) {
    return std::exchange(frame_, std::string());
  }
  std::string piece = frame_.substr(frame_sent_, kImagePieceBytesMax);
  frame_sent_ += piece.size();
  if (frame_sent_ == frame_.size()) {
    std::exchange(frame_, std::string());  // gives back the memory of a large record
    frame_sent_ = 0;
  }
  return piece;
}

absl::Status ImageReader::FillFrame() {
  if (ended_) return absl::OkStatus();
  if (!begun_) frame_ = Header();
  begun_ = true;
  const size_t begin = frame_.size();
  const uint64_t records_before = records_;
  frame_.append(kHeadBytes, '\0');
  frame_.push_back(kRecords);
  ETCDD_RETURN_IF_ERROR(AppendRecords());
  if (records_ == records_before) {
    frame_.back() = kEnd;
    base::AppendBigEndian64(records_, &frame_);
    AppendNumber(heads_crc_, &frame_);
    ended_ = true;
  }
  SealFrame(begin);
  return absl::OkStatus();
}

absl::Status ImageReader::AppendRecords() {
  uint64_t in_frame = 0;
  bool full = false;
  absl::Status status;
  const auto visit = [&](std::string_view key, std::string_view value) {
    const size_t bytes = RecordBytes(key, value);
    if (bytes > kImageFrameBytesMax - kImagePieceBytesMax) {
      status = absl::ResourceExhaustedError(
          absl::StrCat("a record of ", bytes, " bytes is too large for a backend image"));
      return false;
    }
    if (in_frame > 0 && frame_.size() + bytes > kImagePieceBytesMax) {
      full = true;
      return false;
    }
    AppendRecord(bucket_, key, value, &frame_);
    ++in_frame;
    ++records_;
    next_key_.assign(key);
    next_key_.push_back('\0');  // the smallest key behind it
    return true;
  };
  while (bucket_ < kBucketCount) {
    // A copy: `visit` moves next_key_ on while the scan runs.
    const std::string from = next_key_;
    ETCDD_RETURN_IF_ERROR(view_->Scan(static_cast<Bucket>(bucket_), from, "", visit));
    ETCDD_RETURN_IF_ERROR(status);
    if (full) break;
    ++bucket_;
    next_key_.clear();
  }
  return absl::OkStatus();
}

void ImageReader::SealFrame(size_t begin) {
  const std::string_view payload = std::string_view(frame_).substr(begin + kHeadBytes);
  std::string head;
  AppendNumber(static_cast<uint32_t>(payload.size()), &head);
  AppendNumber(base::Crc32c(0, payload), &head);
  AppendNumber(base::Crc32c(0, head), &head);
  frame_.replace(begin, kHeadBytes, head);
  heads_crc_ = base::Crc32c(heads_crc_, head);
}

absl::Status ImageParser::Append(std::string_view piece, OnRecord on_record) {
  ETCDD_RETURN_IF_ERROR(status_);
  buffer_.append(piece);
  // Each step takes a header or a frame; one that takes nothing waits for more.
  for (size_t before = SIZE_MAX; status_.ok() && rest().size() != before;) {
    before = rest().size();
    if (before > 0) status_ = begun_ ? TakeFrame(on_record) : TakeHeader();
  }
  offset_ += taken_;
  buffer_.erase(0, taken_);
  taken_ = 0;
  return status_;
}

absl::Status ImageParser::Finish() const {
  ETCDD_RETURN_IF_ERROR(status_);
  if (!ended_) return Damaged("it was cut short");
  ETCDD_CHECK(buffer_.empty());
  return absl::OkStatus();
}

absl::Status ImageParser::Damaged(std::string_view what) const {
  return absl::DataLossError(absl::StrCat("the backend image is damaged at byte ",
                                          offset_ + taken_, ": ", std::string(what)));
}

absl::Status ImageParser::TakeHeader() {
  if (rest().size() < kHeaderBytes) return absl::OkStatus();
  const std::string_view header = rest().substr(0, kHeaderBytes);
  if (header.substr(0, kMagic.size()) != kMagic) return Damaged("this is no backend image");
  if (base::Crc32c(0, header.substr(0, 12)) != ReadNumber(header, 12)) {
    return Damaged("checksum mismatch of the header");
  }
  if (ReadNumber(header, 8) != kImageVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("the backend image has format version ", ReadNumber(header, 8),
                     ", this version of etcdd knows ", kImageVersion));
  }
  begun_ = true;
  taken_ += kHeaderBytes;
  return absl::OkStatus();
}

absl::Status ImageParser::TakeFrame(OnRecord on_record) {
  if (ended_) return Damaged("there is more behind its end");
  if (rest().size() < kHeadBytes) return absl::OkStatus();
  const std::string_view head = rest().substr(0, kHeadBytes);
  if (base::Crc32c(0, head.substr(0, 8)) != ReadNumber(head, 8)) {
    return Damaged("checksum mismatch of a frame's head");
  }
  const size_t size = ReadNumber(head, 0);
  if (size < 2 || size > kImageFrameBytesMax) return Damaged("a frame has an impossible size");
  if (rest().size() < kHeadBytes + size) return absl::OkStatus();
  const std::string_view payload = rest().substr(kHeadBytes, size);
  if (base::Crc32c(0, payload) != ReadNumber(head, 4)) {
    return Damaged("checksum mismatch of a frame");
  }
  if (payload[0] == kRecords) {
    ETCDD_RETURN_IF_ERROR(TakeRecords(payload.substr(1), on_record));
  } else if (payload[0] == kEnd) {
    ETCDD_RETURN_IF_ERROR(TakeEnd(payload));
  } else {
    return Damaged("a frame of unknown kind");
  }
  heads_crc_ = base::Crc32c(heads_crc_, head);
  taken_ += kHeadBytes + size;
  return absl::OkStatus();
}

absl::Status ImageParser::TakeRecords(std::string_view payload, OnRecord on_record) {
  while (!payload.empty()) {
    const int bucket = static_cast<uint8_t>(payload[0]);
    payload.remove_prefix(1);
    const std::optional<std::string_view> key = TakeBytes(&payload);
    if (!key) return Damaged("a record without its key");
    const std::optional<std::string_view> value = TakeBytes(&payload);
    if (!value) return Damaged("a record without its value");
    if (bucket >= kBucketCount) return Damaged("a record of an unknown bucket");
    if (bucket < last_bucket_ || (bucket == last_bucket_ && *key <= last_key_)) {
      return Damaged("records out of order");
    }
    ETCDD_RETURN_IF_ERROR(on_record(static_cast<Bucket>(bucket), *key, *value));
    last_bucket_ = bucket;
    last_key_.assign(*key);
    ++records_;
  }
  return absl::OkStatus();
}

absl::Status ImageParser::TakeEnd(std::string_view payload) {
  if (payload.size() != kEndBytes) return Damaged("a malformed end");
  if (base::ReadBigEndian64(payload.data() + 1) != records_) {
    return Damaged(absl::StrCat("the end counts ",
                                base::ReadBigEndian64(payload.data() + 1), " records, there are ",
                                records_));
  }
  if (ReadNumber(payload, 9) != heads_crc_) return Damaged("checksum mismatch of the whole");
  ended_ = true;
  return absl::OkStatus();
}

absl::Status LoadImage(absl::FunctionRef<absl::StatusOr<std::string>()> next, Backend& into) {
  ETCDD_RETURN_IF_ERROR(CheckEmpty(into));
  const std::unique_ptr<Batch> batch = into.NewBatch();
  const auto write = [&]() -> absl::Status {
    if (batch->count() == 0) return absl::OkStatus();
    ETCDD_RETURN_IF_ERROR(into.Write(*batch));
    batch->Clear();
    return absl::OkStatus();
  };
  const auto on_record = [&](Bucket bucket, std::string_view key, std::string_view value) {
    batch->Put(bucket, key, value);
    return batch->bytes() < kLoadBatchBytes ? absl::OkStatus() : write();
  };
  ImageParser parser;
  while (true) {
    ETCDD_ASSIGN_OR_RETURN(const std::string piece, next());
    if (piece.empty()) break;
    ETCDD_RETURN_IF_ERROR(parser.Append(piece, on_record));
  }
  ETCDD_RETURN_IF_ERROR(parser.Finish());
  return write();
}

}  // namespace etcdd::mvcc
