// The members of the cluster: changes proposed and applied, and who leads.

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/api_error.h"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/etcd_server.h"

namespace etcdd::server {
namespace {

using base::ApiError;
using base::ErrorId;

// A learner may become a voter once it has this part of the leader's log (CLUS-014).
constexpr double kLearnerReadyPart = 0.9;

std::string_view ConfChangeName(raft::ConfChangeType type) {
  switch (type) {
    case raft::ConfChangeType::kAddNode: return "ConfChangeAddNode";
    case raft::ConfChangeType::kRemoveNode: return "ConfChangeRemoveNode";
    case raft::ConfChangeType::kUpdateNode: return "ConfChangeUpdateNode";
    case raft::ConfChangeType::kAddLearnerNode: return "ConfChangeAddLearnerNode";
  }
  return "";
}

// What a peer answers to a promotion it refused, back as the error it was (http-endpoints.md).
absl::Status PromotionStatus(const PeerReply& reply) {
  if (reply.status == 200) return absl::OkStatus();
  const absl::string_view text(reply.body);
  if (reply.status == 404) return ApiError(ErrorId::kMemberNotFound);
  if (reply.status == 412) {
    const bool not_ready = text.find("in sync with leader") != text.npos;
    return ApiError(not_ready ? ErrorId::kLearnerNotReady : ErrorId::kMemberNotLearner);
  }
  return absl::UnknownError(absl::StrCat("member promote: unknown error(", text, ")"));
}

}  // namespace

void EtcdServer::SetNetwork(consensus::Transport* transport, PeerClient* peers) {
  transport_ = transport;
  peers_ = peers;
  raft_->SetTransport(transport);
  for (const membership::Member& remote : remotes_) {
    if (remote.id != identity_.member_id) transport_->AddRemote(remote.id, remote.peer_urls);
  }
  ConnectMembers({});
}

void EtcdServer::ConnectMembers(absl::Span<const membership::Member> former) {
  if (transport_ == nullptr) return;
  for (const membership::Member& member : former) {
    if (cluster_->member(member.id) == nullptr) Disconnect(member.id);
  }
  for (const membership::Member& member : cluster_->members()) {
    if (member.id == identity_.member_id) continue;
    Connect(member);
    transport_->UpdatePeer(member.id, member.peer_urls);
  }
}

void EtcdServer::Connect(const membership::Member& member) {
  if (transport_ == nullptr || member.id == identity_.member_id) return;
  transport_->AddPeer(member.id, member.peer_urls);
  metrics_->SetKnownPeer(identity_.member_id, member.id, true);
}

void EtcdServer::Disconnect(uint64_t id) {
  if (transport_ == nullptr) return;
  transport_->RemovePeer(id);
  metrics_->SetKnownPeer(identity_.member_id, id, false);
}

// --- Proposing -----------------------------------------------------------------------------------

void EtcdServer::ProposeMemberChange(raft::ConfChangeType type, uint64_t id, std::string context,
                                     Done done) {
  if (stopped_) return done(ApiError(ErrorId::kStopped), {});
  raft::ConfChange change;
  change.id = request_ids_.Next();
  change.type = type;
  change.node_id = id;
  change.context = base::Bytes::Copy(context);
  const absl::Duration now = parts_.clock->Monotonic();
  const absl::Duration timeout = options_.RequestTimeout();
  waiter_.Register(change.id, now, timeout, context.size(), kNotTimed, std::move(done));
  raft_->ProposeConfChange(std::move(change), now + timeout);
}

absl::Status EtcdServer::CheckReconfiguration(
    absl::FunctionRef<absl::Status(const membership::Connections&)> check) const {
  if (!options_.strict_reconfig_check) return absl::OkStatus();
  const auto active_since = [this](uint64_t id) -> std::optional<absl::Duration> {
    if (transport_ == nullptr) return std::nullopt;
    return transport_->ActiveSince(id);
  };
  return check({parts_.clock->Monotonic(), active_since});
}

void EtcdServer::AddMember(std::vector<std::string> peer_urls, bool is_learner, AddDone done) {
  const absl::Status may = CheckReconfiguration([&](const membership::Connections& connections) {
    return is_learner ? membership::MayAddLearner(*cluster_, connections)
                      : membership::MayAddVoter(*cluster_, connections);
  });
  if (!may.ok()) {
    ETCDD_LOG(kWarn,
              base::IsApiError(may, ErrorId::kUnhealthy)
                  ? "rejecting member add request; local member has not been connected to majority "
                    "peers, reconfigure breaks active quorum"
                  : "rejecting member add request; not enough healthy members",
              {{"local-member-id", base::LogId(identity_.member_id)},
               {"requested-member-add-peer-urls", peer_urls},
               base::LogField(may)});
    return done(may);
  }
  membership::Member member;
  member.id = membership::MakeMemberId(
      peer_urls, absl::StrCat(absl::ToUnixSeconds(parts_.clock->Wall())));
  member.peer_urls = std::move(peer_urls);
  member.is_learner = is_learner;
  ProposeMemberChange(is_learner ? raft::ConfChangeType::kAddLearnerNode
                                 : raft::ConfChangeType::kAddNode,
                      member.id, membership::MemberToJson(member),
                      [id = member.id, done = std::move(done)](absl::Status status,
                                                               std::string) mutable {
                        if (!status.ok()) return done(std::move(status));
                        done(id);
                      });
}

void EtcdServer::RemoveMember(uint64_t id, Done done) {
  const absl::Status may = CheckReconfiguration([&](const membership::Connections& connections) {
    return membership::MayRemove(*cluster_, connections, id);
  });
  if (!may.ok()) {
    ETCDD_LOG(kWarn,
              base::IsApiError(may, ErrorId::kUnhealthy)
                  ? "rejecting member remove request; local member has not been connected to all "
                    "peers, reconfigure breaks active quorum"
                  : "rejecting member remove request; not enough healthy members",
              {{"local-member-id", base::LogId(identity_.member_id)},
               {"requested-member-remove-id", base::LogId(id)},
               base::LogField(may)});
    return done(may, {});
  }
  ProposeMemberChange(raft::ConfChangeType::kRemoveNode, id, {}, std::move(done));
}

void EtcdServer::UpdateMember(uint64_t id, std::vector<std::string> peer_urls, Done done) {
  membership::Member member;
  member.id = id;
  member.peer_urls = std::move(peer_urls);
  ProposeMemberChange(raft::ConfChangeType::kUpdateNode, id, membership::MemberToJson(member),
                      std::move(done));
}

void EtcdServer::PromoteMember(uint64_t id, Done done) {
  if (stopped_) return done(ApiError(ErrorId::kStopped), {});
  if (is_leader()) return PromoteMemberHere(id, std::move(done));
  PeerRequest request;
  request.method = "POST";
  request.path = absl::StrCat("/members/promote/", id);
  AskLeader(std::move(request), [this, done = std::move(done)](
                                    absl::StatusOr<PeerReply> reply) mutable {
    if (!reply.ok()) return done(reply.status(), {});
    const absl::Status status = PromotionStatus(*reply);
    if (!status.ok()) return done(status, {});
    // The leader has applied it; the list of members is read here.
    reader_->Read([done = std::move(done)](absl::Status caught_up) mutable {
      done(std::move(caught_up), {});
    });
  });
}

void EtcdServer::PromoteMemberHere(uint64_t id, Done answer) {
  if (stopped_) return answer(ApiError(ErrorId::kStopped), {});
  if (!is_leader()) return answer(ApiError(ErrorId::kNotLeader), {});
  Done done = [this, answer = std::move(answer)](absl::Status status, std::string reply) mutable {
    if (status.ok()) {
      metrics_->learner_promotions.Add();
    } else {
      metrics_->CountRefusedPromotion(std::string(status.message()));
    }
    answer(std::move(status), std::move(reply));
  };
  absl::Status may = cluster_->CheckPromote(id);
  if (!may.ok()) return done(may, {});
  uint64_t leader_match = 0;
  uint64_t learner_match = 0;
  for (const raft::PeerStatus& peer : raft_->node().Status().peers) {
    if (peer.id == identity_.member_id) leader_match = peer.match;
    if (peer.id == id) learner_match = peer.match;
  }
  const double ready = static_cast<double>(learner_match) / static_cast<double>(leader_match);
  if (!(ready >= kLearnerReadyPart)) {
    ETCDD_LOG(kError, "rejecting promote learner: learner is not ready",
              {{"learner-ready-percent", ready},
               {"ready-percent-threshold", kLearnerReadyPart}});
    return done(ApiError(ErrorId::kLearnerNotReady), {});
  }
  may = CheckReconfiguration(
      [&](const membership::Connections&) { return membership::MayPromote(*cluster_, id); });
  if (!may.ok()) {
    ETCDD_LOG(kWarn, "rejecting member promote request; not enough healthy members",
              {{"local-member-id", base::LogId(identity_.member_id)},
               {"requested-member-remove-id", base::LogId(id)},
               base::LogField(may)});
    return done(may, {});
  }
  ProposeMemberChange(raft::ConfChangeType::kAddNode, id, membership::PromotionToJson(id),
                      std::move(done));
}

void EtcdServer::AskLeader(PeerRequest request, PeerClient::Done done) {
  const membership::Member* leader = cluster_->member(leader_);
  if (leader == nullptr || peers_ == nullptr) return done(ApiError(ErrorId::kNoLeader));
  peers_->Ask(leader->peer_urls, std::move(request), options_.RequestTimeout(),
              [done = std::move(done)](absl::StatusOr<PeerReply> reply) mutable {
                // Whatever kept the leader from answering, the client may try again.
                if (!reply.ok()) return done(ApiError(ErrorId::kTimeout));
                done(std::move(reply));
              });
}

// --- Applying ------------------------------------------------------------------------------------

void EtcdServer::ApplyConfChange(const raft::Entry& entry) {
  auto change = raft::DecodeConfChange(entry.data.view());
  const absl::Status status = change.ok() ? ApplyMemberChange(*change) : change.status();
  raft::ConfChange applied = change.ok() ? *change : raft::ConfChange();
  if (!status.ok()) {
    ETCDD_LOG(kError, "Validation on configuration change failed",
              {{"shouldApplyV3", true}, base::LogField(status)});
    applied.node_id = raft::kNoNode;  // raft takes the change without effect
  }
  conf_state_ = raft_->ApplyConfChange(applied);
  batch_->Put(mvcc::Bucket::kMeta, kConfStateKey,
              membership::ConfStateToJson(conf_state_.voters, conf_state_.learners));
  ETCDD_LOG(kInfo, "applied a configuration change through raft",
            {{"local-member-id", base::LogId(identity_.member_id)},
             {"raft-conf-change", ConfChangeName(applied.type)},
             {"raft-conf-change-node-id", base::LogId(applied.node_id)}});
  if (applied.id != 0 && waiter_.Contains(applied.id)) {
    apply::ApplyResult result;
    result.status = status;
    results_.push_back({applied.id, std::move(result)});
  }
}

absl::Status EtcdServer::ApplyMemberChange(const raft::ConfChange& change) {
  if (change.type == raft::ConfChangeType::kRemoveNode) {
    ETCDD_RETURN_IF_ERROR(cluster_->CheckRemove(change.node_id));
    const membership::Member member = *cluster_->member(change.node_id);
    cluster_->Remove(change.node_id, *batch_);
    ETCDD_LOG(kInfo, "removed member",
              {{"cluster-id", base::LogId(identity_.cluster_id)},
               {"local-member-id", base::LogId(identity_.member_id)},
               {"removed-remote-peer-id", base::LogId(member.id)},
               {"removed-remote-peer-urls", member.peer_urls},
               {"removed-remote-peer-is-learner", member.is_learner}});
    if (member.id == identity_.member_id) {
      OnSelfRemoved();
    } else {
      Disconnect(member.id);
    }
    return absl::OkStatus();
  }
  ETCDD_ASSIGN_OR_RETURN(membership::MemberChange context,
                         membership::MemberChangeFromJson(change.context.view()));
  membership::Member& member = context.member;
  if (member.id != change.node_id) {
    return absl::InvalidArgumentError("the change and its member differ in their ids");
  }
  if (change.type == raft::ConfChangeType::kUpdateNode) {
    ETCDD_RETURN_IF_ERROR(cluster_->CheckUpdate(member));
    ETCDD_LOG(kInfo, "updated member",
              {{"cluster-id", base::LogId(identity_.cluster_id)},
               {"local-member-id", base::LogId(identity_.member_id)},
               {"updated-remote-peer-id", base::LogId(member.id)},
               {"updated-remote-peer-urls", member.peer_urls},
               {"updated-remote-peer-is-learner", cluster_->member(member.id)->is_learner}});
    if (transport_ != nullptr && member.id != identity_.member_id) {
      transport_->UpdatePeer(member.id, member.peer_urls);
    }
    cluster_->UpdatePeerUrls(member.id, std::move(member.peer_urls), *batch_);
    return absl::OkStatus();
  }
  if (context.is_promote) {
    ETCDD_RETURN_IF_ERROR(cluster_->CheckPromote(member.id));
    ETCDD_LOG(kInfo, "promote member",
              {{"cluster-id", base::LogId(identity_.cluster_id)},
               {"local-member-id", base::LogId(identity_.member_id)},
               {"promoted-member-id", base::LogId(member.id)}});
    cluster_->Promote(member.id, *batch_);
    return absl::OkStatus();
  }
  member.is_learner = change.type == raft::ConfChangeType::kAddLearnerNode;
  return ApplyMemberAddition(std::move(member));
}

absl::Status EtcdServer::ApplyMemberAddition(membership::Member member) {
  ETCDD_RETURN_IF_ERROR(cluster_->CheckAdd(member));
  ETCDD_LOG(kInfo, "added member",
            {{"cluster-id", base::LogId(identity_.cluster_id)},
             {"local-member-id", base::LogId(identity_.member_id)},
             {"added-peer-id", base::LogId(member.id)},
             {"added-peer-peer-urls", member.peer_urls},
             {"added-peer-is-learner", member.is_learner}});
  Connect(member);
  cluster_->Add(std::move(member), *batch_);
  return absl::OkStatus();
}

void EtcdServer::OnSelfRemoved() {
  parts_.strand->PostAfter(kRemovalGrace, [this, alive = alive_] {
    if (*alive) OnRemovedByOthers();
  });
}

void EtcdServer::OnRemovedByOthers() {
  if (stopped_) return;
  ETCDD_LOG(kWarn, "server error",
            {{"error", "the member has been permanently removed from the cluster"}});
  ETCDD_LOG(kWarn, "data-dir used by this member must be removed");
  Stop(ApiError(ErrorId::kStopped));
  parts_.on_removed();
}

// --- Messages and leadership ---------------------------------------------------------------------

void EtcdServer::OnMessage(raft::Message message) {
  if (stopped_) return;
  raft_->Step(std::move(message));
}

void EtcdServer::OnUnreachable(raft::NodeId id) {
  if (!stopped_) raft_->ReportUnreachable(id);
}

void EtcdServer::MoveLeader(uint64_t target, Done done) {
  if (stopped_) return done(ApiError(ErrorId::kStopped), {});
  if (!is_leader()) return done(ApiError(ErrorId::kNotLeader), {});
  const membership::Member* member = cluster_->member(target);
  if (member == nullptr || member->is_learner) {
    return done(ApiError(ErrorId::kBadLeaderTransferee), {});
  }
  ETCDD_LOG(kInfo, "leadership transfer starting",
            {{"local-member-id", base::LogId(identity_.member_id)},
             {"current-leader-member-id", base::LogId(leader_)},
             {"transferee-member-id", base::LogId(target)}});
  leader_moves_.push_back(
      {target, parts_.clock->Monotonic() + options_.RequestTimeout(), std::move(done)});
  raft_->TransferLeader(target);
  FinishLeaderMoves();
}

void EtcdServer::FinishLeaderMoves() {
  if (leader_moves_.empty()) return;
  const absl::Duration now = parts_.clock->Monotonic();
  std::vector<LeaderMove> moves;
  moves.swap(leader_moves_);
  for (LeaderMove& move : moves) {
    if (leader_ == move.target) {
      ETCDD_LOG(kInfo, "leadership transfer finished",
                {{"local-member-id", base::LogId(identity_.member_id)},
                 {"old-leader-member-id", base::LogId(identity_.member_id)},
                 {"new-leader-member-id", base::LogId(move.target)}});
      move.done(absl::OkStatus(), {});
    } else if (stopped_ || move.deadline <= now) {
      move.done(absl::UnknownError("etcdserver: request timed out, leader transfer took too long"),
                {});
    } else {
      leader_moves_.push_back(std::move(move));
    }
  }
}

void EtcdServer::HandOverLeadership(absl::AnyInvocable<void()> done) {
  if (stopped_ || !is_leader() || transport_ == nullptr || cluster_->Voters().size() < 2) {
    return done();
  }
  uint64_t longest = 0;
  absl::Duration since = absl::InfiniteDuration();
  for (uint64_t id : cluster_->Voters()) {
    if (id == identity_.member_id) continue;
    const auto active = transport_->ActiveSince(id);
    if (active.has_value() && *active < since) {
      since = *active;
      longest = id;
    }
  }
  if (longest == 0) return done();
  MoveLeader(longest, [done = std::move(done)](absl::Status status, std::string) mutable {
    if (!status.ok()) {
      ETCDD_LOG(kWarn, "leadership transfer failed", {base::LogField(status)});
    }
    done();
  });
}

}  // namespace etcdd::server
