#pragma once

// Method path -> handler, and what every request is checked for before its handler sees it
// (SRV-040, SRV-043). Methods of etcd's API that this build does not serve answer Unimplemented
// with a text that says so.
//
// Confined to the server strand; methods are registered before the first request.

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "server/rpc/call.h"

namespace etcdd::server {
class EtcdServer;
}

namespace etcdd::rpc {

using UnaryHandler = std::function<void(std::shared_ptr<Call>)>;
using StreamHandler = std::function<void(std::shared_ptr<Stream>)>;

class ServiceDispatcher final : public Dispatcher {
 public:
  // Knows all methods of etcd's API from the start. `server` must outlive the dispatcher.
  explicit ServiceDispatcher(server::EtcdServer* server);
  ~ServiceDispatcher() override { *alive_ = false; }

  // Requires: etcd's API has this method, of this kind.
  void Handle(std::string_view method, UnaryHandler handler);
  void Handle(std::string_view method, StreamHandler handler);

  MethodKind Classify(std::string_view method) const override;
  void Dispatch(std::shared_ptr<Call> call) override;
  void Dispatch(std::shared_ptr<Stream> stream) override;

 private:
  struct Method {
    bool is_stream = false;
    base::Counter* started = nullptr;
    std::unique_ptr<MethodCounters> counters;  // its requests point to it
    UnaryHandler unary;
    StreamHandler stream;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  template <typename Value>
  using ByName = std::unordered_map<std::string, Value, Hash, std::equal_to<>>;

  absl::Status Admit(const CallContext& context) const;
  // SRV-041: streams that asked for a leader end when there has been none for a while.
  void WatchForLeader(std::shared_ptr<Stream> stream);
  void CheckLeader();

  server::EtcdServer* const server_;
  std::vector<std::weak_ptr<Stream>> leader_required_;
  bool checking_leader_ = false;
  int checks_without_leader_ = 0;  // in a row
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  ByName<Method> methods_;
  std::unordered_set<std::string, Hash, std::equal_to<>> services_;
};

// Code and text of a request that is no protobuf message (ERR-011).
absl::Status MalformedRequest();

}  // namespace etcdd::rpc
