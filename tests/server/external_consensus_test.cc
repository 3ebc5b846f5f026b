// External consensus: the store works without our raft. What follows is how an embedder uses it:
// proposals leave through one channel, whoever agrees on their order sends them back through
// another, with changes of membership and whole states among them, and callers get their answers by
// the proposals' ids. Everything is on the in-memory backend.

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "gtest/gtest.h"
#include "mvcc/backend/image.h"
#include "mvcc/backend/mem_backend.h"
#include "mvcc/store.h"
#include "proto/rpc.pb.h"
#include "server/apply/applier.h"
#include "server/apply/txn.h"
#include "server/base/metrics.h"
#include "server/lease/lessor.h"
#include "server/membership/cluster.h"
#include "server/request_id.h"
#include "server/request_waiter.h"
#include "server/server_metrics.h"
#include "tests/support/fake_clock.h"

namespace etcdd::server {
namespace {

using apply::RequestKind;

// What the outside sends in, in the order it agreed on.
struct CommittedEntry {
  std::string data;
};
struct CommittedMember {
  membership::Member member;
};
struct IncomingState {
  std::shared_ptr<mvcc::Backend> backend;
};
using Committed = std::variant<CommittedEntry, CommittedMember, IncomingState>;

// As it arrives at another replica: through an image.
std::shared_ptr<mvcc::Backend> CopyOf(const mvcc::Backend& backend) {
  mvcc::ImageReader reader(backend.NewView());
  auto copy = std::make_shared<mvcc::MemBackend>();
  const absl::Status status = mvcc::LoadImage([&reader] { return reader.Next(); }, *copy);
  EXPECT_TRUE(status.ok()) << status;
  return copy;
}

// One replica: store, leases, alarms and members, and the callers that wait.
class Replica {
 public:
  Replica(uint64_t id, const base::Clock& clock, std::function<void(std::string)> propose)
      : clock_(clock),
        identity_{7, id},
        propose_(std::move(propose)),
        ids_(id, clock.Wall()),
        lessor_(clock, {}),
        cluster_(7, id) {
    auto opened = mvcc::Store::Open(backend_, &lessor_);
    EXPECT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
    quota_.emplace(*backend_, -1);
    applier_.emplace(apply::ApplierParts{store_.get(), &lessor_, &alarms_, &cluster_, &*quota_,
                                         &metrics_, identity_});
  }

  // Sends a request out; `done` is called when it comes back and has been applied.
  void Propose(RequestKind kind, const google::protobuf::Message& request, Done done) {
    const uint64_t id = ids_.Next();
    waiter_.Register(id, clock_.Monotonic(), absl::Seconds(7), 0, kNotTimed, std::move(done));
    propose_(std::string(
        apply::EncodeInternalRequest(id, kind, request.SerializeAsString()).view()));
  }

  void Receive(const Committed& committed) {
    if (const auto* state = std::get_if<IncomingState>(&committed)) return SwitchTo(*state);
    auto batch = backend_->NewBatch();
    store_->BeginBatch(batch.get());
    std::function<void()> answer = [] {};
    if (const auto* change = std::get_if<CommittedMember>(&committed)) {
      if (cluster_.CheckAdd(change->member).ok()) cluster_.Add(change->member, *batch);
    } else {
      answer = Apply(std::get<CommittedEntry>(committed).data, *batch);
    }
    EXPECT_TRUE(backend_->Write(*batch).ok());
    store_->FinishBatch();
    answer();  // only what is written is answered
  }

  std::string Get(const std::string& key) const {
    mvcc::RangeOptions options;
    options.key = key;
    std::string encoded;
    auto result = store_->Range(options, &encoded);
    EXPECT_TRUE(result.ok()) << result.status();
    etcdserverpb::RangeResponse response;
    std::string reply;
    apply::AppendRangeBody(encoded, *result, &reply);
    EXPECT_TRUE(response.ParseFromString(reply));
    return response.kvs_size() == 1 ? response.kvs(0).value() : "";
  }
  uint32_t Hash() const { return store_->HashKv(0)->hash; }
  std::shared_ptr<mvcc::Backend> backend() const { return backend_; }
  const lease::Lessor& lessor() const { return lessor_; }
  const membership::Cluster& cluster() const { return cluster_; }
  size_t waiting() const { return waiter_.size(); }

 private:
  std::function<void()> Apply(const std::string& data, mvcc::Batch& batch) {
    const auto request = apply::ParseInternalRequest(data);
    EXPECT_TRUE(request.has_value());
    auto result = std::make_shared<apply::ApplyResult>(applier_->Apply(*request, 1, batch));
    return [this, id = request->id, result] {
      if (auto waiter = waiter_.Take(id)) waiter->done(result->status, result->reply);
    };
  }

  // Lessor before store, which attaches the keys to it.
  void SwitchTo(const IncomingState& state) {
    const auto view = state.backend->NewView();
    EXPECT_TRUE(lessor_.Restore(*view).ok());
    EXPECT_TRUE(alarms_.Restore(*view).ok());
    EXPECT_TRUE(cluster_.Restore(*view).ok());
    auto content = store_->ReadContent(state.backend);
    ASSERT_TRUE(content.ok()) << content.status();
    store_->Restore(*content);
    backend_ = state.backend;
    quota_->SetBackend(*backend_);
  }

  const base::Clock& clock_;
  const apply::Identity identity_;
  const std::function<void(std::string)> propose_;
  std::shared_ptr<mvcc::Backend> backend_ = std::make_shared<mvcc::MemBackend>();
  RequestIdGenerator ids_;
  RequestWaiter waiter_;
  base::Metrics registry_;
  ServerMetrics metrics_{&registry_};
  lease::Lessor lessor_;
  apply::AlarmStore alarms_;
  membership::Cluster cluster_;
  std::unique_ptr<mvcc::Store> store_;
  std::optional<apply::Quota> quota_;
  std::optional<apply::Applier> applier_;
};

// The outside: a log that everybody gets in the same order.
class ExternalConsensusTest : public ::testing::Test {
 protected:
  void Order(Committed committed) { log_.push_back(std::move(committed)); }
  void Deliver(Replica& replica, size_t* position) {
    for (; *position < log_.size(); ++*position) replica.Receive(log_[*position]);
  }
  void DeliverAll() {
    Deliver(a_, &a_position_);
    Deliver(b_, &b_position_);
  }
  static etcdserverpb::PutRequest Put(const std::string& key, const std::string& value,
                                      int64_t lease = 0) {
    etcdserverpb::PutRequest request;
    request.set_key(key);
    request.set_value(value);
    request.set_lease(lease);
    return request;
  }

  testing::FakeClock clock_;
  std::vector<Committed> log_;
  Replica a_{1, clock_, [this](std::string data) { Order(CommittedEntry{std::move(data)}); }};
  Replica b_{2, clock_, [this](std::string data) { Order(CommittedEntry{std::move(data)}); }};
  size_t a_position_ = 0;
  size_t b_position_ = 0;
};

TEST_F(ExternalConsensusTest, AnswersReachTheCallersOfTheirOwnProposals) {
  std::vector<std::string> answers;
  const auto note = [&](std::string who) {
    return [&answers, who](absl::Status status, std::string reply) {
      etcdserverpb::PutResponse response;
      ASSERT_TRUE(status.ok() && response.ParseFromString(reply));
      answers.push_back(who + std::to_string(response.header().revision()));
    };
  };
  a_.Propose(RequestKind::kPut, Put("k", "from a"), note("a"));
  b_.Propose(RequestKind::kPut, Put("k", "from b"), note("b"));
  EXPECT_TRUE(answers.empty()) << "answered before it was agreed on";
  DeliverAll();
  EXPECT_EQ(answers, (std::vector<std::string>{"a2", "b3"}));
  EXPECT_EQ(a_.Get("k"), "from b");
  EXPECT_EQ(b_.Get("k"), "from b");
  EXPECT_EQ(a_.Hash(), b_.Hash());
  EXPECT_EQ(a_.waiting() + b_.waiting(), 0u);
}

TEST_F(ExternalConsensusTest, RefusalsAreAnswersToo) {
  absl::Status status;
  a_.Propose(RequestKind::kPut, Put("k", "v", /*lease=*/99),
             [&](absl::Status answer, std::string) { status = std::move(answer); });
  DeliverAll();
  EXPECT_EQ(status.message(), "etcdserver: requested lease not found");
  EXPECT_EQ(a_.Hash(), b_.Hash());
}

TEST_F(ExternalConsensusTest, LeasesAndMembersAreReplicated) {
  etcdserverpb::LeaseGrantRequest grant;
  grant.set_id(5);
  grant.set_ttl(60);
  a_.Propose(RequestKind::kLeaseGrant, grant, [](absl::Status, std::string) {});
  a_.Propose(RequestKind::kPut, Put("k", "v", 5), [](absl::Status, std::string) {});
  membership::Member member;
  member.id = 3;
  member.peer_urls = {"http://c:2380"};
  Order(CommittedMember{member});
  Order(CommittedMember{member});  // said twice, done once
  DeliverAll();
  for (const Replica* replica : {&a_, &b_}) {
    EXPECT_EQ(*replica->lessor().Keys(5), std::vector<std::string>{"k"});
    EXPECT_EQ(replica->cluster().members().size(), 1u);
  }
  etcdserverpb::LeaseRevokeRequest revoke;
  revoke.set_id(5);
  b_.Propose(RequestKind::kLeaseRevoke, revoke, [](absl::Status, std::string) {});
  DeliverAll();
  EXPECT_EQ(a_.Get("k"), "");
  EXPECT_EQ(a_.Hash(), b_.Hash());
}

TEST_F(ExternalConsensusTest, AStateTakesThePlaceOfTheEntriesBeforeIt) {
  for (int i = 0; i < 10; ++i) {
    a_.Propose(RequestKind::kPut, Put("k" + std::to_string(i), "v"),
               [](absl::Status, std::string) {});
  }
  Deliver(a_, &a_position_);
  // b never gets these entries: it is given what became of them.
  b_.Receive(IncomingState{CopyOf(*a_.backend())});
  b_position_ = log_.size();
  EXPECT_EQ(b_.Get("k9"), "v");
  a_.Propose(RequestKind::kPut, Put("after", "v"), [](absl::Status, std::string) {});
  DeliverAll();
  EXPECT_EQ(b_.Get("after"), "v");
  EXPECT_EQ(a_.Hash(), b_.Hash());
}

}  // namespace
}  // namespace etcdd::server
