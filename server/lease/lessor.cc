#include "server/lease/lessor.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "proto/lease.pb.h"
#include "server/base/api_error.h"
#include "server/base/check.h"
#include "server/base/coding.h"
#include "server/base/log.h"

namespace etcdd::lease {

std::string LeaseRecordKey(int64_t id) {
  std::string key;
  base::AppendBigEndian64(static_cast<uint64_t>(id), &key);
  return key;
}

Lessor::Lessor(const base::Clock& clock, LessorOptions options)
    : clock_(clock), options_(options) {}

Lessor::~Lessor() = default;

absl::Status Lessor::Restore(const mvcc::View& view) {
  leases_.clear();
  expiries_ = DueQueue();
  checkpoints_ = DueQueue();
  primary_ = false;
  absl::Status broken;
  auto status = view.Scan(
      mvcc::Bucket::kLease, "", "", [&](std::string_view key, std::string_view value) {
        leasepb::Lease record;
        if (key.size() != 8 ||
            !record.ParseFromArray(value.data(), static_cast<int>(value.size()))) {
          broken = absl::DataLossError(
              "the lease bucket holds a record that is no lease; restore this member from a "
              "backup or from its cluster");
          return false;
        }
        auto lease = std::make_unique<Lease>();
        lease->id = static_cast<int64_t>(base::ReadBigEndian64(key.data()));
        lease->ttl_seconds = std::max(record.ttl(), options_.min_ttl_seconds);
        lease->remaining_ttl_seconds = record.remainingttl();
        leases_.emplace(lease->id, std::move(lease));
        return true;
      });
  return broken.ok() ? status : broken;
}

absl::StatusOr<int64_t> Lessor::Grant(int64_t id, int64_t ttl_seconds, mvcc::Batch& batch) {
  ETCDD_CHECK(id != 0);
  if (ttl_seconds > kLeaseTtlSecondsMax) {
    return base::ApiError(base::ErrorId::kLeaseTTLTooLarge);
  }
  if (Exists(id)) return base::ApiError(base::ErrorId::kLeaseExist);
  auto lease = std::make_unique<Lease>();
  lease->id = id;
  lease->ttl_seconds = std::max(ttl_seconds, options_.min_ttl_seconds);
  WriteRecord(*lease, batch);
  if (primary_) Start(*lease, clock_.Monotonic() + absl::Seconds(lease->ttl_seconds));
  const int64_t ttl = lease->ttl_seconds;
  leases_.emplace(id, std::move(lease));
  return ttl;
}

absl::StatusOr<std::vector<std::string>> Lessor::Keys(int64_t id) const {
  const Lease* lease = Find(id);
  if (lease == nullptr) return base::ApiError(base::ErrorId::kLeaseNotFound);
  return std::vector<std::string>(lease->keys.begin(), lease->keys.end());
}

void Lessor::Remove(int64_t id, mvcc::Batch& batch) {
  auto found = leases_.find(id);
  ETCDD_CHECK(found != leases_.end());
  std::unique_ptr<Lease> lease = std::move(found->second);
  leases_.erase(found);
  batch.Delete(mvcc::Bucket::kLease, LeaseRecordKey(id));
  for (auto& done : lease->on_gone) done(true);
}

void Lessor::ApplyCheckpoint(const Checkpoint& checkpoint, mvcc::Batch& batch) {
  Lease* lease = Find(checkpoint.id);
  if (lease == nullptr) return;
  lease->remaining_ttl_seconds = checkpoint.remaining_ttl_seconds;
  if (options_.checkpoint_persist) WriteRecord(*lease, batch);
  if (primary_ && options_.checkpoint) {
    lease->next_checkpoint = clock_.Monotonic() + kCheckpointInterval;
    checkpoints_.emplace(lease->next_checkpoint, lease->id);
  }
}

bool Lessor::Exists(int64_t id) const { return Find(id) != nullptr; }

void Lessor::Attach(int64_t id, std::string_view key) {
  if (id == 0) return;
  Lease* lease = Find(id);
  if (lease == nullptr) {
    ETCDD_LOG(kError, "failed to attach a lease", {{"lease-id", base::LogId(
        static_cast<uint64_t>(id))}, {"error", "requested lease not found"}});
    return;
  }
  lease->keys.emplace(key);
}

void Lessor::Detach(int64_t id, std::string_view key) {
  if (id == 0) return;
  if (Lease* lease = Find(id)) lease->keys.erase(std::string(key));
}

void Lessor::Promote(absl::Duration extend) {
  primary_ = true;
  expiries_ = DueQueue();
  checkpoints_ = DueQueue();
  const absl::Duration now = clock_.Monotonic();
  for (auto& [id, lease] : leases_) {
    Start(*lease, now + extend + absl::Seconds(lease->RemainingSeconds()));
  }
  if (leases_.size() >= kSpreadFromLeases) SpreadExpiries();
}

// Walks the leases by expiry; when a one-second window is full, later ones move into the next.
void Lessor::SpreadExpiries() {
  std::vector<Lease*> ordered;
  ordered.reserve(leases_.size());
  for (auto& [id, lease] : leases_) ordered.push_back(lease.get());
  std::sort(ordered.begin(), ordered.end(), [](const Lease* a, const Lease* b) {
    return std::pair(a->expiry, a->id) < std::pair(b->expiry, b->id);
  });
  expiries_ = DueQueue();
  absl::Duration window = ordered.front()->expiry;
  size_t in_window = 0;
  for (Lease* lease : ordered) {
    if (lease->expiry >= window + absl::Seconds(1)) {
      window = lease->expiry;
      in_window = 0;
    } else if (in_window == kSpreadPerSecondMax) {
      window += absl::Seconds(1);
      in_window = 0;
    }
    lease->expiry = std::max(lease->expiry, window);
    ++in_window;
    QueueExpiry(*lease, lease->expiry);
  }
}

void Lessor::Demote() {
  primary_ = false;
  expiries_ = DueQueue();
  checkpoints_ = DueQueue();
  std::vector<GoneDone> waiting;
  for (auto& [id, lease] : leases_) {
    lease->expiry = absl::InfiniteDuration();
    lease->next_checkpoint = absl::InfiniteDuration();
    std::move(lease->on_gone.begin(), lease->on_gone.end(), std::back_inserter(waiting));
    lease->on_gone.clear();
  }
  for (GoneDone& done : waiting) done(false);
}

Renewal Lessor::Renew(int64_t id) {
  ETCDD_CHECK(primary_);
  Lease* lease = Find(id);
  if (lease == nullptr) return {};
  if (lease->expiry <= clock_.Monotonic()) return {Renewal::Outcome::kExpired, 0};
  if (options_.checkpoint && lease->remaining_ttl_seconds > 0) {
    return {Renewal::Outcome::kNeedsCheckpoint, 0};
  }
  return Extend(*lease);
}

Renewal Lessor::RenewAfterCheckpoint(int64_t id) {
  Lease* lease = Find(id);
  if (lease == nullptr || !primary_) return {};
  if (lease->expiry <= clock_.Monotonic()) return {Renewal::Outcome::kExpired, 0};
  return Extend(*lease);
}

Renewal Lessor::Extend(Lease& lease) {
  lease.expiry = clock_.Monotonic() + absl::Seconds(lease.ttl_seconds);
  // The queue may keep an earlier time: TakeExpired sees that the lease has been renewed. A later
  // one, from a promotion, would make it end late.
  if (lease.queued_at > lease.expiry) QueueExpiry(lease, lease.expiry);
  return {Renewal::Outcome::kRenewed, lease.ttl_seconds};
}

void Lessor::OnGone(int64_t id, GoneDone done) {
  Lease* lease = Find(id);
  if (lease == nullptr) {
    done(true);
    return;
  }
  lease->on_gone.push_back(std::move(done));
}

bool Lessor::HasDue() const {
  const absl::Duration now = clock_.Monotonic();
  return (!expiries_.empty() && expiries_.top().first <= now) ||
         (!checkpoints_.empty() && checkpoints_.top().first <= now);
}

std::vector<int64_t> Lessor::TakeExpired(size_t max, absl::Duration retry_after) {
  std::vector<int64_t> expired;
  const absl::Duration now = clock_.Monotonic();
  while (expired.size() < max && !expiries_.empty() && expiries_.top().first <= now) {
    const auto [queued_at, id] = expiries_.top();
    expiries_.pop();
    Lease* lease = Find(id);
    if (lease == nullptr || lease->queued_at != queued_at) continue;
    if (lease->expiry > now) {
      QueueExpiry(*lease, lease->expiry);
      continue;
    }
    expired.push_back(id);
    QueueExpiry(*lease, now + retry_after);
  }
  return expired;
}

std::vector<Checkpoint> Lessor::TakeCheckpoints() {
  std::vector<Checkpoint> due;
  const absl::Duration now = clock_.Monotonic();
  while (due.size() < kCheckpointsPerEntryMax && !checkpoints_.empty() &&
         checkpoints_.top().first <= now) {
    const int64_t id = checkpoints_.top().second;
    checkpoints_.pop();
    Lease* lease = Find(id);
    if (lease == nullptr || lease->next_checkpoint > now) continue;
    lease->next_checkpoint = absl::InfiniteDuration();
    const int64_t remaining =
        absl::ToInt64Seconds(absl::Ceil(lease->expiry - now, absl::Seconds(1)));
    if (remaining <= 0 || remaining >= lease->ttl_seconds) continue;
    due.push_back({id, remaining});
  }
  return due;
}

TimeToLive Lessor::GetTimeToLive(int64_t id) const {
  const Lease* lease = Find(id);
  if (lease == nullptr) return {};
  int64_t remaining = lease->RemainingSeconds();
  if (lease->expiry != absl::InfiniteDuration()) {
    remaining = absl::ToInt64Seconds(
        absl::Floor(lease->expiry - clock_.Monotonic(), absl::Seconds(1)));
  }
  return {std::max<int64_t>(remaining, 0), lease->ttl_seconds};
}

std::vector<int64_t> Lessor::List() const {
  std::vector<std::pair<absl::Duration, int64_t>> ordered;
  ordered.reserve(leases_.size());
  for (const auto& [id, lease] : leases_) ordered.emplace_back(lease->expiry, id);
  std::sort(ordered.begin(), ordered.end());
  std::vector<int64_t> ids;
  ids.reserve(ordered.size());
  for (const auto& [expiry, id] : ordered) ids.push_back(id);
  return ids;
}

void Lessor::CheckInvariants() const {
  for (const auto& [id, lease] : leases_) {
    ETCDD_CHECK(id == lease->id);
    ETCDD_CHECK(id != 0);
    ETCDD_CHECK(lease->ttl_seconds >= options_.min_ttl_seconds);
    ETCDD_CHECK(primary_ == (lease->expiry != absl::InfiniteDuration()));
    ETCDD_CHECK(!primary_ || lease->queued_at != absl::InfiniteDuration());
  }
}

Lessor::Lease* Lessor::Find(int64_t id) const {
  auto found = leases_.find(id);
  return found == leases_.end() ? nullptr : found->second.get();
}

void Lessor::Start(Lease& lease, absl::Duration expiry) {
  lease.expiry = expiry;
  QueueExpiry(lease, expiry);
  if (options_.checkpoint) {
    lease.next_checkpoint = clock_.Monotonic() + kCheckpointInterval;
    checkpoints_.emplace(lease.next_checkpoint, lease.id);
  }
}

void Lessor::QueueExpiry(Lease& lease, absl::Duration at) {
  lease.queued_at = at;
  expiries_.emplace(at, lease.id);
}

void Lessor::WriteRecord(const Lease& lease, mvcc::Batch& batch) const {
  std::string record;
  base::AppendVarintField(1, static_cast<uint64_t>(lease.id), &record);
  base::AppendVarintField(2, static_cast<uint64_t>(lease.ttl_seconds), &record);
  base::AppendVarintField(3, static_cast<uint64_t>(lease.remaining_ttl_seconds), &record);
  batch.Put(mvcc::Bucket::kLease, LeaseRecordKey(lease.id), record);
}

}  // namespace etcdd::lease
