#pragma once

// grpc.health.v1.Health, in front of another dispatcher. It knows one service, the empty name:
// SERVING or NOT_SERVING. Check of another name is NotFound `unknown service`, Watch of another
// name reports SERVICE_UNKNOWN, as the protocol says.
//
// Confined to the loop.

#include <list>
#include <memory>
#include <string_view>

#include "server/rpc/call.h"

namespace etcdd::net {

class HealthService final : public rpc::Dispatcher {
 public:
  // Everything else goes to `next`, which must outlive this.
  explicit HealthService(rpc::Dispatcher* next) : next_(next) {}
  ~HealthService() override;

  // Initially not serving. Watchers are told of changes.
  void SetServing(bool serving);

  MethodKind Classify(std::string_view method) const override;
  void Dispatch(std::shared_ptr<rpc::Call> call) override;
  void Dispatch(std::shared_ptr<rpc::Stream> stream) override;

 private:
  struct Watcher;
  using Watchers = std::list<std::shared_ptr<Watcher>>;

  rpc::Dispatcher* const next_;
  bool serving_ = false;
  Watchers watchers_;
};

}  // namespace etcdd::net
