#pragma once

// Follows an election (ELEC-006): the present leader or, if there is none, the next one; then every
// later value of that leader in order; then, when its key is gone, the leader of that time.
//
// Confined to the server strand.

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/v3election.pb.h"
#include "server/concurrency/hub_watch.h"
#include "server/etcd_server.h"

namespace etcdd::concurrency {

class Observer : public std::enable_shared_from_this<Observer> {
 public:
  // The way to the client. `send` says whether it takes more; after false nothing is sent until
  // OnWritable, save the rest of what was being handed over. `end` is called at most once, last.
  struct Client {
    std::function<bool(const v3electionpb::LeaderResponse&)> send;
    std::function<void(const absl::Status&)> end;
  };
  // `server` must outlive the observer.
  Observer(server::EtcdServer* server, std::string name, Client client);

  void Start() { Look(); }
  void OnWritable();
  // The client has gone.
  void Stop();

 private:
  void Look();
  void OnLeader(absl::StatusOr<etcdserverpb::RangeResponse> oldest);
  // Both wait for events after `revision`.
  void AwaitLeader(int64_t revision);
  void Follow(const std::string& key, int64_t revision);
  // Replaces the watch, outside of it.
  void Next(std::function<void(Observer&)> step);
  void Send(const etcdserverpb::ResponseHeader& header, const mvccpb::KeyValue& kv);

  server::EtcdServer* const server_;
  const std::string name_;
  const Client client_;
  std::unique_ptr<HubWatch> watch_;
  bool stopped_ = false;
  bool writable_ = true;
  bool look_when_writable_ = false;
};

}  // namespace etcdd::concurrency
