#pragma once

// One committed request in, one result out. Everything an entry changes goes into one transaction
// of the store and one batch of the backend; applying waits for nothing and is deterministic: no
// clock, no random, no local configuration but the quota (CONS-013, KV-082).
//
// Confined to the server strand. The caller opens the store's batch and writes it (mvcc/store.h).

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "mvcc/store.h"
#include "server/apply/alarm_store.h"
#include "server/apply/quota.h"
#include "server/apply/wire.h"
#include "server/lease/lessor.h"
#include "server/membership/cluster.h"

namespace etcdd::server {
struct ServerMetrics;
}

namespace etcdd::apply {

struct ApplyResult {
  absl::Status status;
  // Serialized response message, when the status is OK.
  std::string reply;
  // > 0: the reply is to wait until the physical removal up to this revision is done (KV-073).
  int64_t wait_for_compaction = 0;
  // The quota was exceeded only at apply: raise NOSPACE before replying (KV-082).
  bool raise_no_space = false;
  // A new compaction was accepted; the worker is to be woken.
  bool compaction_scheduled = false;
};

// The parts an applier works on; all outlive it.
struct ApplierParts {
  mvcc::Store* store = nullptr;
  lease::Lessor* lessor = nullptr;
  AlarmStore* alarms = nullptr;
  membership::Cluster* cluster = nullptr;
  const Quota* quota = nullptr;
  server::ServerMetrics* metrics = nullptr;
  Identity identity;
};

class Applier {
 public:
  explicit Applier(ApplierParts parts) : parts_(parts) {}

  // Applies one request; `raft_term` is its entry's term. Requires: the store's batch is open and
  // is `batch`. A status for which IsMemberFailure is true means this member must stop.
  ApplyResult Apply(const InternalRequest& request, uint64_t raft_term, mvcc::Batch& batch);

  // True for errors that are no answer to a client but a broken backend or entry.
  static bool IsMemberFailure(const absl::Status& status);

 private:
  ApplyResult ApplyPut(std::string_view body, uint64_t raft_term);
  ApplyResult ApplyDeleteRange(std::string_view body, uint64_t raft_term);
  ApplyResult ApplyTxn(std::string_view body, uint64_t raft_term);
  ApplyResult ApplyCompaction(std::string_view body, uint64_t raft_term);
  ApplyResult ApplyLeaseGrant(std::string_view body, uint64_t raft_term, mvcc::Batch& batch);
  ApplyResult ApplyLeaseRevoke(std::string_view body, uint64_t raft_term, mvcc::Batch& batch);
  ApplyResult ApplyLeaseCheckpoint(std::string_view body, uint64_t raft_term, mvcc::Batch& batch);
  ApplyResult ApplyAlarm(std::string_view body, uint64_t raft_term, mvcc::Batch& batch);
  ApplyResult ApplyMemberAttributes(std::string_view body, mvcc::Batch& batch);
  ApplyResult ApplyClusterVersion(std::string_view body, mvcc::Batch& batch);
  ApplyResult ApplyDowngrade(std::string_view body, mvcc::Batch& batch);

  void AppendReplyHeader(uint64_t raft_term, std::string* out) const;

  const ApplierParts parts_;
};

}  // namespace etcdd::apply
