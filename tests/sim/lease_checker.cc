#include "tests/sim/lease_checker.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "tests/sim/scheduler.h"

namespace etcdd::sim {
namespace {

struct LeaseHistory {
  std::vector<const Operation*> refreshes;  // acknowledged grants and renewals
  std::vector<const Operation*> revokes;    // not refused
  // A proof that the lease was gone, by when, and of what kind.
  struct Gone {
    absl::Duration time;
    std::string proof;
  };
  std::vector<Gone> gone;
};

// The shortest true time in which a clock that runs as fast as allowed shows the TTL.
absl::Duration ShortestLife(const Operation& refresh) {
  return absl::Seconds(refresh.ttl_seconds) * 1'000'000 / (1'000'000 + kClockDriftPpmMax);
}

using Leases = std::map<int64_t, LeaseHistory>;

Leases Collect(const History& history) {
  Leases leases;
  for (const Operation& operation : history.operations) {
    LeaseHistory& lease = leases[operation.lease];
    const bool ok = operation.result == Result::kOk;
    switch (operation.kind) {
      case OperationKind::kLeaseGrant:
        if (ok) lease.refreshes.push_back(&operation);
        break;
      case OperationKind::kLeaseRenew:
        if (!ok) break;
        if (operation.ttl_seconds > 0) {
          lease.refreshes.push_back(&operation);
        } else {
          lease.gone.push_back({operation.end, operation.Describe()});
        }
        break;
      case OperationKind::kLeaseTimeToLive:
        if (ok && operation.ttl_seconds < 0) {
          lease.gone.push_back({operation.end, operation.Describe()});
        }
        break;
      case OperationKind::kLeaseRevoke:
        if (operation.result != Result::kRefused) lease.revokes.push_back(&operation);
        break;
      case OperationKind::kKv:
      case OperationKind::kCompact: break;
    }
  }
  leases.erase(0);
  return leases;
}

// Keys that carried a lease and were deleted at a revision no client was acknowledged for.
void CollectDeletions(const History& history, const EventLog& log, Leases* leases) {
  std::set<int64_t> acknowledged;
  for (const Operation& operation : history.operations) {
    if (operation.kind != OperationKind::kKv || operation.read_only) continue;
    if (operation.result == Result::kOk && operation.Changed()) {
      acknowledged.insert(operation.revision);
    }
  }
  const auto may_be_asked_for = [&](int64_t revision) {
    const std::string events = Fingerprint(log.model().events(revision));
    return std::any_of(
        history.operations.begin(), history.operations.end(), [&](const Operation& operation) {
          return operation.kind == OperationKind::kKv && !operation.read_only &&
                 operation.result != Result::kOk && operation.result != Result::kRefused &&
                 operation.call < log.first_seen(revision) &&
                 Fingerprint(log.model().Run(operation.request, revision - 1).events) == events;
        });
  };
  for (int64_t rev = Model::kFirstRevision + 1; rev <= log.revision(); ++rev) {
    const mvccpb::Event& first = log.model().events(rev)[0];
    if (acknowledged.contains(rev) || first.type() != mvccpb::Event::DELETE) continue;
    const mvccpb::KeyValue* before = log.model().Get(first.kv().key(), rev - 1);
    if (before == nullptr || before->lease() == 0 || may_be_asked_for(rev)) continue;
    (*leases)[before->lease()].gone.push_back(
        {log.first_seen(rev), absl::StrCat("revision ", rev, " at ",
                                           absl::FormatDuration(log.first_seen(rev)), " is ",
                                           Describe(log.model().events(rev)))});
  }
}

bool MayBeRevoked(const LeaseHistory& lease, absl::Duration by) {
  return std::any_of(lease.revokes.begin(), lease.revokes.end(),
                     [by](const Operation* revoke) { return revoke->call < by; });
}

// Later than this after its time, a lease must have been prolonged by a change of leader.
constexpr absl::Duration kPromptEnd = absl::Seconds(2);

void Count(const LeaseHistory& lease, LeaseFacts* facts) {
  if (lease.gone.empty() || lease.refreshes.empty() ||
      MayBeRevoked(lease, lease.gone.front().time)) {
    return;
  }
  ++facts->ended_by_time;
  absl::Duration due;
  for (const Operation* refresh : lease.refreshes) {
    due = std::max(due, refresh->end + absl::Seconds(refresh->ttl_seconds));
  }
  if (lease.gone.front().time > due + kPromptEnd) ++facts->prolonged;
}

}  // namespace

std::vector<std::string> CheckLeases(const History& history, const EventLog& log,
                                     LeaseFacts* facts) {
  Leases leases = Collect(history);
  CollectDeletions(history, log, &leases);
  std::vector<std::string> texts;
  for (const auto& [id, lease] : leases) {
    if (facts != nullptr) Count(lease, facts);
    std::optional<absl::Duration> first_gone;
    for (const auto& gone : lease.gone) {
      if (!first_gone || gone.time < *first_gone) first_gone = gone.time;
      if (MayBeRevoked(lease, gone.time)) continue;
      for (const Operation* refresh : lease.refreshes) {
        if (refresh->call >= gone.time || gone.time >= refresh->call + ShortestLife(*refresh)) {
          continue;
        }
        texts.push_back(absl::StrCat("lease ", id, " ended early: ", gone.proof, " though ",
                                     refresh->Describe()));
      }
    }
    for (const Operation* refresh : lease.refreshes) {
      if (refresh->kind == OperationKind::kLeaseRenew && first_gone &&
          refresh->call > *first_gone) {
        texts.push_back(absl::StrCat("lease ", id, " came back: ", refresh->Describe()));
      }
    }
    if (texts.size() > 5) break;
  }
  return texts;
}

}  // namespace etcdd::sim
