#pragma once

// A client of the simulated cluster: sends one request after the other to members of its choice,
// over connections that take time and break, and writes down what it asked and was told.
//
// Confined to the simulator's thread; runs on the world strand.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/base/random.h"
#include "tests/sim/history.h"
#include "tests/sim/planted_bugs.h"
#include "tests/sim/scheduler.h"
#include "tests/sim/sim_member.h"

namespace etcdd::sim {

struct ClientSettings {
  int number = 0;
  int keys = 12;
  absl::Duration think_max = absl::Milliseconds(300);
  absl::Duration network_delay_max = absl::Milliseconds(5);
  // How long it waits for an answer before it goes on without one.
  absl::Duration patience = absl::Seconds(10);
  bool leases = true;
  bool compactions = true;
  PlantedBugs planted;
};

class Client {
 public:
  // `members` are those to choose from, running or not. Everything outlives the client.
  Client(ClientSettings settings, uint64_t seed, Scheduler* scheduler, SimStrand* world,
         const std::vector<std::unique_ptr<SimMember>>* members, History* history);

  void Start();
  // Issues nothing more; what is under way may still be answered.
  void Stop() { stopped_ = true; }

  // Sends one request to one member and calls `done` when it is answered, or when it will not be.
  // For probes of the simulator itself; also written down.
  void Send(SimMember* member, Operation operation, std::function<void(const Operation&)> done);

  static Operation Put(const std::string& key, const std::string& value, int64_t lease = 0);
  static Operation Read(const std::string& key, const std::string& range_end, bool serializable);

 private:
  struct Pending;
  using PendingPointer = std::shared_ptr<Pending>;

  void Think();
  void IssueRandom();
  SimMember* PickMember();
  Operation RandomOperation();
  Operation RandomRead();
  Operation RandomWrite();
  Operation RandomTxn();
  Operation RandomLeaseOperation();
  std::string RandomKey();
  std::string NewValue();
  void AddRandomCompare(etcdserverpb::TxnRequest* txn);
  void Remember(const Operation& operation);

  void Execute(SimMember* member, PendingPointer pending);
  void ExecuteKv(SimMember* member, PendingPointer pending);
  void Answer(SimMember* member, PendingPointer pending, absl::Status status, std::string reply);
  void Finish(PendingPointer pending, const absl::Status& status, const std::string& reply);
  absl::Duration Delay();

  const ClientSettings settings_;
  const std::unique_ptr<base::Random> random_;
  Scheduler* const scheduler_;
  SimStrand* const world_;
  const std::vector<std::unique_ptr<SimMember>>* const members_;
  History* const history_;
  SimMember* favourite_ = nullptr;
  bool stopped_ = false;
  uint64_t values_ = 0;
  // What it has learned.
  int64_t revision_ = 1;
  int64_t compacted_ = 0;
  std::vector<int64_t> leases_;
};

}  // namespace etcdd::sim
