#include "tests/sim/simulation.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/sim/chaos.h"
#include "tests/sim/convergence.h"
#include "tests/sim/kv_checker.h"
#include "tests/sim/lease_checker.h"
#include "tests/sim/watch_checker.h"

namespace etcdd::sim {
namespace {

// After everything is repaired: how long until each member has taken a write. Elections may split
// a few times, and a member may have much to catch up with.
constexpr int kElectionTimeoutsToHeal = 20;
constexpr absl::Duration kSettleMax = absl::Seconds(30);
constexpr size_t kFailuresMax = 20;
constexpr int kProbeClient = 99;

}  // namespace

Simulation::Simulation(SimulationOptions options) : options_(std::move(options)) {
  trace_.set_printer(options_.printer);
  scheduler_ = std::make_unique<Scheduler>(options_.seed);
  world_ = std::make_unique<SimStrand>(scheduler_.get(), nullptr);
  base::Random& random = scheduler_->random();
  int members = options_.members;
  if (members == 0) {
    const uint64_t draw = random.Uniform(10);
    members = draw == 0 ? 1 : (draw < 8 ? 3 : 5);
  }
  SimCluster::World world;
  world.scheduler = scheduler_.get();
  world.strand = world_.get();
  network_ = std::make_unique<SimNetwork>(scheduler_.get(), world_.get(), &trace_, random.Next());
  world.network = network_.get();
  world.trace = &trace_;
  world.fail = [this](std::string text) { Fail(std::move(text)); };
  world.on_recorded = [this](SimMember* member, const etcdserverpb::WatchResponse& response) {
    OnRecorded(member, response);
  };
  world.adjust = options_.adjust;
  cluster_ = std::make_unique<SimCluster>(std::move(world), members, random.Next());
  ClientSettings probe;
  probe.number = kProbeClient;
  probe_ = std::make_unique<Client>(probe, random.Next(), scheduler_.get(), world_.get(),
                                    &cluster_->members(), &history_);
  chaos_ = std::make_unique<Chaos>(random.Next(), scheduler_.get(), world_.get(), cluster_.get(),
                                   network_.get(), &trace_);
  network_->set_doubles_proposals(options_.planted.doubled_proposals);
  scheduler_->set_after_task([this](SimStrand* strand) { cluster_->Observe(strand); });
}

Simulation::~Simulation() {
  chaos_.reset();
  watchers_.clear();
  clients_.clear();
  cluster_.reset();
}

void Simulation::Fail(std::string text) {
  if (failures_.size() >= kFailuresMax) return;
  trace_.Add(scheduler_->Now(), absl::StrCat("FAILURE ", text));
  failures_.push_back(std::move(text));
}

void Simulation::OnRecorded(SimMember* member, const etcdserverpb::WatchResponse& response) {
  for (int i = 0; i < response.events_size();) {
    const int64_t revision = response.events(i).kv().mod_revision();
    Events events;
    while (i < response.events_size() && response.events(i).kv().mod_revision() == revision) {
      events.push_back(response.events(i++));
    }
    trace_.Add(scheduler_->Now(), absl::StrCat(member->name(), " has revision ", revision));
    if (auto error = log_.Add(revision, events, scheduler_->Now())) {
      Fail(absl::StrCat(member->name(), ": ", *error));
    }
  }
  if (response.canceled()) trace_.Count("recorder overtaken by a compaction");
}

void Simulation::StartCluster() {
  for (const auto& member : cluster_->members()) cluster_->Start(member.get());
}

void Simulation::StartClients() {
  base::Random& random = scheduler_->random();
  for (int i = 0; i < options_.clients; ++i) {
    ClientSettings settings;
    settings.number = i;
    settings.think_max = options_.think_max;
    settings.planted = options_.planted;
    clients_.push_back(std::make_unique<Client>(settings, random.Next(), scheduler_.get(),
                                                world_.get(), &cluster_->members(), &history_));
    clients_.back()->Start();
  }
  for (int i = 0; i < options_.watchers; ++i) {
    watchers_.push_back(std::make_unique<Watcher>(i, random.Next(), scheduler_.get(), world_.get(),
                                                  &cluster_->members(), &watch_runs_,
                                                  options_.planted));
    watchers_.back()->Start();
  }
}

void Simulation::RunFor(absl::Duration duration) {
  RunUntil(duration, [] { return false; });
}

bool Simulation::RunUntil(absl::Duration at_most, const std::function<bool()>& done) {
  scheduler_->RunUntil(scheduler_->Now() + at_most,
                       [&] { return !failures_.empty() || done(); });
  return failures_.empty() && done();
}

void Simulation::Run() {
  StartCluster();
  StartClients();
  if (options_.chaos) chaos_->Start();
  RunFor(options_.length);
  if (failures_.empty()) Heal();
  if (failures_.empty()) Settle();
  if (failures_.empty()) Check();
  trace_.Add(scheduler_->Now(),
             absl::StrCat("end: ", scheduler_->tasks_run(), " tasks, ",
                          history_.operations.size(), " requests, revision ", log_.revision()));
}

void Simulation::Heal() {
  trace_.Add(scheduler_->Now(), "everything is repaired");
  for (const auto& client : clients_) client->Stop();
  for (const auto& watcher : watchers_) watcher->Settle();
  chaos_->Heal();
}

Operation Simulation::Ask(SimMember* member, Operation operation, absl::Duration patience) {
  std::optional<Operation> answered;
  probe_->Send(member, std::move(operation),
               [&answered](const Operation& done) { answered = done; });
  RunUntil(patience, [&answered] { return answered.has_value(); });
  ETCDD_CHECK_MSG(answered.has_value() || !failures_.empty() || patience < absl::Seconds(10),
                  "a client always comes back");
  return answered.value_or(Operation());
}

// Liveness: a write through each member is taken within a few election timeouts.
void Simulation::WaitForWrites() {
  const auto& options = cluster_->member(0).settings().options;
  const absl::Duration at_most =
      kElectionTimeoutsToHeal * options.election_ticks * options.tick_interval;
  const absl::Duration begin = scheduler_->Now();
  for (SimMember* const member : cluster_->Active()) {
    if (member->server().is_learner()) continue;
    bool taken = false;
    while (!taken && failures_.empty() && scheduler_->Now() < begin + at_most) {
      const Operation put =
          Ask(member, Client::Put("probe", absl::StrCat("p", ++probe_values_)));
      taken = put.result == Result::kOk;
      if (!taken) RunFor(options.tick_interval);
    }
    if (!taken && failures_.empty()) {
      Fail(absl::StrCat(member->name(), " takes no write ", absl::FormatDuration(at_most),
                        " after everything was repaired; ", DescribeProgress(*cluster_)));
    }
  }
}

void Simulation::WaitForEqualState() {
  std::string difference;
  const bool equal = RunUntil(kSettleMax, [&] {
    if (!ProgressEqual(*cluster_)) return false;
    difference = FindDifference(*cluster_);
    return difference.empty();
  });
  if (!equal && failures_.empty()) {
    Fail(absl::StrCat("the members do not come together: ",
                      difference.empty() ? DescribeProgress(*cluster_) : difference));
  }
}

// Nobody renews any more, so all leases have to end.
void Simulation::WaitForLeases() {
  const bool gone = RunUntil(kSettleMax, [this] {
    const std::vector<SimMember*> members = cluster_->Active();
    return std::all_of(members.begin(), members.end(), [](SimMember* member) {
      return member->running() && member->server().Leases().empty();
    });
  });
  if (!gone && failures_.empty()) {
    Fail(absl::StrCat("leases that nobody renews do not end; ", DescribeProgress(*cluster_)));
  }
}

void Simulation::CheckFinalReads() {
  for (SimMember* const member : cluster_->Active()) {
    const Operation all =
        Ask(member, Client::Read(std::string(1, '\0'), std::string(1, '\0'), false));
    if (all.result != Result::kOk && failures_.empty()) {
      Fail(absl::StrCat("no read at the end: ", all.Describe()));
    }
  }
}

void Simulation::Settle() {
  RunUntil(kSettleMax, [this] { return chaos_->ResolveMembers(); });
  if (failures_.empty()) WaitForWrites();
  if (failures_.empty()) WaitForLeases();
  if (failures_.empty()) WaitForEqualState();
  if (failures_.empty()) CheckFinalReads();
  // Slow watchers get what is still on its way.
  RunFor(absl::Seconds(10));
  if (failures_.empty()) WaitForEqualState();
}

void Simulation::Check() {
  for (const auto& watcher : watchers_) watcher->MarkOpen();
  KvFacts kv;
  for (std::string& text : CheckKv(history_, log_, &kv)) Fail(std::move(text));
  LeaseFacts leases;
  for (std::string& text : CheckLeases(history_, log_, &leases)) Fail(std::move(text));
  for (const WatchRun& run : watch_runs_) {
    for (std::string& text : CheckWatch(run, history_, log_)) Fail(std::move(text));
  }
  if (std::string text = FindHashDifference(*cluster_); !text.empty()) Fail(std::move(text));
  CountFacts(kv, leases);
}

void Simulation::CountFacts(const KvFacts& kv, const LeaseFacts& leases) {
  const auto count = [this](const char* probe, int64_t by) {
    if (by > 0) trace_.Count(probe, by);
  };
  count("write without an answer that happened", kv.open_happened);
  count("lease ended by time", leases.ended_by_time);
  count("lease prolonged by a new leader", leases.prolonged);
  for (const Operation& operation : history_.operations) {
    count("request answered", operation.result == Result::kOk ? 1 : 0);
    const bool open =
        operation.result == Result::kUnknown || operation.result == Result::kPending;
    count("request with an unknown outcome", open ? 1 : 0);
  }
  for (const WatchRun& run : watch_runs_) {
    count("watch response", static_cast<int64_t>(run.responses.size()));
    if (run.responses.empty()) continue;
    const auto& last = run.responses.back().response;
    count("watch cancelled by a compaction", last.compact_revision() > 0 ? 1 : 0);
  }
}

}  // namespace etcdd::sim
