#pragma once

// One member without network or threads: the real EtcdServer on an in-memory disk and backend,
// under a clock that moves when told. The disk outlives the member, so a test can crash and start
// it again.
//
//   MemberFixture member;
//   ASSERT_TRUE(member.Start().ok());
//   EXPECT_TRUE(member.Put("k", "v").ok());
//   member.Crash();                      // what was not synced or flushed is gone
//   ASSERT_TRUE(member.Start().ok());
//   EXPECT_EQ(member.Get("k"), "v");

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mvcc/backend/mem_backend.h"
#include "proto/rpc.pb.h"
#include "server/base/metrics.h"
#include "server/base/random.h"
#include "server/bootstrap.h"
#include "server/etcd_server.h"
#include "server/server_metrics.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fault_file_system.h"

namespace etcdd::server {

// How a request was answered, once it was.
struct Outcome {
  bool done = false;
  absl::Status status = absl::UnknownError("not answered");
  std::string reply;
  bool ok() const { return done && status.ok(); }
};
using OutcomePointer = std::shared_ptr<Outcome>;

class MemberFixture {
 public:
  MemberFixture();
  ~MemberFixture();

  // Starts the member and, unless `wait_until_ready` is false, lets it become leader.
  absl::Status Start(bool wait_until_ready = true);
  void Stop();
  // The machine loses power: the member is gone, and with it what was not made durable.
  void Crash();

  // Runs everything that can run without time passing.
  void Run() { clock.RunReady(); }

  // Requests; the ones without Later run until nothing more happens.
  OutcomePointer PutLater(std::string_view key, std::string_view value, int64_t lease = 0);
  Outcome Put(std::string_view key, std::string_view value, int64_t lease = 0);
  Outcome Delete(std::string_view key);
  Outcome Txn(const etcdserverpb::TxnRequest& request);
  Outcome Compact(int64_t revision, bool physical = false);
  Outcome LeaseGrant(int64_t id, int64_t ttl_seconds);
  Outcome LeaseRevoke(int64_t id);
  Outcome Alarm(etcdserverpb::AlarmRequest::AlarmAction action, etcdserverpb::AlarmType type);
  OutcomePointer RangeLater(std::string_view key, bool serializable = false);
  // nullopt: no such key, or no answer.
  std::optional<std::string> Get(std::string_view key, bool serializable = false);

  testing::FakeClock clock;
  testing::FaultFileSystem fs;
  std::shared_ptr<mvcc::MemBackend> backend = std::make_shared<mvcc::MemBackend>();
  std::unique_ptr<base::Random> random;

  // To be set before Start.
  EtcdServerOptions options;
  BootstrapOptions bootstrap;
  bool with_wal_strand = false;
  consensus::Transport* transport = nullptr;
  std::function<absl::StatusOr<std::shared_ptr<mvcc::Backend>>(uint64_t index)> install_image;
  std::function<absl::Status(const SnapshotPoint&)> save_snapshot = [](const SnapshotPoint&) {
    return absl::OkStatus();
  };

  // Of the running member.
  std::unique_ptr<base::Metrics> registry;
  std::unique_ptr<ServerMetrics> metrics;
  std::unique_ptr<EtcdServer> server;
  bool ready = false;
  absl::Status fatal;
  bool removed = false;

 private:
  static Done Record(OutcomePointer outcome);

  std::vector<std::unique_ptr<testing::FakeStrand>> strands_;
};

}  // namespace etcdd::server
