#pragma once

// A real etcd server on loopback, for tests that exchange files or requests with it. Needs etcd and
// etcdctl on the PATH.

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"

namespace etcdd::wal {

class EtcdProcess {
 public:
  // `data_dir` is made by etcd; the same object may Start again on it, with the same ports.
  // `program` may be another server that takes etcd's flags.
  explicit EtcdProcess(std::string data_dir, std::string program = "etcd");
  // Kills a server that still runs.
  ~EtcdProcess();

  // Runs the server and waits until it serves; the error carries its log.
  absl::Status Start(const std::vector<std::string>& more_flags = {});
  // Ends it in good order and waits.
  void Stop();
  // As a crash would.
  void Kill();

  // Runs etcdctl with `arguments` (shell words); returns what it printed.
  std::string Ctl(const std::string& arguments) const;

  const std::string& client_url() const { return client_url_; }
  const std::string& peer_url() const { return peer_url_; }

 private:
  void End(int signal);

  const std::string data_dir_;
  const std::string program_;
  const std::string client_url_;
  const std::string peer_url_;
  int pid_ = -1;
  struct Output;
  std::unique_ptr<Output> output_;  // of the running server
  std::thread reader_;
};

}  // namespace etcdd::wal
