#include "server/compaction_runner.h"

#include <algorithm>

#include "server/base/log.h"
#include "server/server_metrics.h"

namespace etcdd::server {

void CompactionRunner::Kick() {
  if (stopped_ || compaction_ != nullptr) return;
  compaction_ = parts_.store->NewCompaction();
  if (compaction_ == nullptr) return;
  started_ = parts_.clock->Monotonic();
  RunStep(absl::ZeroDuration());
}

void CompactionRunner::WhenFinished(int64_t revision, absl::AnyInvocable<void()> done) {
  if (parts_.store->finished_compact_revision() >= revision) {
    done();
    return;
  }
  waiting_.emplace_back(revision, std::move(done));
}

void CompactionRunner::RunStep(absl::Duration pause) {
  // Between steps nobody but this object holds the compaction, so that it can be abandoned.
  auto step = [this, alive = alive_, parts = parts_,
               weak = std::weak_ptr<mvcc::Compaction>(compaction_)] {
    const std::shared_ptr<mvcc::Compaction> compaction = weak.lock();
    if (compaction == nullptr) return;
    const absl::Duration begin = parts.clock->Monotonic();
    std::unique_ptr<mvcc::Batch> batch = parts.backend->NewBatch();
    absl::StatusOr<bool> more = compaction->Step(batch.get());
    const absl::Duration took = parts.clock->Monotonic() - begin;
    parts.strand->Post(
        [this, alive, batch = std::move(batch), more = std::move(more), took]() mutable {
          if (*alive && !stopped_) OnStep(std::move(batch), std::move(more), took);
        });
  };
  if (pause > absl::ZeroDuration()) {
    parts_.background->PostAfter(pause, std::move(step));
  } else {
    parts_.background->Post(std::move(step));
  }
}

void CompactionRunner::OnStep(std::unique_ptr<mvcc::Batch> batch, absl::StatusOr<bool> more,
                              absl::Duration took) {
  parts_.metrics->compaction_step_ms.Observe(absl::ToDoubleMilliseconds(took));
  absl::Status status = more.status();
  if (status.ok() && batch->count() > 0) status = parts_.backend->Write(*batch);
  if (!status.ok()) {
    parts_.on_fatal(status);
    return;
  }
  if (*more) {
    RunStep(std::min(pause_max_, kCompactionPauseFactor * took));
  } else {
    Finished();
  }
}

void CompactionRunner::Finished() {
  compaction_->Finish();
  const absl::Duration whole = parts_.clock->Monotonic() - started_;
  parts_.metrics->compaction_ms.Observe(absl::ToDoubleMilliseconds(whole));
  parts_.metrics->compacted_keys.Add(compaction_->removed());
  parts_.metrics->last_compaction_seconds.Set(
      absl::ToDoubleSeconds(parts_.clock->Wall() - absl::UnixEpoch()));
  ETCDD_LOG(kInfo, "finished scheduled compaction",
            {{"compact-revision", compaction_->revision()},
             {"took", base::LogDuration(whole)},
             {"number-of-keys-compacted", compaction_->removed()},
             {"current-db-size-bytes", parts_.backend->SizeBytes()},
             {"current-db-size-in-use-bytes", parts_.backend->SizeInUseBytes()}});
  compaction_.reset();
  const int64_t finished = parts_.store->finished_compact_revision();
  auto ready = std::stable_partition(waiting_.begin(), waiting_.end(), [&](const auto& waiting) {
    return waiting.first > finished;
  });
  std::vector<std::pair<int64_t, absl::AnyInvocable<void()>>> done(
      std::make_move_iterator(ready), std::make_move_iterator(waiting_.end()));
  waiting_.erase(ready, waiting_.end());
  for (auto& [revision, callback] : done) callback();
  Kick();
}

}  // namespace etcdd::server
