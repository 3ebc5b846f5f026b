// Leases: granted and revoked through raft, kept alive by the leader alone.

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/lease.pb.h"
#include "proto/rpc.pb.h"
#include "server/base/api_error.h"
#include "server/base/coding.h"
#include "server/base/log.h"
#include "server/etcd_server.h"

namespace etcdd::server {
namespace {

using apply::RequestKind;
using base::ApiError;
using base::ErrorId;

constexpr int kHttpOk = 200;
constexpr int kHttpNotFound = 404;
// A leader that could not answer is asked again this often (LEASE-008).
constexpr absl::Duration kForwardRetryInterval = absl::Milliseconds(50);

absl::Status NotPrimary() { return absl::UnknownError("not a primary lessor"); }

}  // namespace

void EtcdServer::LeaseGrant(int64_t id, int64_t ttl_seconds, Done done) {
  while (id == 0) {
    id = static_cast<int64_t>(parts_.random->Next() >> 1);
    if (lessor_->Exists(id)) id = 0;
  }
  std::string body;
  base::AppendVarintField(1, static_cast<uint64_t>(ttl_seconds), &body);
  base::AppendVarintField(2, static_cast<uint64_t>(id), &body);
  ProposeWithinQuota(RequestKind::kLeaseGrant, body, apply::kLeaseGrantCostBytes,
                     std::move(done));
}

void EtcdServer::LeaseRevoke(int64_t id, Done done) {
  std::string body;
  base::AppendVarintField(1, static_cast<uint64_t>(id), &body);
  Propose(RequestKind::kLeaseRevoke, body, std::move(done));
}

// --- The leader's part ---------------------------------------------------------------------------

// LEASE-009. A leader that was paused or cut off may have been replaced without knowing. Its word
// counts for one heartbeat after a majority has confirmed it.
void EtcdServer::EnsureLeadership(absl::AnyInvocable<void(bool)> done) {
  if (stopped_ || !is_leader()) return done(false);
  if (cluster_->Voters().size() == 1) return done(true);
  const absl::Duration asked_at = parts_.clock->Monotonic();
  const uint64_t term = raft_->node().term();
  if (leadership_.term == term && asked_at - leadership_.confirmed_at <= options_.tick_interval) {
    return done(true);
  }
  reader_->Read([this, asked_at, term, done = std::move(done)](absl::Status status) mutable {
    const bool leads = status.ok() && is_leader() && raft_->node().term() == term;
    if (leads) leadership_ = {term, asked_at};
    done(leads);
  });
}

void EtcdServer::LeaseRenewHere(int64_t id, RenewDone done) {
  EnsureLeadership([this, id, done = std::move(done)](bool leads) mutable {
    if (!leads || !lessor_->primary()) return done(NotPrimary(), 0);
    // LEASE-010: it may have been granted through another member a moment ago.
    if (lessor_->Exists(id) && options_.fast_lease_keep_alive) return Renew(id, std::move(done));
    WhenApplied(raft_->node().committed(),
                [this, id, done = std::move(done)](absl::Status status) mutable {
                  if (!status.ok()) return done(std::move(status), 0);
                  if (!lessor_->primary()) return done(NotPrimary(), 0);
                  Renew(id, std::move(done));
                });
  });
}

// Requires: this member's lessor is the primary one.
void EtcdServer::Renew(int64_t id, RenewDone done) {
  const lease::Renewal renewal = lessor_->Renew(id);
  switch (renewal.outcome) {
    case lease::Renewal::Outcome::kRenewed:
      metrics_->leases_renewed.Add();
      return done(absl::OkStatus(), renewal.ttl_seconds);
    case lease::Renewal::Outcome::kNotFound:
      return done(absl::OkStatus(), 0);
    case lease::Renewal::Outcome::kExpired:  // LEASE-011
      lessor_->OnGone(id, [done = std::move(done)](bool gone) mutable {
        done(gone ? absl::OkStatus() : NotPrimary(), 0);
      });
      return;
    case lease::Renewal::Outcome::kNeedsCheckpoint: {
      etcdserverpb::LeaseCheckpointRequest request;
      request.add_checkpoints()->set_id(id);
      Propose(RequestKind::kLeaseCheckpoint, request.SerializeAsString(),
              [this, id, done = std::move(done)](absl::Status status, std::string) mutable {
                if (!status.ok()) return done(std::move(status), 0);
                metrics_->leases_renewed.Add();
                done(absl::OkStatus(), lessor_->RenewAfterCheckpoint(id).ttl_seconds);
              },
              Proposer::kLeaderOnly);
      return;
    }
  }
}

absl::StatusOr<LeaseInfo> EtcdServer::LeaseTimeToLiveHere(int64_t id, bool with_keys) const {
  if (stopped_) return ApiError(ErrorId::kStopped);
  if (!lessor_->primary()) return NotPrimary();
  const lease::TimeToLive ttl = lessor_->GetTimeToLive(id);
  LeaseInfo info{ttl.ttl_seconds, ttl.granted_ttl_seconds, {}};
  if (!with_keys) return info;
  auto keys = lessor_->Keys(id);
  if (keys.ok()) info.keys = *std::move(keys);
  return info;
}

void EtcdServer::ExpireLeases() {
  lease_timer_ = parts_.strand->PostAfter(lease::kExpiryScanInterval, [this, alive = alive_] {
    if (!*alive || stopped_) return;
    if (lessor_->primary() && lessor_->HasDue()) {
      // LEASE-014.
      EnsureLeadership([this](bool leads) {
        if (leads && lessor_->primary()) return RevokeExpired();
        ETCDD_LOG(kWarn,
                  "Ignore the lease revoking request because current member isn't a leader",
                  {{"local-member-id", base::LogId(identity_.member_id)}});
      });
    }
    ExpireLeases();
  });
}

void EtcdServer::RevokeExpired() {
  for (int64_t id : lessor_->TakeExpired(lease::kExpiredPerScanMax, options_.RequestTimeout())) {
    metrics_->leases_expired.Add();
    std::string body;
    base::AppendVarintField(1, static_cast<uint64_t>(id), &body);
    Propose(RequestKind::kLeaseRevoke, body,
            [id](absl::Status status, std::string) {
              if (status.ok() || base::IsApiError(status, ErrorId::kLeaseNotFound)) return;
              ETCDD_LOG(kWarn, "failed to revoke lease",
                        {{"lease-id", base::LogId(static_cast<uint64_t>(id))},
                         base::LogField(status)});
            },
            Proposer::kLeaderOnly);
  }
  const std::vector<lease::Checkpoint> checkpoints = lessor_->TakeCheckpoints();
  if (checkpoints.empty()) return;
  etcdserverpb::LeaseCheckpointRequest request;
  for (const auto& checkpoint : checkpoints) {
    auto* out = request.add_checkpoints();
    out->set_id(checkpoint.id);
    out->set_remaining_ttl(checkpoint.remaining_ttl_seconds);
  }
  Propose(RequestKind::kLeaseCheckpoint, request.SerializeAsString(),
          [](absl::Status, std::string) {}, Proposer::kLeaderOnly);
}

// --- What other members pass on to it ------------------------------------------------------------

void EtcdServer::LeaseRenew(int64_t id, RenewDone done) {
  if (stopped_) return done(ApiError(ErrorId::kStopped), 0);
  etcdserverpb::LeaseKeepAliveRequest body;
  body.set_id(id);
  auto shared = std::make_shared<RenewDone>(std::move(done));
  ForwardLeaseRequest(
      {"POST", "/leases", "application/protobuf", body.SerializeAsString(), {}},
      parts_.clock->Monotonic() + options_.RequestTimeout(),
      // What the leader itself does with it; this member may lead by then.
      [this, id, shared](Refused refused) {
        LeaseRenewHere(id, [shared, refused = std::move(refused)](absl::Status status,
                                                                  int64_t ttl) mutable {
          if (!status.ok() && !base::IsApiError(status, ErrorId::kStopped)) return refused();
          (*shared)(std::move(status), ttl);
        });
      },
      [shared](absl::StatusOr<PeerReply> reply) {
        if (!reply.ok()) return (*shared)(reply.status(), 0);
        etcdserverpb::LeaseKeepAliveResponse response;
        if (reply->status == kHttpOk && response.ParseFromString(reply->body)) {
          return (*shared)(absl::OkStatus(), response.ttl());
        }
        (*shared)(absl::OkStatus(), 0);
      });
}

void EtcdServer::LeaseTimeToLive(int64_t id, bool with_keys, LeaseInfoDone done) {
  if (stopped_) return done(ApiError(ErrorId::kStopped));
  leasepb::LeaseInternalRequest body;
  body.mutable_leasetimetoliverequest()->set_id(id);
  body.mutable_leasetimetoliverequest()->set_keys(with_keys);
  auto shared = std::make_shared<LeaseInfoDone>(std::move(done));
  ForwardLeaseRequest(
      {"POST", "/leases/internal", "application/protobuf", body.SerializeAsString(), {}},
      parts_.clock->Monotonic() + options_.RequestTimeout(),
      [this, id, with_keys, shared](Refused refused) {
        WhenApplied(raft_->node().committed(),
                    [this, id, with_keys, shared,
                     refused = std::move(refused)](absl::Status status) mutable {
                      if (!status.ok()) return (*shared)(std::move(status));
                      auto info = LeaseTimeToLiveHere(id, with_keys);
                      if (!info.ok() && !stopped_) return refused();
                      (*shared)(std::move(info));
                    });
      },
      [shared](absl::StatusOr<PeerReply> reply) {
        if (!reply.ok()) return (*shared)(reply.status());
        leasepb::LeaseInternalResponse response;
        if (reply->status != kHttpOk || !response.ParseFromString(reply->body)) {
          return (*shared)(LeaseInfo());
        }
        const auto& lease = response.leasetimetoliveresponse();
        (*shared)(LeaseInfo{
            lease.ttl(), lease.grantedttl(), {lease.keys().begin(), lease.keys().end()}});
      });
}

// Until `deadline` the leader of the moment is asked: with `here` if that is this member, else over
// its peer URLs. `there` gets an answer that counts (OK or not found), or the error to report.
void EtcdServer::ForwardLeaseRequest(PeerRequest request, absl::Duration deadline, AskHere here,
                                     PeerClient::Done there) {
  if (stopped_) return there(ApiError(ErrorId::kStopped));
  if (!has_leader()) return there(ApiError(ErrorId::kNoLeader));
  if (parts_.clock->Monotonic() >= deadline) return there(ApiError(ErrorId::kTimeout));
  auto shared_there = std::make_shared<PeerClient::Done>(std::move(there));
  auto again = [this, alive = alive_, request, deadline, here, shared_there]() mutable {
    parts_.strand->PostAfter(kForwardRetryInterval, [this, alive, request, deadline, here,
                                                     shared_there]() mutable {
      if (!*alive) return;
      ForwardLeaseRequest(std::move(request), deadline, std::move(here),
                          [shared_there](absl::StatusOr<PeerReply> reply) {
                            (*shared_there)(std::move(reply));
                          });
    });
  };
  if (is_leader()) return here(std::move(again));
  AskLeader(std::move(request), [shared_there, again](absl::StatusOr<PeerReply> reply) mutable {
    const bool counts =
        reply.ok() && (reply->status == kHttpOk || reply->status == kHttpNotFound);
    if (!counts) return again();
    (*shared_there)(std::move(reply));
  });
}

}  // namespace etcdd::server
