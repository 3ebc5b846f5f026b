#include "tests/server/member_fixture.h"

#include <utility>

#include "server/base/status_macros.h"

namespace etcdd::server {

MemberFixture::MemberFixture() : random(base::NewSeededRandom(1)) {
  options.name = "default";
  options.client_urls = {"http://localhost:2379"};
  bootstrap.name = "default";
  bootstrap.wal_dir = "/d/member/wal";
  bootstrap.peer_urls = {"http://localhost:2380"};
  bootstrap.cluster_token = "etcd-cluster";
  bootstrap.backend_path = "/d/member/snap/etcdd.db";
  bootstrap.wal.clock = &clock;
  bootstrap.wal.segment_bytes = 64 * 1024;
  bootstrap.backend_existed = false;
}

MemberFixture::~MemberFixture() { Stop(); }

absl::Status MemberFixture::Start(bool wait_until_ready) {
  fatal = absl::OkStatus();
  ready = false;
  ETCDD_ASSIGN_OR_RETURN(Bootstrapped bootstrapped, Bootstrap(fs, bootstrap, *backend));
  registry = std::make_unique<base::Metrics>();
  metrics = std::make_unique<ServerMetrics>(registry.get());
  for (int i = 0; i < 4; ++i) strands_.push_back(std::make_unique<testing::FakeStrand>(&clock));
  EtcdServer::Parts parts;
  parts.strand = strands_[0].get();
  parts.background = strands_[1].get();
  parts.hasher = strands_[1].get();
  parts.reader = strands_[3].get();
  if (with_wal_strand) parts.wal_strand = strands_[2].get();
  parts.clock = &clock;
  parts.random = random.get();
  parts.backend = backend;
  parts.metrics = metrics.get();
  parts.save_snapshot = save_snapshot;
  parts.purge_files = [this] { wal::PurgeSegments(fs, bootstrap.wal_dir, 1).IgnoreError(); };
  parts.on_fatal = [this](const absl::Status& status) { fatal = status; };
  parts.on_removed = [this] { removed = true; };
  parts.install_image = install_image;
  ETCDD_ASSIGN_OR_RETURN(server,
                         EtcdServer::Create(std::move(parts), options, std::move(bootstrapped)));
  if (transport != nullptr) server->SetNetwork(transport, nullptr);
  server->Start([this] { ready = true; });
  if (wait_until_ready) Run();
  return absl::OkStatus();
}

void MemberFixture::Stop() {
  if (server == nullptr) return;
  server->Stop(absl::UnavailableError("etcdserver: server stopped"));
  strands_.clear();
  server.reset();
}

void MemberFixture::Crash() {
  Stop();
  strands_.clear();
  fs.Crash();
  backend->Crash();
  bootstrap.backend_existed = true;
}

Done MemberFixture::Record(OutcomePointer outcome) {
  return [outcome = std::move(outcome)](absl::Status status, std::string reply) {
    outcome->done = true;
    outcome->status = std::move(status);
    outcome->reply = std::move(reply);
  };
}

OutcomePointer MemberFixture::PutLater(std::string_view key, std::string_view value,
                                       int64_t lease) {
  etcdserverpb::PutRequest request;
  request.set_key(std::string(key));
  request.set_value(std::string(value));
  request.set_lease(lease);
  const std::string body = request.SerializeAsString();
  auto outcome = std::make_shared<Outcome>();
  server->Put(*apply::ParsePut(body), body, Record(outcome));
  return outcome;
}

Outcome MemberFixture::Put(std::string_view key, std::string_view value, int64_t lease) {
  const OutcomePointer outcome = PutLater(key, value, lease);
  Run();
  return *outcome;
}

Outcome MemberFixture::Delete(std::string_view key) {
  etcdserverpb::DeleteRangeRequest request;
  request.set_key(std::string(key));
  auto outcome = std::make_shared<Outcome>();
  server->DeleteRange(request.SerializeAsString(), Record(outcome));
  Run();
  return *outcome;
}

Outcome MemberFixture::Txn(const etcdserverpb::TxnRequest& request) {
  auto outcome = std::make_shared<Outcome>();
  server->Txn(request, request.SerializeAsString(), Record(outcome));
  Run();
  return *outcome;
}

Outcome MemberFixture::Compact(int64_t revision, bool physical) {
  etcdserverpb::CompactionRequest request;
  request.set_revision(revision);
  request.set_physical(physical);
  auto outcome = std::make_shared<Outcome>();
  server->Compact(request.SerializeAsString(), Record(outcome));
  Run();
  return *outcome;
}

Outcome MemberFixture::LeaseGrant(int64_t id, int64_t ttl_seconds) {
  auto outcome = std::make_shared<Outcome>();
  server->LeaseGrant(id, ttl_seconds, Record(outcome));
  Run();
  return *outcome;
}

Outcome MemberFixture::LeaseRevoke(int64_t id) {
  auto outcome = std::make_shared<Outcome>();
  server->LeaseRevoke(id, Record(outcome));
  Run();
  return *outcome;
}

Outcome MemberFixture::Alarm(etcdserverpb::AlarmRequest::AlarmAction action,
                             etcdserverpb::AlarmType type) {
  etcdserverpb::AlarmRequest request;
  request.set_action(action);
  request.set_memberid(server->identity().member_id);
  request.set_alarm(type);
  auto outcome = std::make_shared<Outcome>();
  server->Alarm(request.SerializeAsString(), Record(outcome));
  Run();
  return *outcome;
}

OutcomePointer MemberFixture::RangeLater(std::string_view key, bool serializable) {
  auto outcome = std::make_shared<Outcome>();
  // The view must live until the answer: keep the key with the callback.
  auto held = std::make_shared<std::string>(key);
  apply::RangeView range;
  range.key = *held;
  range.serializable = serializable;
  server->Range(range, [held, record = Record(outcome)](absl::Status status,
                                                        std::string reply) mutable {
    record(std::move(status), std::move(reply));
  });
  return outcome;
}

std::optional<std::string> MemberFixture::Get(std::string_view key, bool serializable) {
  const OutcomePointer outcome = RangeLater(key, serializable);
  Run();
  etcdserverpb::RangeResponse response;
  if (!outcome->ok() || !response.ParseFromString(outcome->reply) || response.kvs_size() != 1) {
    return std::nullopt;
  }
  return response.kvs(0).value();
}

}  // namespace etcdd::server
