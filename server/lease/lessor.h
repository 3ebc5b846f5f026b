#pragma once

// Leases: which exist, which keys hang on them, and when they end. The records (id, TTL, remaining
// TTL) are replicated state, changed only by applied entries; expiry times are the leader's local
// matter and never enter the state (LEASE-014..018).
//
// Time is Clock::Monotonic(). A lessor starts as a follower's: nothing expires until Promote.
//
// Confined to the server strand.

#include <cstdint>
#include <memory>
#include <queue>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mvcc/backend/backend.h"
#include "mvcc/lease_attacher.h"
#include "server/base/clock.h"

namespace etcdd::lease {

inline constexpr int64_t kLeaseTtlSecondsMax = 9'000'000'000;  // LEASE-002
// LEASE-014: how much one expiry scan may hand out, and how often it runs.
inline constexpr size_t kExpiredPerScanMax = 500;
inline constexpr absl::Duration kExpiryScanInterval = absl::Milliseconds(500);
// LEASE-019.
inline constexpr absl::Duration kCheckpointInterval = absl::Minutes(5);
inline constexpr size_t kCheckpointsPerEntryMax = 1000;
// LEASE-017: how many leases may expire in one second after a promotion, and from how many leases
// on expiries are spread.
inline constexpr size_t kSpreadFromLeases = 1000;
inline constexpr size_t kSpreadPerSecondMax = 750;

struct LessorOptions {
  int64_t min_ttl_seconds = 2;  // LEASE-003
  bool checkpoint = false;      // feature LeaseCheckpoint
  bool checkpoint_persist = false;
};

struct TimeToLive {
  int64_t ttl_seconds = -1;  // remaining, rounded down; -1: no such lease
  int64_t granted_ttl_seconds = 0;
};

struct Renewal {
  enum class Outcome {
    kRenewed,          // ttl_seconds is the full granted TTL
    kNotFound,         // no such lease
    kExpired,          // past its end, not revoked yet: wait for OnGone (LEASE-011)
    kNeedsCheckpoint,  // a checkpoint must be reset through raft before the renewal counts
  };
  Outcome outcome = Outcome::kNotFound;
  int64_t ttl_seconds = 0;
};

struct Checkpoint {
  int64_t id = 0;
  int64_t remaining_ttl_seconds = 0;
};

class Lessor final : public mvcc::LeaseAttacher {
 public:
  // `clock` must outlive the lessor.
  Lessor(const base::Clock& clock, LessorOptions options);
  ~Lessor() override;

  // Loads all lease records, dropping what was there. Keys are attached afterwards by the store's
  // own restore (architecture.md: the lessor recovers before mvcc).
  absl::Status Restore(const mvcc::View& view);

  // --- Applied entries. Records go into `batch`. ---

  // Returns the effective TTL. Errors: too large TTL, lease exists. Requires: id != 0.
  absl::StatusOr<int64_t> Grant(int64_t id, int64_t ttl_seconds, mvcc::Batch& batch);
  // The keys of the lease in ascending order; the caller deletes them in the same transaction and
  // then calls Remove. Error: lease not found.
  absl::StatusOr<std::vector<std::string>> Keys(int64_t id) const;
  // Forgets the lease and its record, and tells those waiting in OnGone. Requires: it exists.
  void Remove(int64_t id, mvcc::Batch& batch);
  // LEASE-019. Unknown leases are ignored.
  void ApplyCheckpoint(const Checkpoint& checkpoint, mvcc::Batch& batch);

  // --- mvcc::LeaseAttacher ---
  bool Exists(int64_t id) const override;
  void Attach(int64_t id, std::string_view key) override;
  void Detach(int64_t id, std::string_view key) override;

  // --- Leader ---

  // This member leads: every lease runs for `extend` plus its remaining TTL from now (LEASE-016).
  void Promote(absl::Duration extend);
  // This member no longer leads: nothing expires here.
  void Demote();
  bool primary() const { return primary_; }
  // Extends the lease by its full TTL. Requires: primary().
  Renewal Renew(int64_t id);
  // As Renew, after the checkpoint has been reset.
  Renewal RenewAfterCheckpoint(int64_t id);
  // Runs `done` once the lease is gone (at once if it is).
  // False: this member was demoted first, and others decide about the lease now.
  using GoneDone = absl::AnyInvocable<void(bool gone)>;
  void OnGone(int64_t id, GoneDone done);
  // Ids past their end, oldest first, at most `max`; each is handed out again only after
  // `retry_after`, should the revoke not come through.
  std::vector<int64_t> TakeExpired(size_t max, absl::Duration retry_after);
  // Whether one of these two has something to give.
  bool HasDue() const;
  // Leases whose remaining TTL is due to be checkpointed, at most kCheckpointsPerEntryMax.
  std::vector<Checkpoint> TakeCheckpoints();

  // --- Queries ---
  TimeToLive GetTimeToLive(int64_t id) const;
  // All ids, ordered by remaining time, then id (LEASE-013).
  std::vector<int64_t> List() const;
  size_t size() const { return leases_.size(); }
  void CheckInvariants() const;

 private:
  struct Lease {
    int64_t id = 0;
    int64_t ttl_seconds = 0;
    int64_t remaining_ttl_seconds = 0;  // from a checkpoint; 0 = none
    absl::Duration expiry = absl::InfiniteDuration();
    // Time of its entry in expiries_; entries with another time are left over from a lease of the
    // same id that has been revoked.
    absl::Duration queued_at = absl::InfiniteDuration();
    absl::Duration next_checkpoint = absl::InfiniteDuration();
    absl::btree_set<std::string> keys;
    std::vector<GoneDone> on_gone;
    int64_t RemainingSeconds() const {
      return remaining_ttl_seconds > 0 ? remaining_ttl_seconds : ttl_seconds;
    }
  };
  // Earliest first. Entries may be stale: a lease's own fields decide when an entry is popped, so
  // a renewal costs no queue operation.
  using Due = std::pair<absl::Duration, int64_t>;
  using DueQueue = std::priority_queue<Due, std::vector<Due>, std::greater<Due>>;

  Lease* Find(int64_t id) const;
  void Start(Lease& lease, absl::Duration expiry);
  void QueueExpiry(Lease& lease, absl::Duration at);
  void SpreadExpiries();
  void WriteRecord(const Lease& lease, mvcc::Batch& batch) const;
  Renewal Extend(Lease& lease);

  const base::Clock& clock_;
  const LessorOptions options_;
  bool primary_ = false;
  absl::flat_hash_map<int64_t, std::unique_ptr<Lease>> leases_;
  DueQueue expiries_;
  DueQueue checkpoints_;
};

// Key of a lease record in the lease bucket: the id as 8 big-endian bytes.
std::string LeaseRecordKey(int64_t id);

}  // namespace etcdd::lease
