#pragma once

// A unary request and the pool such requests come from: under load a call costs no allocation of
// its own.
//
// Confined to the loop; calls may outlive the pool's owner.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/net/grpc_stream.h"

namespace etcdd::net {

class UnaryCall final : public GrpcStream, public rpc::Call {
 public:
  UnaryCall() : GrpcStream(true) {}

  std::string_view method() const override { return head_.path(); }
  std::optional<std::string_view> metadata(std::string_view name) const override {
    return head_.Find(name);
  }
  std::string_view peer() const override { return peer_->address; }
  std::string_view certificate_common_name() const override {
    return peer_->certificate_common_name;
  }
  absl::Duration deadline() const override { return deadline_; }
  std::string_view request() const override { return request_; }
  bool cancelled() const override { return cancelled_; }
  void OnCancel(absl::AnyInvocable<void()> callback) override;
  void Finish(absl::Status status, std::string reply) override;

  void OnHeadDone() override {}
  void OnData(std::string_view piece) override;
  void OnEndOfInput() override;

  // Makes the object ready for the next request.
  void Reuse();

 private:
  bool OnMessage(std::string_view message) override;
  void TellHandler() override;
  void OnClosing() override;
  // Changes what this call counts for at its session.
  void SetHeld(size_t bytes);

  std::string request_;
  bool has_request_ = false;
  size_t held_bytes_ = 0;  // the request until Finish, then the reply until the stream closes
  absl::AnyInvocable<void()> on_cancel_;
};

class CallPool {
 public:
  CallPool();
  ~CallPool();
  CallPool(const CallPool&) = delete;
  CallPool& operator=(const CallPool&) = delete;

  std::shared_ptr<UnaryCall> Acquire();

 private:
  struct Core;
  struct Return;
  template <typename T>
  struct Blocks;

  Core* core_;  // dies with the pool and its last call
};

}  // namespace etcdd::net
