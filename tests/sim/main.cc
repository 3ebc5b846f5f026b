// etcdd_sim: runs the simulated cluster for one seed or many.
//
//   etcdd_sim --seed=7 --events                  one run with its trace
//   etcdd_sim --seed=1 --seeds=1000 --jobs=2     many, in two processes

#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "server/base/log.h"
#include "tests/sim/probes.h"
#include "tests/sim/simulation.h"

namespace {

struct Flags {
  uint64_t seed = 1;
  uint64_t seeds = 1;
  uint64_t jobs = 1;
  int64_t seconds = 60;
  int members = 0;
  bool events = false;
  bool history = false;
  bool logs = false;
  bool probes = false;
  bool check_probes = false;
};

using Probes = std::map<std::string, int64_t>;

bool RunSeed(const Flags& flags, uint64_t seed, Probes* probes) {
  etcdd::sim::SimulationOptions options;
  options.seed = seed;
  options.length = absl::Seconds(flags.seconds);
  options.members = flags.members;
  if (flags.events) {
    options.printer = [](const std::string& line) { std::printf("%s\n", line.c_str()); };
  }
  etcdd::sim::Simulation simulation(options);
  simulation.Run();
  for (const auto& [name, count] : simulation.trace().probes()) (*probes)[name] += count;
  if (flags.history) {
    for (const auto& operation : simulation.history().operations) {
      std::printf("%s\n", operation.Describe().c_str());
    }
  }
  if (flags.seeds == 1) {
    std::printf("seed %llu: %llu trace lines, hash %016llx\n",
                static_cast<unsigned long long>(seed),
                static_cast<unsigned long long>(simulation.trace().lines()),
                static_cast<unsigned long long>(simulation.trace().hash()));
  }
  for (const std::string& text : simulation.failures()) {
    std::printf("seed %llu FAILED: %s\n", static_cast<unsigned long long>(seed), text.c_str());
  }
  if (simulation.failures().empty()) return true;
  std::printf("again, with its trace: etcdd_sim --seed=%llu --seconds=%lld%s --events\n",
              static_cast<unsigned long long>(seed), static_cast<long long>(flags.seconds),
              flags.members == 0 ? "" : (" --members=" + std::to_string(flags.members)).c_str());
  std::fflush(stdout);
  return false;
}

// Every `jobs`-th seed; all of them, so that one run shows everything that is broken. False: some
// failed.
bool RunShare(const Flags& flags, uint64_t job, Probes* probes) {
  bool good = true;
  for (uint64_t i = job; i < flags.seeds; i += flags.jobs) {
    good &= RunSeed(flags, flags.seed + i, probes);
  }
  return good;
}

// One process per job. Probes come back through a pipe, one "COUNT NAME" per line.
bool RunJobs(const Flags& flags, Probes* probes) {
  std::vector<pid_t> children;
  std::vector<std::FILE*> results;
  for (uint64_t job = 0; job < flags.jobs; ++job) {
    int ends[2];
    if (pipe(ends) != 0) return false;
    const pid_t child = fork();
    if (child < 0) return false;
    if (child == 0) {
      Probes own;
      const bool good = RunShare(flags, job, &own);
      std::FILE* out = fdopen(ends[1], "w");
      for (const auto& [name, count] : own) {
        std::fprintf(out, "%lld %s\n", static_cast<long long>(count), name.c_str());
      }
      std::fclose(out);
      std::fflush(stdout);
      _exit(good ? 0 : 1);
    }
    close(ends[1]);
    children.push_back(child);
    results.push_back(fdopen(ends[0], "r"));
  }
  bool good = true;
  for (size_t i = 0; i < children.size(); ++i) {
    char line[256];
    while (std::fgets(line, sizeof line, results[i]) != nullptr) {
      char* name = nullptr;
      const int64_t count = std::strtoll(line, &name, 10);
      std::string text(name + 1);
      text.pop_back();
      (*probes)[text] += count;
    }
    std::fclose(results[i]);
    int status = 0;
    waitpid(children[i], &status, 0);
    good &= WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app("A cluster of etcdd members in one thread, from one seed.");
  app.add_option("--seed", flags.seed, "the first seed");
  app.add_option("--seeds", flags.seeds, "how many seeds");
  app.add_option("--jobs", flags.jobs, "processes that share the seeds");
  app.add_option("--seconds", flags.seconds, "simulated seconds of misfortune");
  app.add_option("--members", flags.members, "members; 0: drawn from the seed");
  app.add_flag("--events", flags.events, "print the trace");
  app.add_flag("--history", flags.history, "print the clients' requests and answers");
  app.add_flag("--logs", flags.logs, "print the members' logs");
  app.add_flag("--probes", flags.probes, "print how often rare things happened");
  app.add_flag("--check-probes", flags.check_probes, "fail when something rare never happened");
  CLI11_PARSE(app, argc, argv);
  if (flags.logs) {
    etcdd::base::SetLogLevel(etcdd::base::LogLevel::kDebug);
  } else if (!etcdd::base::SetLogOutputs({"/dev/null"}).ok()) {
    return 1;
  }
  Probes probes;
  bool good = flags.jobs > 1 ? RunJobs(flags, &probes) : RunShare(flags, 0, &probes);
  if (flags.probes) {
    for (const auto& [name, count] : probes) {
      std::printf("%10lld  %s\n", static_cast<long long>(count), name.c_str());
    }
  }
  if (flags.check_probes) {
    for (const std::string& name : etcdd::sim::MissingProbes(probes)) {
      std::printf("never happened: %s\n", name.c_str());
      good = false;
    }
  }
  return good ? 0 : 1;
}
