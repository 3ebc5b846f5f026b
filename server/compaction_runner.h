#pragma once

// Runs the physical removal that follows an accepted compaction: steps on the background strand,
// their batches written on the server strand, pauses in between so that requests do not notice
// (KV-072, KV-075).
//
// Confined to the server strand.

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "mvcc/store.h"
#include "server/base/clock.h"
#include "server/base/strand.h"

namespace etcdd::server {

struct ServerMetrics;

// A step is followed by a pause this many times its own length, but never longer than
// --compaction-sleep-interval: removal takes a fixed small share of one core however fast it is.
inline constexpr int kCompactionPauseFactor = 3;

class CompactionRunner {
 public:
  struct Parts {
    base::Strand* strand = nullptr;
    base::Strand* background = nullptr;
    const base::Clock* clock = nullptr;
    mvcc::Store* store = nullptr;
    mvcc::Backend* backend = nullptr;
    ServerMetrics* metrics = nullptr;
    std::function<void(const absl::Status&)> on_fatal;
  };
  CompactionRunner(Parts parts, absl::Duration pause_max)
      : parts_(std::move(parts)), pause_max_(pause_max) {}
  ~CompactionRunner() { *alive_ = false; }

  // Starts the pending compaction, if there is one and none runs. Called after the batch with the
  // compaction was finished, and once at start.
  void Kick();

  // Runs `done` once everything up to `revision` is removed (at once if it is).
  void WhenFinished(int64_t revision, absl::AnyInvocable<void()> done);

  bool running() const { return compaction_ != nullptr; }
  // Lets go of the compaction in progress: the store is about to be closed, or its content
  // replaced. Afterwards the background strand must have had a turn, or be joined, before that
  // happens.
  void Stop() {
    stopped_ = true;
    compaction_.reset();
  }
  // Those who wait, for the runner that takes this one's place.
  using Waiting = std::vector<std::pair<int64_t, absl::AnyInvocable<void()>>>;
  Waiting TakeWaiting() { return std::exchange(waiting_, {}); }

 private:
  void RunStep(absl::Duration pause);
  void OnStep(std::unique_ptr<mvcc::Batch> batch, absl::StatusOr<bool> more, absl::Duration took);
  void Finished();

  const Parts parts_;
  const absl::Duration pause_max_;
  std::shared_ptr<mvcc::Compaction> compaction_;
  absl::Duration started_;
  Waiting waiting_;
  bool stopped_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace etcdd::server
