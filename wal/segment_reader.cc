#include "wal/segment_reader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/crc32c.h"
#include "server/base/status_macros.h"

namespace etcdd::wal {
namespace {

constexpr uint64_t kSectorBytes = 512;
constexpr uint64_t kWindowBytes = 1024 * 1024;

bool AllZero(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == 0; });
}

// True when one of the sectors that `bytes`, standing at `offset` of the file, touch is missing.
bool LacksSector(uint64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const uint64_t to_boundary = kSectorBytes - offset % kSectorBytes;
    const auto piece = static_cast<size_t>(std::min<uint64_t>(to_boundary, bytes.size()));
    if (AllZero(bytes.substr(0, piece))) return true;
    bytes.remove_prefix(piece);
    offset += piece;
  }
  return false;
}

}  // namespace

SegmentReader::SegmentReader(base::File& file, std::string path, bool is_last,
                             std::optional<uint32_t> crc)
    : file_(file), path_(std::move(path)), is_last_(is_last), crc_(crc) {}

absl::Status SegmentReader::Init() {
  ETCDD_ASSIGN_OR_RETURN(size_, file_.Size());
  return absl::OkStatus();
}

absl::StatusOr<std::string_view> SegmentReader::View(uint64_t offset, uint64_t size) {
  size = std::min(size, size_ - std::min(size_, offset));
  if (offset < window_begin_ || offset + size > window_begin_ + window_.size()) {
    const uint64_t want = std::min(std::max(size, kWindowBytes), size_ - offset);
    ETCDD_RETURN_IF_ERROR(file_.ReadAt(offset, static_cast<size_t>(want), &window_));
    window_begin_ = offset;
    if (window_.size() < size) {
      return absl::DataLossError(absl::StrCat(path_, ": shrank while being read"));
    }
  }
  return std::string_view(window_).substr(static_cast<size_t>(offset - window_begin_),
                                          static_cast<size_t>(size));
}

absl::Status SegmentReader::Damaged(std::string_view what) const {
  return absl::DataLossError(absl::StrCat(path_, ": ",
                                          absl::string_view(what.data(), what.size()),
                                          " at offset ", offset_));
}

absl::StatusOr<SegmentReader::Outcome> SegmentReader::EndAtZeroLength() {
  if (!is_last_) return Outcome::kEnd;  // the next segment's checksum proves it
  ETCDD_ASSIGN_OR_RETURN(const std::string_view rest,
                         View(offset_, kSectorBytes - offset_ % kSectorBytes));
  if (!AllZero(rest)) return Damaged("record length erased");
  return Outcome::kEnd;
}

absl::StatusOr<SegmentReader::Outcome> SegmentReader::JudgeUnreadable(std::string_view what,
                                                                      std::string_view bytes,
                                                                      bool runs_beyond_file) {
  // Content and length field of a torn record cannot disagree: the sector with the length field
  // was either written or reads as zero.
  if (StartsWithIntactRecord(bytes, crc_.value_or(0))) return Damaged("record length damaged");
  if (!is_last_) return Damaged(what);
  if (runs_beyond_file || LacksSector(offset_ + kFrameHeaderBytes, bytes)) return Outcome::kTorn;
  return Damaged(what);
}

absl::StatusOr<SegmentReader::Outcome> SegmentReader::Next(Record* record) {
  if (offset_ == size_) return Outcome::kEnd;
  ETCDD_ASSIGN_OR_RETURN(const std::string_view header, View(offset_, kFrameHeaderBytes));
  if (header.size() < kFrameHeaderBytes) {
    if (is_last_) return Outcome::kTorn;
    return Damaged("record cut short");
  }
  if (AllZero(header)) return EndAtZeroLength();
  const std::optional<Frame> frame = ParseFrame(header.data());
  if (!frame) return Damaged("impossible record length");

  const uint64_t body_bytes = frame->record_bytes + frame->padding_bytes;
  ETCDD_ASSIGN_OR_RETURN(const std::string_view body,
                         View(offset_ + kFrameHeaderBytes, body_bytes));
  if (body.size() < frame->record_bytes) {
    return JudgeUnreadable("record runs beyond the end of the file", body, true);
  }
  if (body.size() < body_bytes) {
    if (is_last_) return Outcome::kTorn;
    return Damaged("padding cut short");
  }
  // Padding is zero in any case and says nothing about its sector.
  const std::string_view content = body.substr(0, static_cast<size_t>(frame->record_bytes));
  const std::optional<Record> parsed = ParseRecord(content);
  if (!parsed) return JudgeUnreadable("malformed record", content, false);

  if (parsed->type == RecordType::kCrc) {
    if (crc_ && *crc_ != parsed->crc) return Damaged("checksum chain broken");
    crc_ = parsed->crc;
  } else {
    if (!crc_) return Damaged("segment does not begin with a checksum record");
    const uint32_t crc = base::Crc32c(*crc_, parsed->data);
    if (crc != parsed->crc) return JudgeUnreadable("checksum mismatch", content, false);
    crc_ = crc;
  }
  offset_ += kFrameHeaderBytes + body_bytes;
  *record = *parsed;
  return Outcome::kRecord;
}

}  // namespace etcdd::wal
