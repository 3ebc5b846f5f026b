#pragma once

// Many reads, one ReadIndex (CONS-004). Reads that arrive while a round is under way wait for the
// next one: a round's index was fixed before they came. An unanswered round is asked again; a
// change of leader fails the waiting reads, whose callers retry.
//
// Confined to the server strand.

#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "raft/types.h"
#include "server/base/clock.h"
#include "server/base/strand.h"

namespace etcdd::server {

struct ServerMetrics;

inline constexpr absl::Duration kReadIndexRetryInterval = absl::Milliseconds(500);
// Reads waiting at one time; more are refused with `too many requests`.
inline constexpr size_t kWaitingReadsMax = 1 << 20;

class LinearizableReader {
 public:
  // OK once this member has applied everything that was committed when the read was asked for.
  using Ready = absl::AnyInvocable<void(absl::Status)>;
  using AskReadIndex = absl::AnyInvocable<void(base::Bytes context)>;

  // `metrics` must outlive the reader. `first_round_id` differs from all ids that an earlier life
  // of this member may have used: a late answer to one of them must not confirm a read of this one.
  LinearizableReader(uint64_t first_round_id, base::Strand* strand, const base::Clock* clock,
                     absl::Duration timeout, ServerMetrics* metrics, AskReadIndex ask);
  ~LinearizableReader();

  void Read(Ready ready);

  // OK once everything up to `index` is applied, whoever leads; kTimeout after `timeout`.
  void WhenApplied(uint64_t index, absl::Duration timeout, Ready ready);

  void OnReadStates(absl::Span<const raft::ReadState> states);
  // Everything up to `index` has been applied and is visible.
  void OnApplied(uint64_t index);
  void OnLeaderChanged();
  // Fails reads whose time is up and repeats an unanswered round. Called now and then.
  void OnTick();
  // Fails all waiting reads, and those still to come. Requires: `status` is an error.
  void Stop(const absl::Status& status);

 private:
  struct Waiting {
    Ready ready;
    absl::Duration deadline;
  };
  struct Confirmed {
    uint64_t index;
    std::vector<Waiting> reads;
  };

  void ScheduleRound();
  void StartRound();
  void Ask();
  // These wait for `index` to be applied.
  void Confirm(uint64_t index, std::vector<Waiting> reads);
  static void Finish(std::vector<Waiting> reads, const absl::Status& status);
  // True: there were any.
  static bool FailExpired(std::vector<Waiting>* reads, absl::Duration now);

  base::Strand* const strand_;
  const base::Clock* const clock_;
  const absl::Duration timeout_;
  ServerMetrics* const metrics_;
  AskReadIndex ask_;

  std::vector<Waiting> next_;       // join the round after the current one
  std::vector<Waiting> round_;      // wait for the current round's answer
  std::deque<Confirmed> confirmed_; // wait for apply, by index
  uint64_t round_id_ = 0;           // of the current round; its context on the wire
  absl::Duration asked_at_;
  uint64_t applied_ = 0;
  bool round_scheduled_ = false;
  absl::Status stopped_;  // not OK: why reads are no longer answered
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace etcdd::server
