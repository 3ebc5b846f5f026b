#include "server/auto_compactor.h"

#include <algorithm>
#include <utility>

#include "server/base/api_error.h"
#include "server/base/log.h"

namespace etcdd::server {

absl::Duration AutoCompactor::Interval() const {
  if (options_.mode == CompactionMode::kRevision) return kRevisionCompactionInterval;
  return std::min(options_.period, kPeriodicCompactionIntervalMax);
}

absl::Duration AutoCompactor::SampleInterval() const {
  if (options_.mode == CompactionMode::kRevision) return kRevisionCompactionInterval;
  return Interval() / kSamplesPerCompaction;
}

void AutoCompactor::Start() {
  if (!options_.enabled()) return;
  const absl::Duration now = parts_.clock->Monotonic();
  if (options_.mode == CompactionMode::kPeriodic) {
    samples_.push_back({now, parts_.revision()});
    next_ = now + options_.period;
  }
  Wait();
}

void AutoCompactor::Stop() {
  stopped_ = true;
  parts_.strand->Cancel(timer_);
}

void AutoCompactor::Wait() {
  timer_ = parts_.strand->PostAfter(SampleInterval(), [this, alive = alive_] {
    if (*alive && !stopped_) OnTimer();
  });
}

void AutoCompactor::OnTimer() {
  const int64_t due = DueRevision(parts_.clock->Monotonic());
  if (due > 0 && due != last_revision_ && !running_ && parts_.is_leader()) Compact(due);
  Wait();
}

int64_t AutoCompactor::DueRevision(absl::Duration now) {
  const int64_t revision = parts_.revision();
  if (options_.mode == CompactionMode::kRevision) return revision - options_.revisions;
  samples_.push_back({now, revision});
  // The newest sample that is a whole period old comes first; older ones are of no more use.
  while (samples_.size() > 1 && samples_[1].at <= now - options_.period) samples_.pop_front();
  if (now < next_ || samples_.front().at > now - options_.period) return 0;
  return samples_.front().revision;
}

void AutoCompactor::Compact(int64_t revision) {
  running_ = true;
  if (options_.mode == CompactionMode::kPeriodic) {
    ETCDD_LOG(kInfo, "starting auto periodic compaction",
              {{"revision", revision}, {"compact-period", base::LogDuration(options_.period)}});
  } else {
    ETCDD_LOG(kInfo, "starting auto revision compaction",
              {{"revision", revision}, {"revision-compaction-retention", options_.revisions}});
  }
  parts_.compact(revision, [this, alive = alive_, revision,
                            began = parts_.clock->Monotonic()](absl::Status status) {
    if (*alive && !stopped_) OnCompacted(revision, began, status);
  });
}

void AutoCompactor::OnCompacted(int64_t revision, absl::Duration began,
                                const absl::Status& status) {
  running_ = false;
  const bool periodic = options_.mode == CompactionMode::kPeriodic;
  const std::string period = base::LogDuration(options_.period);
  // Somebody else may have compacted further already.
  if (!status.ok() && !base::IsApiError(status, base::ErrorId::kCompacted)) {
    const std::string retry = base::LogDuration(SampleInterval());
    if (periodic) {
      ETCDD_LOG(kWarn, "failed auto periodic compaction",
                {{"revision", revision},
                 {"compact-period", period},
                 {"retry-interval", retry},
                 base::LogField(status)});
    } else {
      ETCDD_LOG(kWarn, "failed auto revision compaction",
                {{"revision", revision},
                 {"revision-compaction-retention", options_.revisions},
                 {"retry-interval", retry},
                 base::LogField(status)});
    }
    return;  // the next sample tries again
  }
  last_revision_ = revision;
  const absl::Duration now = parts_.clock->Monotonic();
  next_ = now + Interval();
  const std::string took = base::LogDuration(now - began);
  if (periodic) {
    ETCDD_LOG(kInfo, "completed auto periodic compaction",
              {{"revision", revision}, {"compact-period", period}, {"took", took}});
  } else {
    ETCDD_LOG(kInfo, "completed auto revision compaction",
              {{"revision", revision},
               {"revision-compaction-retention", options_.revisions},
               {"took", took}});
  }
}

}  // namespace etcdd::server
