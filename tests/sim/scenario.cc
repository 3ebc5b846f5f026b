#include "tests/sim/scenario.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/log.h"

namespace etcdd::sim {
namespace {

constexpr absl::Duration kLong = absl::Seconds(30);

}  // namespace

void Scenario::SetUpTestSuite() { base::SetLogLevel(base::LogLevel::kFatal); }

void Scenario::Start(int members, std::function<void(MemberSettings*)> adjust) {
  SimulationOptions options;
  options.members = members;
  options.chaos = false;
  options.adjust = std::move(adjust);
  sim_ = std::make_unique<Simulation>(std::move(options));
  sim_->StartCluster();
  ASSERT_TRUE(RunUntil(kLong, [this] {
    for (const auto& member : sim_->cluster().members()) {
      if (!member->ready()) return false;
    }
    return true;
  }));
  // Long enough for the strict checks of reconfiguration (CLUS-021).
  RunFor(absl::Seconds(6));
}

void Scenario::Finish() {
  sim_->Heal();
  if (sim_->failures().empty()) sim_->Settle();
  if (sim_->failures().empty()) sim_->Check();
  EXPECT_EQ(absl::StrJoin(sim_->failures(), "\n"), "");
}

SimMember* Scenario::Leader(SimMember* other_than) {
  SimMember* leader = nullptr;
  RunUntil(kLong, [&] {
    leader = sim_->cluster().Leader();
    return leader != nullptr && leader != other_than;
  });
  EXPECT_NE(leader, nullptr);
  return leader;
}

SimMember* Scenario::Follower(int nth) {
  SimMember* const leader = Leader();
  for (SimMember* const member : sim_->cluster().Active()) {
    if (member->running() && member != leader && nth-- == 0) return member;
  }
  return nullptr;
}

Operation Scenario::Put(SimMember* member, const std::string& key, const std::string& value,
                        int64_t lease) {
  Operation put = sim_->Ask(member, Client::Put(key, value, lease));
  EXPECT_EQ(put.result, Result::kOk) << put.Describe();
  return put;
}

Operation Scenario::Get(SimMember* member, const std::string& key) {
  Operation get = sim_->Ask(member, Client::Read(key, "", false));
  EXPECT_EQ(get.result, Result::kOk) << get.Describe();
  return get;
}

Operation Scenario::Delete(SimMember* member, const std::string& key) {
  Operation remove;
  remove.request.add_success()->mutable_request_delete_range()->set_key(key);
  remove = sim_->Ask(member, std::move(remove));
  EXPECT_EQ(remove.result, Result::kOk) << remove.Describe();
  return remove;
}

void Scenario::Compact(SimMember* member, int64_t revision) {
  Operation compact;
  compact.kind = OperationKind::kCompact;
  compact.compact_revision = revision;
  compact = sim_->Ask(member, std::move(compact));
  EXPECT_EQ(compact.result, Result::kOk) << compact.Describe();
}

void Scenario::Grant(SimMember* member, int64_t lease, int64_t ttl_seconds) {
  Operation grant;
  grant.kind = OperationKind::kLeaseGrant;
  grant.lease = lease;
  grant.ttl_seconds = ttl_seconds;
  grant = sim_->Ask(member, std::move(grant));
  EXPECT_EQ(grant.result, Result::kOk) << grant.Describe();
}

Operation Scenario::Renew(SimMember* member, int64_t lease) {
  Operation renew;
  renew.kind = OperationKind::kLeaseRenew;
  renew.lease = lease;
  return sim_->Ask(member, std::move(renew));
}

void Scenario::PutMany(SimMember* member, int count) {
  for (int i = 0; i < count; ++i) {
    Put(member, absl::StrCat("k", i % 10), absl::StrCat("many-", sim_->log().revision()));
    if (HasFailure()) return;
  }
}

void Scenario::Cut(SimMember* member, bool cut) {
  for (const auto& other : sim_->cluster().members()) {
    if (other->index() == member->index()) continue;
    sim_->network().Cut(member->index(), other->index(), cut);
    sim_->network().Cut(other->index(), member->index(), cut);
  }
}

absl::Status Scenario::RunRequest(
    SimMember* member, const std::function<void(server::EtcdServer&, server::Done)>& request) {
  auto answer = std::make_shared<std::optional<absl::Status>>();
  member->strand().Post([&request, member, answer] {
    request(member->server(), [answer](absl::Status status, std::string) { *answer = status; });
  });
  RunUntil(kLong, [&] { return answer->has_value(); });
  return answer->value_or(absl::DeadlineExceededError("no answer"));
}

uint64_t Scenario::AddMember(SimMember* through, SimMember* machine, bool is_learner) {
  uint64_t added = 0;
  const absl::Status status =
      RunRequest(through, [&](server::EtcdServer& server, server::Done done) {
        server.AddMember(machine->peer_urls(), is_learner,
                         [&added, done = std::move(done)](absl::StatusOr<uint64_t> id) mutable {
                           if (id.ok()) added = *id;
                           done(id.status(), "");
                         });
      });
  EXPECT_TRUE(status.ok()) << status.ToString();
  if (!status.ok()) return 0;
  server::JoinedCluster joined;
  joined.cluster_id = through->server().identity().cluster_id;
  joined.member_id = added;
  joined.members = through->server().cluster().members();
  machine->SetBirth({}, std::move(joined));
  return added;
}

absl::Status Scenario::Remove(SimMember* through, uint64_t id) {
  return RunRequest(through, [id](server::EtcdServer& server, server::Done done) {
    server.RemoveMember(id, std::move(done));
  });
}

absl::Status Scenario::Promote(SimMember* through, uint64_t id) {
  return RunRequest(through, [id](server::EtcdServer& server, server::Done done) {
    server.PromoteMember(id, std::move(done));
  });
}

absl::Status Scenario::MoveLeader(SimMember* leader, uint64_t target) {
  return RunRequest(leader, [target](server::EtcdServer& server, server::Done done) {
    server.MoveLeader(target, std::move(done));
  });
}

SimMember* Scenario::Grow(bool is_learner) {
  SimMember* const machine = sim_->cluster().AddMachine();
  if (AddMember(Leader(), machine, is_learner) == 0) return nullptr;
  Restart(machine);
  EXPECT_TRUE(RunUntil(kLong, [machine] { return machine->ready(); }));
  RunFor(absl::Seconds(6));
  return machine;
}

int64_t Scenario::probe(const std::string& name) const {
  const auto& probes = sim_->trace().probes();
  const auto found = probes.find(name);
  return found == probes.end() ? 0 : found->second;
}

}  // namespace etcdd::sim
