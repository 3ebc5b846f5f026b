#include "wal/wal.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "wal/prewriter.h"
#include "wal/record.h"
#include "wal/segment.h"
#include "wal/segment_pipeline.h"

namespace etcdd::wal {
namespace {

// The next segment is pre-written only when the tail is filled to 1/kPrewriteNextPart, so that an
// idle member does not write what it may never use.
constexpr uint64_t kPrewriteNextPart = 4;

}  // namespace

Wal::Wal(base::FileSystem& fs, Options options, std::string dir, std::string metadata,
         Position position)
    : fs_(fs),
      options_(std::move(options)),
      dir_(std::move(dir)),
      metadata_(std::move(metadata)),
      segments_(std::move(position.segments)),
      position_(position.offset),
      last_index_(position.last_index),
      hard_state_(position.hard_state),
      encoder_(std::make_unique<RecordEncoder>(position.crc)) {
  ETCDD_CHECK(!segments_.empty());
}

Wal::~Wal() {
  // Whatever went wrong in the background has nobody left to hear it but the log.
  if (absl::Status status = StopBackgroundWork(); !status.ok()) {
    ETCDD_LOG(kWarn, "failed to pre-write a WAL segment", {base::LogField(status)});
  }
}

absl::Status Wal::StartBackgroundWork() {
  const PrewriteOptions prewrite = {
      .chunk_bytes = options_.unsafe_no_fsync ? 0 : options_.prewrite_chunk_bytes,
      .pause = options_.prewrite_pause,
      .ahead_bytes = options_.prewrite_ahead_bytes};
  pipeline_ = std::make_unique<SegmentPipeline>(fs_, dir_, options_.background,
                                                options_.segment_bytes, prewrite);
  pipeline_->Prepare();
  if (options_.background != nullptr && prewrite.chunk_bytes > 0 &&
      position_ < options_.segment_bytes) {
    ETCDD_ASSIGN_OR_RETURN(auto file,
                           fs_.Open(segments_.back().path, base::OpenMode::kReadWrite));
    prewriter_ = std::make_shared<Prewriter>(std::move(file), *options_.background, prewrite,
                                             position_, options_.segment_bytes);
    prewriter_->Start();
  }
  return absl::OkStatus();
}

absl::Status Wal::StopBackgroundWork() {
  pipeline_.reset();
  const std::shared_ptr<Prewriter> prewriter = std::move(prewriter_);
  return prewriter == nullptr ? absl::OkStatus() : prewriter->Stop();
}

absl::Status Wal::Poison(absl::Status status) {
  ETCDD_CHECK(!status.ok());
  if (failed_.ok()) failed_ = status;
  return status;
}

absl::Status Wal::CheckSave(const HardState& state, absl::Span<const EntryView> entries) const {
  if (!IsPlausible(state)) {
    return absl::InvalidArgumentError(absl::StrCat(dir_, ": hard state without a term"));
  }
  if (!state.empty() && (state.term < hard_state_.term || state.commit < hard_state_.commit)) {
    return absl::InvalidArgumentError(absl::StrCat(
        dir_, ": hard state goes back from term ", hard_state_.term, ", commit ",
        hard_state_.commit, " to term ", state.term, ", commit ", state.commit));
  }
  if (entries.empty()) return absl::OkStatus();
  uint64_t previous = std::min(last_index_, entries.front().index - 1);
  for (const EntryView& entry : entries) {
    if (!IsPlausible(entry)) {
      return absl::InvalidArgumentError(
          absl::StrCat(dir_, ": entry ", entry.index, " of type ", entry.type, " without content"));
    }
    if (entry.index != previous + 1) {
      return absl::InvalidArgumentError(
          absl::StrCat(dir_, ": entry ", entry.index, " does not follow entry ", previous));
    }
    previous = entry.index;
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Wal::Save(const HardState& hard_state, absl::Span<const EntryView> entries) {
  ETCDD_RETURN_IF_ERROR(failed_);
  ETCDD_RETURN_IF_ERROR(CheckSave(hard_state, entries));
  const bool save_state = !hard_state.empty() && hard_state != hard_state_;
  if (entries.empty() && !save_state) return false;

  bool needs_sync = !entries.empty();
  encoder_->AddEntries(entries);
  if (save_state) {
    needs_sync |= hard_state.term != hard_state_.term || hard_state.vote != hard_state_.vote;
    encoder_->AddState(hard_state);
  }
  if (absl::Status status = WriteEncoded(); !status.ok()) return Poison(std::move(status));
  if (!entries.empty()) last_index_ = entries.back().index;
  if (save_state) hard_state_ = hard_state;

  if (position_ >= options_.segment_bytes) {
    if (absl::Status status = Cut(); !status.ok()) return Poison(std::move(status));
    return false;
  }
  if (position_ >= options_.segment_bytes / kPrewriteNextPart) pipeline_->Prewrite();
  return needs_sync;
}

absl::Status Wal::WriteEncoded() {
  const uint64_t bytes = encoder_->bytes();
  if (prewriter_ != nullptr) ETCDD_RETURN_IF_ERROR(prewriter_->Claim(position_ + bytes));
  ETCDD_RETURN_IF_ERROR(segments_.back().file->WriteAt(position_, encoder_->Pieces()));
  encoder_->Clear();
  position_ += bytes;
  if (options_.on_write_bytes) options_.on_write_bytes(bytes);
  return absl::OkStatus();
}

absl::Status Wal::Sync() {
  ETCDD_RETURN_IF_ERROR(failed_);
  if (absl::Status status = SyncFile(*segments_.back().file); !status.ok()) {
    return Poison(std::move(status));
  }
  return absl::OkStatus();
}

absl::Status Wal::SyncFile(base::File& file) {
  if (options_.unsafe_no_fsync) return absl::OkStatus();
  const absl::Duration begin = options_.clock->Monotonic();
  ETCDD_RETURN_IF_ERROR(file.Sync());
  const absl::Duration took = options_.clock->Monotonic() - begin;
  if (took > options_.slow_sync) {
    ETCDD_LOG(kWarn, "slow fdatasync",
              {{"took", base::LogDuration(took)},
               {"expected-duration", base::LogDuration(options_.slow_sync)}});
  }
  if (options_.on_sync) options_.on_sync(took);
  return absl::OkStatus();
}

absl::Status Wal::SaveSnapshot(const SnapshotRecord& record) {
  ETCDD_RETURN_IF_ERROR(failed_);
  if (record.index == 0 || record.term == 0 || record.conf_state.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(dir_, ": snapshot mark ", record.index, " without index, term or conf state"));
  }
  encoder_->AddSnapshot(record);
  if (absl::Status status = WriteEncoded(); !status.ok()) return Poison(std::move(status));
  last_index_ = std::max(last_index_, record.index);
  return Sync();
}

absl::Status Wal::Cut() {
  if (prewriter_ != nullptr) ETCDD_RETURN_IF_ERROR(prewriter_->Stop());
  prewriter_.reset();
  // Without its unused space the old segment ends where its data ends.
  ETCDD_RETURN_IF_ERROR(segments_.back().file->Truncate(position_));
  ETCDD_RETURN_IF_ERROR(SyncFile(*segments_.back().file));

  ETCDD_ASSIGN_OR_RETURN(SegmentPipeline::Prepared next, pipeline_->Take());
  encoder_->AddCrc();
  encoder_->AddMetadata(metadata_);
  if (!hard_state_.empty()) encoder_->AddState(hard_state_);
  const uint64_t header_bytes = encoder_->bytes();
  if (next.prewriter != nullptr) ETCDD_RETURN_IF_ERROR(next.prewriter->Claim(header_bytes));
  ETCDD_RETURN_IF_ERROR(next.file->WriteAt(0, encoder_->Pieces()));
  encoder_->Clear();
  if (options_.on_write_bytes) options_.on_write_bytes(header_bytes);
  // Whole and durable before it gets a name that readers look at.
  ETCDD_RETURN_IF_ERROR(SyncFile(*next.file));

  Segment segment;
  segment.name = {segments_.back().name.seq + 1, last_index_ + 1};
  segment.path = base::JoinPath(dir_, FormatSegmentName(segment.name));
  segment.file = std::move(next.file);
  ETCDD_RETURN_IF_ERROR(fs_.Rename(next.path, segment.path));
  ETCDD_RETURN_IF_ERROR(fs_.SyncDir(dir_));
  ETCDD_LOG(kInfo, "created a new WAL segment", {{"path", segment.path}});

  segments_.push_back(std::move(segment));
  position_ = header_bytes;
  prewriter_ = std::move(next.prewriter);
  if (prewriter_ != nullptr) prewriter_->Start();
  pipeline_->Prepare();
  return absl::OkStatus();
}

absl::Status Wal::ReleaseTo(uint64_t index) {
  ETCDD_RETURN_IF_ERROR(failed_);
  const auto beyond = std::find_if(segments_.begin(), segments_.end(), [index](const Segment& s) {
    return s.name.index >= index;
  });
  // Keep the one before the first that begins at or behind `index`; it may hold `index` itself.
  if (beyond == segments_.begin()) return absl::OkStatus();
  segments_.erase(segments_.begin(), std::prev(beyond));
  return absl::OkStatus();
}

absl::Status Wal::Close() {
  if (closed_) return absl::OkStatus();
  closed_ = true;
  const absl::Status stopped = StopBackgroundWork();
  absl::Status result = failed_;
  if (result.ok()) result = stopped;
  if (result.ok()) result = SyncFile(*segments_.back().file);
  segments_.clear();
  if (failed_.ok()) failed_ = absl::FailedPreconditionError(absl::StrCat(dir_, ": WAL is closed"));
  return result;
}

}  // namespace etcdd::wal
