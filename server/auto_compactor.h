#pragma once

// Automatic compaction (KV-076, KV-077): while this member leads, history older than a period, or
// beyond a number of revisions, is given up without anybody asking.
//
//   AutoCompactor compactor(parts, {CompactionMode::kPeriodic, absl::Hours(1), 0});
//   compactor.Start();
//
// Revisions are sampled by followers too, so that a new leader goes on where the old one was.
//
// Confined to `strand`.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/strand.h"
#include "server/config.h"

namespace etcdd::server {

// Revision mode looks this often; the periodic mode compacts at least this often.
inline constexpr absl::Duration kRevisionCompactionInterval = absl::Minutes(5);
inline constexpr absl::Duration kPeriodicCompactionIntervalMax = absl::Hours(1);
// Samples per interval of the periodic mode.
inline constexpr int kSamplesPerCompaction = 10;

struct AutoCompactionOptions {
  CompactionMode mode = CompactionMode::kPeriodic;
  absl::Duration period;  // periodic mode: how much history stays; 0: off
  int64_t revisions = 0;  // revision mode: how many stay; 0: off

  bool enabled() const {
    return mode == CompactionMode::kPeriodic ? period > absl::ZeroDuration() : revisions > 0;
  }
};

class AutoCompactor {
 public:
  struct Parts {
    base::Strand* strand = nullptr;
    const base::Clock* clock = nullptr;
    std::function<int64_t()> revision;  // of the store
    std::function<bool()> is_leader;
    // Compacts the cluster's store; `done` gets the status of the request.
    std::function<void(int64_t revision, absl::AnyInvocable<void(absl::Status)> done)> compact;
  };
  // Parts outlive the compactor.
  AutoCompactor(Parts parts, AutoCompactionOptions options)
      : parts_(std::move(parts)), options_(options) {}
  ~AutoCompactor() { *alive_ = false; }

  // Does nothing when the options say off. Called once.
  void Start();
  void Stop();

 private:
  struct Sample {
    absl::Duration at;
    int64_t revision;
  };

  absl::Duration Interval() const;
  absl::Duration SampleInterval() const;
  void Wait();
  void OnTimer();
  // The revision to compact to now; 0: none.
  int64_t DueRevision(absl::Duration now);
  void Compact(int64_t revision);
  void OnCompacted(int64_t revision, absl::Duration began, const absl::Status& status);

  const Parts parts_;
  const AutoCompactionOptions options_;

  base::TimerId timer_ = 0;
  std::deque<Sample> samples_;          // periodic mode: the last period, oldest first
  absl::Duration next_;                 // periodic mode: not before
  int64_t last_revision_ = 0;           // compacted to last
  bool running_ = false;
  bool stopped_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace etcdd::server
