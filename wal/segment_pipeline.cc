#include "wal/segment_pipeline.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "wal/segment.h"

namespace etcdd::wal {

struct SegmentPipeline::State {
  enum class Phase {
    kIdle,    // nothing asked for
    kWanted,  // posted, not begun
    kMaking,  // somebody is at it, outside the mutex
    kReady,   // `result` is filled
    kClosed,
  };

  State(base::FileSystem& fs_in, std::string dir_in, base::Strand* strand_in,
        uint64_t segment_bytes_in, PrewriteOptions prewrite_in)
      : fs(fs_in),
        dir(std::move(dir_in)),
        strand(strand_in),
        segment_bytes(segment_bytes_in),
        prewrite(prewrite_in) {}

  // Makes the file if it is wanted and nobody is at it.
  void Make();
  absl::StatusOr<Prepared> Create(uint64_t number);

  base::FileSystem& fs;
  const std::string dir;
  base::Strand* const strand;
  const uint64_t segment_bytes;
  const PrewriteOptions prewrite;

  absl::Mutex mutex;
  Phase phase ABSL_GUARDED_BY(mutex) = Phase::kIdle;
  uint64_t made ABSL_GUARDED_BY(mutex) = 0;  // files made so far
  absl::StatusOr<Prepared> result ABSL_GUARDED_BY(mutex) = absl::UnavailableError("not made");
};

void SegmentPipeline::State::Make() {
  uint64_t number = 0;
  {
    absl::MutexLock lock(&mutex);
    if (phase != Phase::kWanted) return;
    phase = Phase::kMaking;
    number = made++;
  }
  absl::StatusOr<Prepared> prepared = Create(number);
  absl::MutexLock lock(&mutex);
  result = std::move(prepared);
  phase = Phase::kReady;
}

absl::StatusOr<SegmentPipeline::Prepared> SegmentPipeline::State::Create(uint64_t number) {
  Prepared prepared;
  prepared.path = base::JoinPath(dir, absl::StrCat(number % 2, ".tmp"));
  ETCDD_ASSIGN_OR_RETURN(prepared.file, CreateSegmentFile(fs, prepared.path, segment_bytes));
  if (strand != nullptr && prewrite.chunk_bytes > 0) {
    ETCDD_ASSIGN_OR_RETURN(auto file, fs.Open(prepared.path, base::OpenMode::kReadWrite));
    prepared.prewriter =
        std::make_shared<Prewriter>(std::move(file), *strand, prewrite, 0, segment_bytes);
  }
  return prepared;
}

SegmentPipeline::SegmentPipeline(base::FileSystem& fs, std::string dir, base::Strand* strand,
                                 uint64_t segment_bytes, PrewriteOptions prewrite)
    : state_(std::make_shared<State>(fs, std::move(dir), strand, segment_bytes, prewrite)) {}

SegmentPipeline::~SegmentPipeline() {
  State& state = *state_;
  absl::MutexLock lock(&state.mutex);
  const auto settled = [&state] { return state.phase != State::Phase::kMaking; };
  state.mutex.Await(absl::Condition(&settled));
  const bool ready = state.phase == State::Phase::kReady;
  state.phase = State::Phase::kClosed;
  if (!ready || !state.result.ok()) return;
  Prepared prepared = *std::move(state.result);
  if (prepared.prewriter != nullptr) {
    if (absl::Status status = prepared.prewriter->Stop(); !status.ok()) {
      ETCDD_LOG(kWarn, "failed to pre-write a WAL segment", {base::LogField(status)});
    }
  }
  // A leftover does no harm, so a failure is only worth a line.
  if (absl::Status status = state.fs.RemoveFile(prepared.path); !status.ok()) {
    ETCDD_LOG(kWarn, "failed to remove a prepared WAL segment", {base::LogField(status)});
  }
}

void SegmentPipeline::Prepare() {
  {
    absl::MutexLock lock(&state_->mutex);
    if (state_->phase != State::Phase::kIdle) return;
    state_->phase = State::Phase::kWanted;
  }
  if (state_->strand == nullptr) {
    state_->Make();
  } else {
    state_->strand->Post([state = state_] { state->Make(); });
  }
}

void SegmentPipeline::Prewrite() {
  std::shared_ptr<Prewriter> prewriter;
  {
    absl::MutexLock lock(&state_->mutex);
    if (state_->phase != State::Phase::kReady || !state_->result.ok()) return;
    prewriter = state_->result->prewriter;
  }
  if (prewriter != nullptr) prewriter->Start();
}

absl::StatusOr<SegmentPipeline::Prepared> SegmentPipeline::Take() {
  bool prepared_earlier;
  {
    absl::MutexLock lock(&state_->mutex);
    prepared_earlier = state_->phase == State::Phase::kReady;
  }
  absl::StatusOr<Prepared> taken = TakeNext();
  // The disk may have been full then and have room now. Other failures are not tried again.
  if (prepared_earlier && absl::IsResourceExhausted(taken.status())) return TakeNext();
  return taken;
}

absl::StatusOr<SegmentPipeline::Prepared> SegmentPipeline::TakeNext() {
  State& state = *state_;
  {
    absl::MutexLock lock(&state.mutex);
    if (state.phase == State::Phase::kIdle) state.phase = State::Phase::kWanted;
  }
  state.Make();
  absl::MutexLock lock(&state.mutex);
  const auto ready = [&state] { return state.phase == State::Phase::kReady; };
  state.mutex.Await(absl::Condition(&ready));
  state.phase = State::Phase::kIdle;
  return std::exchange(state.result, absl::UnavailableError("taken"));
}

}  // namespace etcdd::wal
