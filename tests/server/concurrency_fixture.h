#pragma once

// A member with its lock and election services, and clients that call them.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "proto/v3election.pb.h"
#include "proto/v3lock.pb.h"
#include "server/rpc/services.h"
#include "tests/server/fake_call.h"
#include "tests/server/member_fixture.h"

namespace etcdd::server {

class ConcurrencyTest : public ::testing::Test {
 protected:
  using CallPointer = std::shared_ptr<rpc::FakeCall>;

  void SetUp() override {
    ASSERT_TRUE(member_.Start().ok());
    dispatcher_.emplace(member_.server.get());
    rpc::RegisterLock(member_.server.get(), &*dispatcher_);
    rpc::RegisterElection(member_.server.get(), &*dispatcher_);
    for (const int64_t lease : {1, 2, 3}) ASSERT_TRUE(member_.LeaseGrant(lease, 1000).ok());
  }
  // As the daemon does: the server answers, the connections end, the server goes.
  void TearDown() override {
    member_.server->Stop(absl::UnavailableError("etcdserver: server stopped"));
    for (const CallPointer& call : calls_) call->Cancel();
    for (const auto& stream : streams_) stream->Close();
    dispatcher_.reset();
  }

  CallPointer Start(std::string method, const google::protobuf::MessageLite& request) {
    auto call = std::make_shared<rpc::FakeCall>(std::move(method), request.SerializeAsString());
    calls_.push_back(call);
    dispatcher_->Dispatch(std::shared_ptr<rpc::Call>(call));
    return call;
  }
  CallPointer Run(CallPointer call) {
    member_.Run();
    return call;
  }

  CallPointer StartLock(std::string name, int64_t lease) {
    v3lockpb::LockRequest request;
    request.set_name(std::move(name));
    request.set_lease(lease);
    return Start("/v3lockpb.Lock/Lock", request);
  }
  CallPointer Lock(std::string name, int64_t lease) {
    return Run(StartLock(std::move(name), lease));
  }
  CallPointer Unlock(std::string key) {
    v3lockpb::UnlockRequest request;
    request.set_key(std::move(key));
    return Run(Start("/v3lockpb.Lock/Unlock", request));
  }
  CallPointer Campaign(std::string name, int64_t lease, std::string value) {
    v3electionpb::CampaignRequest request;
    request.set_name(std::move(name));
    request.set_lease(lease);
    request.set_value(std::move(value));
    return Run(Start("/v3electionpb.Election/Campaign", request));
  }
  CallPointer Proclaim(const v3electionpb::LeaderKey& leader, std::string value) {
    v3electionpb::ProclaimRequest request;
    *request.mutable_leader() = leader;
    request.set_value(std::move(value));
    return Run(Start("/v3electionpb.Election/Proclaim", request));
  }
  CallPointer Resign(const v3electionpb::LeaderKey& leader) {
    v3electionpb::ResignRequest request;
    *request.mutable_leader() = leader;
    return Run(Start("/v3electionpb.Election/Resign", request));
  }
  CallPointer Leader(std::string name) {
    v3electionpb::LeaderRequest request;
    request.set_name(std::move(name));
    return Run(Start("/v3electionpb.Election/Leader", request));
  }
  std::shared_ptr<rpc::FakeStream> Observe(std::string name) {
    auto stream = std::make_shared<rpc::FakeStream>("/v3electionpb.Election/Observe");
    streams_.push_back(stream);
    dispatcher_->Dispatch(std::shared_ptr<rpc::Stream>(stream));
    v3electionpb::LeaderRequest request;
    request.set_name(std::move(name));
    stream->Receive(request.SerializeAsString());
    member_.Run();
    return stream;
  }

  template <typename Response>
  static Response Reply(const CallPointer& call) {
    EXPECT_TRUE(call->finished && call->status.ok()) << call->status;
    Response response;
    EXPECT_TRUE(response.ParseFromString(call->reply));
    return response;
  }
  static v3lockpb::LockResponse Locked(const CallPointer& call) {
    return Reply<v3lockpb::LockResponse>(call);
  }
  static v3electionpb::CampaignResponse Elected(const CallPointer& call) {
    return Reply<v3electionpb::CampaignResponse>(call);
  }
  static std::vector<std::string> Values(const rpc::FakeStream& stream) {
    std::vector<std::string> values;
    for (const std::string& message : stream.sent) {
      v3electionpb::LeaderResponse response;
      EXPECT_TRUE(response.ParseFromString(message));
      values.push_back(response.kv().value());
    }
    return values;
  }
  static void ExpectError(const CallPointer& call, std::string_view text) {
    EXPECT_TRUE(call->finished);
    EXPECT_EQ(call->status.code(), absl::StatusCode::kUnknown) << call->status;
    EXPECT_EQ(std::string(call->status.message()), std::string(text));
  }

  bool Exists(std::string_view key) { return member_.Get(key).has_value(); }
  int64_t revision() { return member_.server->store().revision(); }
  size_t watchers() { return member_.server->watch_hub().stats().watchers; }

  MemberFixture member_;
  std::optional<rpc::ServiceDispatcher> dispatcher_;
  std::vector<CallPointer> calls_;
  std::vector<std::shared_ptr<rpc::FakeStream>> streams_;
};

}  // namespace etcdd::server
