// A member under a leader that the test plays: what it applies, takes in and answers.

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "mvcc/backend/image.h"
#include "server/base/coding.h"
#include "tests/server/member_fixture.h"

namespace etcdd::server {
namespace {

// Keeps what the member sends.
class RecordingTransport final : public consensus::Transport {
 public:
  void Send(raft::Message message) override { sent.push_back(std::move(message)); }
  void SendSnapshot(raft::Message message,
                    std::unique_ptr<consensus::ImageSource> source) override {
    sent.push_back(std::move(message));
    images.push_back(std::move(source));
  }
  void AddPeer(raft::NodeId id, std::vector<std::string> urls) override {
    peers[id] = std::move(urls);
  }
  void UpdatePeer(raft::NodeId id, std::vector<std::string> urls) override {
    peers[id] = std::move(urls);
  }
  void RemovePeer(raft::NodeId id) override { peers.erase(id); }
  void AddRemote(raft::NodeId, std::vector<std::string>) override {}
  std::optional<absl::Duration> ActiveSince(raft::NodeId) const override { return std::nullopt; }

  std::vector<raft::Message> sent;
  std::vector<std::unique_ptr<consensus::ImageSource>> images;
  std::map<raft::NodeId, std::vector<std::string>> peers;
};

class FollowerTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kTerm = 2;

  void SetUp() override {
    membership::Member leader;
    leader.name = "leader";
    leader.peer_urls = {"http://leader:2380"};
    member_.bootstrap.others = {leader};
    member_.transport = &transport_;
    member_.install_image = [this](uint64_t index) { return Install(index); };
    const absl::Status status = member_.Start(/*wait_until_ready=*/false);
    ASSERT_TRUE(status.ok()) << status;
    member_.Run();
    id_ = member_.server->identity().member_id;
    for (const auto& [peer, urls] : transport_.peers) leader_ = peer;
    ASSERT_NE(leader_, 0u);
    last_ = 2;  // one entry for each first member
  }

  absl::StatusOr<std::shared_ptr<mvcc::Backend>> Install(uint64_t index) {
    auto found = images_.find(index);
    if (found == images_.end()) return absl::NotFoundError("no such image");
    installed_.push_back(index);
    return found->second;
  }

  // The member's state with everything up to `index` in it.
  std::shared_ptr<mvcc::MemBackend> ImageAt(uint64_t index) {
    auto copy = std::make_shared<mvcc::MemBackend>();
    mvcc::ImageReader reader(member_.backend->NewView());
    EXPECT_TRUE(mvcc::LoadImage([&reader] { return reader.Next(); }, *copy).ok());
    auto batch = copy->NewBatch();
    std::string bytes;
    base::AppendBigEndian64(index, &bytes);
    batch->Put(mvcc::Bucket::kMeta, kConsistentIndexKey, bytes);
    EXPECT_TRUE(copy->Write(*batch).ok());
    return copy;
  }

  raft::Message FromLeader(raft::MessageType type) {
    raft::Message message;
    message.type = type;
    message.from = leader_;
    message.to = id_;
    message.term = kTerm;
    return message;
  }
  // One more entry, committed at once.
  void Append() {
    raft::Message append = FromLeader(raft::MessageType::kApp);
    append.index = last_;
    append.log_term = last_ <= 2 ? 1 : kTerm;
    append.entries = {{raft::EntryType::kNormal, kTerm, ++last_, {}}};
    append.commit = last_;
    member_.server->OnMessage(std::move(append));
  }
  // The member gets the state with one entry more instead of that entry.
  void SendState() {
    raft::Message message = FromLeader(raft::MessageType::kSnap);
    auto snapshot = std::make_shared<raft::Snapshot>();
    snapshot->index = ++last_;
    snapshot->term = kTerm;
    snapshot->conf_state.voters = {std::min(id_, leader_), std::max(id_, leader_)};
    message.snapshot = std::move(snapshot);
    images_[last_] = ImageAt(last_);
    member_.server->OnMessage(std::move(message));
  }

  RecordingTransport transport_;
  std::map<uint64_t, std::shared_ptr<mvcc::MemBackend>> images_;
  std::vector<uint64_t> installed_;
  MemberFixture member_;
  uint64_t id_ = 0;
  uint64_t leader_ = 0;
  uint64_t last_ = 0;
};

// The seed's scenario of this name: entries and states come mixed and faster than they are taken
// in; every state counts, none is outdated when its turn comes, and what is applied only grows.
TEST_F(FollowerTest, ConcurrentApplyAndSnapshot) {
  constexpr int kStates = 50;
  constexpr int kEntries = 101;
  constexpr int kInFlightMax = 16;
  int states = 0;
  int entries = 0;
  uint64_t applied = member_.server->applied_index();
  while (states < kStates || entries < kEntries) {
    for (int i = 0; i < kInFlightMax && (states < kStates || entries < kEntries); ++i) {
      if (entries < kEntries) {
        Append();
        ++entries;
      }
      if (entries % 2 == 0 && states < kStates) {
        SendState();
        ++states;
      }
      // Some turns pass between messages, not enough to take in a state.
      if (i % 3 == 0) member_.Run();
      ASSERT_GE(member_.server->applied_index(), applied);
      applied = member_.server->applied_index();
    }
    member_.Run();
  }
  EXPECT_EQ(member_.server->applied_index(), last_);
  // A state that a newer one overtook in the queue need not be installed.
  EXPECT_GT(installed_.size(), static_cast<size_t>(kStates / 2));
  EXPECT_TRUE(std::is_sorted(installed_.begin(), installed_.end()));
  EXPECT_TRUE(member_.fatal.ok()) << member_.fatal;
  // The last answer to the leader tells that all of it is there.
  uint64_t acknowledged = 0;
  for (const raft::Message& message : transport_.sent) {
    if (message.type == raft::MessageType::kAppResp) {
      EXPECT_FALSE(message.reject);
      acknowledged = std::max(acknowledged, message.index);
    }
  }
  EXPECT_EQ(acknowledged, last_);
}

TEST_F(FollowerTest, AStateIsTheMemberAfterARestartToo) {
  SendState();
  member_.Run();
  ASSERT_EQ(member_.server->applied_index(), last_);
  member_.Stop();
  member_.backend = images_[last_];
  const absl::Status status = member_.Start(/*wait_until_ready=*/false);
  ASSERT_TRUE(status.ok()) << status;
  member_.Run();
  EXPECT_EQ(member_.server->applied_index(), last_);
  Append();
  member_.Run();
  EXPECT_EQ(member_.server->applied_index(), last_);
}

// Killed after raft took the state and before it became the backend: the old backend does not reach
// what the WAL says and is refused; the image, which is on disk, has to take its place first.
TEST_F(FollowerTest, KilledBeforeTheStateWasInstalled) {
  bool fails = true;
  member_.Stop();
  member_.install_image = [this, &fails](uint64_t index)
      -> absl::StatusOr<std::shared_ptr<mvcc::Backend>> {
    if (fails) return absl::CancelledError("killed");
    return Install(index);
  };
  ASSERT_TRUE(member_.Start(/*wait_until_ready=*/false).ok());
  SendState();
  member_.Run();
  EXPECT_TRUE(absl::IsCancelled(member_.fatal));
  member_.Stop();
  const absl::Status behind = member_.Start(/*wait_until_ready=*/false);
  EXPECT_TRUE(absl::IsFailedPrecondition(behind)) << behind;
  member_.backend = images_[last_];
  EXPECT_TRUE(member_.Start(/*wait_until_ready=*/false).ok());
  EXPECT_EQ(member_.server->applied_index(), last_);
}

TEST_F(FollowerTest, AnImageThatCannotBeReadStopsTheMember) {
  member_.install_image = [](uint64_t) -> absl::StatusOr<std::shared_ptr<mvcc::Backend>> {
    return absl::DataLossError("the image is damaged");
  };
  member_.Stop();
  ASSERT_TRUE(member_.Start(/*wait_until_ready=*/false).ok());
  SendState();
  member_.Run();
  EXPECT_TRUE(absl::IsDataLoss(member_.fatal)) << member_.fatal;
  EXPECT_TRUE(member_.server->stopped());
}

TEST_F(FollowerTest, ItsOwnRemovalStopsItAfterAWhile) {
  raft::ConfChange change;
  change.type = raft::ConfChangeType::kRemoveNode;
  change.node_id = id_;
  raft::Message append = FromLeader(raft::MessageType::kApp);
  append.index = last_;
  append.log_term = 1;
  append.entries = {{raft::EntryType::kConfChange, kTerm, ++last_, raft::Encode(change)}};
  append.commit = last_;
  member_.server->OnMessage(std::move(append));
  member_.Run();
  EXPECT_FALSE(member_.removed);
  member_.clock.AdvanceBy(kRemovalGrace);
  EXPECT_TRUE(member_.removed);
  EXPECT_TRUE(member_.fatal.ok());
  member_.Stop();
  const absl::Status again = member_.Start(/*wait_until_ready=*/false);
  EXPECT_TRUE(absl::IsFailedPrecondition(again)) << again;
}

TEST_F(FollowerTest, MembersAreTheTransportsPeers) {
  EXPECT_EQ(transport_.peers.size(), 1u);
  membership::Member third;
  third.id = 77;
  third.peer_urls = {"http://third:2380"};
  raft::ConfChange change;
  change.type = raft::ConfChangeType::kAddLearnerNode;
  change.node_id = third.id;
  change.context = base::Bytes::Copy(membership::MemberToJson(third));
  raft::Message append = FromLeader(raft::MessageType::kApp);
  append.index = last_;
  append.log_term = 1;
  append.entries = {{raft::EntryType::kConfChange, kTerm, ++last_, raft::Encode(change)}};
  append.commit = last_;
  member_.server->OnMessage(std::move(append));
  member_.Run();
  EXPECT_EQ(transport_.peers[77], third.peer_urls);
  EXPECT_TRUE(member_.server->cluster().member(77)->is_learner);
}

}  // namespace
}  // namespace etcdd::server
