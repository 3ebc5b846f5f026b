// etcdd-bench: what a server that speaks etcd's v3 API can do, measured without getting in its way.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <string>

#include "cmd/etcdd-bench/options.h"
#include "cmd/etcdd-bench/run.h"

namespace etcdd::bench {
namespace {

void AddCommonFlags(CLI::App* app, Options* options) {
  app->add_option("--endpoint", options->endpoint, "host:port of the server")
      ->capture_default_str();
  app->add_option("--server-pid", options->server_pid, "process whose CPU and memory to report");
  app->add_flag("--json", options->json, "print one flat JSON object");
  app->add_option("--key-bytes", options->key_bytes, "length of a key")->capture_default_str();
}

void AddLoadFlags(CLI::App* app, Options* options) {
  app->add_option("--connections", options->connections, "HTTP/2 connections")
      ->capture_default_str();
  app->add_option("--outstanding", options->outstanding, "requests under way, over all connections")
      ->capture_default_str();
  app->add_option("--keys", options->keys, "key numbers 0 to this are used")->capture_default_str();
  app->add_option("--value-bytes", options->value_bytes, "length of a value")
      ->capture_default_str();
  app->add_option("--seed", options->seed, "of the uniform choice of keys")->capture_default_str();
}

void AddOpFlags(CLI::App* app, Options* options) {
  app->add_option("--op", options->op, "what to do")
      ->check(CLI::IsMember({"put", "range", "range1000", "txn", "watch", "lease-grant",
                             "lease-keepalive", "mixed", "echo"}))
      ->capture_default_str();
  app->add_option("--seconds", options->seconds, "measured time")->capture_default_str();
  app->add_option("--warmup", options->warmup_s, "seconds before it")->capture_default_str();
  app->add_flag("--serializable", options->serializable, "range: no read index");
  app->add_option("--stop-with-pid", options->stop_with_pid, "end when this process ends");
  app->add_option("--watchers", options->watchers, "watch: watchers of the key")
      ->capture_default_str();
  app->add_option("--streams", options->streams, "watch, lease-keepalive: streams in all")
      ->capture_default_str();
  app->add_option("--puts-per-second", options->puts_per_second,
                  "watch: put at this pace instead of a closed loop");
}

int PrintOutcome(const Options& options, const absl::StatusOr<Report>& report) {
  if (!report.ok()) {
    std::fprintf(stderr, "etcdd-bench: %s\n", report.status().ToString().c_str());
    return 1;
  }
  const std::string text = options.json ? report->ToJson() : report->ToLines();
  std::fputs(text.c_str(), stdout);
  return report->Find("errors").value_or(0) > 0 ? 2 : 0;
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Load generator for etcd's v3 API. Exit code 2: some replies were wrong.");
  AddCommonFlags(&app, &options);
  AddLoadFlags(&app, &options);
  AddOpFlags(&app, &options);
  std::function<absl::StatusOr<Report>(const Options&)> run = RunOp;

  CLI::App* load = app.add_subcommand("load", "put every key once, as fast as it goes");
  AddCommonFlags(load, &options);
  AddLoadFlags(load, &options);
  load->add_flag("--random", options.random_order, "in shuffled instead of ascending order");
  load->callback([&] { run = RunFill; });

  CLI::App* compact =
      app.add_subcommand("compact", "compact physically at the current revision");
  AddCommonFlags(compact, &options);
  compact->add_option("--timeout", options.timeout_s, "seconds")->capture_default_str();
  compact->callback([&] { run = RunCompact; });

  CLI::App* probe =
      app.add_subcommand("restart-probe", "poll until a linearizable get is answered");
  AddCommonFlags(probe, &options);
  probe->add_option("--timeout", options.timeout_s, "seconds")->capture_default_str();
  probe->add_option("--since", options.since_epoch_ns,
                    "measure from this time, in ns since 1970 (date +%s%N)");
  probe->callback([&] { run = RunRestartProbe; });

  app.require_subcommand(0, 1);
  CLI11_PARSE(app, argc, argv);
  return PrintOutcome(options, run(options));
}

}  // namespace
}  // namespace etcdd::bench

int main(int argc, char** argv) { return etcdd::bench::Main(argc, argv); }
