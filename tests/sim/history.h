#pragma once

// What clients asked for and what they were told, with true times: the material of the checkers.
// And the event log: what the members said happened to the store, revision by revision.
//
// Confined to the simulator's thread.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "proto/rpc.pb.h"
#include "tests/sim/model.h"

namespace etcdd::sim {

enum class OperationKind {
  kKv,         // put, delete, range or txn: all as a TxnRequest
  kCompact,
  kLeaseGrant,
  kLeaseRevoke,
  kLeaseRenew,
  kLeaseTimeToLive,
};

enum class Result {
  kPending,  // no answer (yet): it may have happened, or may still happen
  kOk,
  kRefused,  // answered with an error that means: it has not happened and will not
  kUnknown,  // answered with an error that leaves it open
};

struct Operation {
  uint64_t id = 0;
  int client = 0;
  OperationKind kind = OperationKind::kKv;
  int member = 0;
  uint64_t member_life = 0;  // which of its runs
  absl::Duration call;
  absl::Duration end = absl::InfiniteDuration();
  Result result = Result::kPending;
  std::string error;

  // kKv.
  etcdserverpb::TxnRequest request;
  bool read_only = false;
  bool serializable = false;
  etcdserverpb::TxnResponse response;
  // Of the answer's header; 0: none.
  int64_t revision = 0;
  // kCompact.
  int64_t compact_revision = 0;
  // Leases. `ttl_seconds`: as answered.
  int64_t lease = 0;
  int64_t ttl_seconds = 0;

  bool Changed() const;  // a kKv answer that tells of a change
  std::string Describe() const;
};

struct History {
  // References stay valid.
  std::deque<Operation> operations;

  Operation& Begin(Operation operation) {
    operation.id = operations.size() + 1;
    operations.push_back(std::move(operation));
    return operations.back();
  }
};

// Collects the events of all revisions from all members, who must agree.
class EventLog {
 public:
  // A member delivered these events as those of `revision` at true time `now`. An error text when
  // that contradicts what was said before.
  std::optional<std::string> Add(int64_t revision, const Events& events, absl::Duration now);

  const Model& model() const { return model_; }
  int64_t revision() const { return model_.revision(); }
  // When the revision was first seen: an upper bound for when it was first applied.
  absl::Duration first_seen(int64_t revision) const {
    return first_seen_[static_cast<size_t>(revision - Model::kFirstRevision - 1)];
  }
  // Revisions nobody delivered lie before some that were delivered.
  bool HasGap() const { return !early_.empty(); }

 private:
  struct Early {
    Events events;
    absl::Duration seen;
  };

  std::optional<std::string> Append(const Events& events, absl::Duration seen);

  Model model_;
  std::vector<std::string> fingerprints_;
  std::vector<absl::Duration> first_seen_;
  std::map<int64_t, Early> early_;
};

}  // namespace etcdd::sim
