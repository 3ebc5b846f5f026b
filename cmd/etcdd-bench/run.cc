#include "cmd/etcdd-bench/run.h"

#include <poll.h>
#include <time.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cmd/etcdd-bench/caller.h"
#include "cmd/etcdd-bench/event_loop.h"
#include "cmd/etcdd-bench/keepalive_load.h"
#include "cmd/etcdd-bench/messages.h"
#include "cmd/etcdd-bench/unary_load.h"
#include "cmd/etcdd-bench/watch_load.h"
#include "server/base/status_macros.h"

namespace etcdd::bench {
namespace {

constexpr uint64_t kStopCheckInterval_ns = 5'000'000;
constexpr uint64_t kDrainTimeout_ns = 10 * kSecond;
constexpr double kSetupTimeout_s = 10;
constexpr double kProbeAttempt_s = 1;
constexpr int kProbeInterval_ms = 2;
constexpr int64_t kLeaseTtl_s = 3600;

uint64_t Nanoseconds(double seconds) { return static_cast<uint64_t>(seconds * 1e9); }

void NothingToDo() {}
uint64_t Never() { return UINT64_MAX; }

// Runs the loop for a while; ends early when process `stop_with_pid` is gone. `tick` is called each
// turn, at the latest at `next_tick_ns`.
absl::Status RunFor(EventLoop& loop, double seconds, pid_t stop_with_pid,
                    const std::function<void()>& tick,
                    const std::function<uint64_t()>& next_tick_ns) {
  loop.UpdateNow();
  const uint64_t end_ns = loop.now() + Nanoseconds(seconds);
  uint64_t next_check_ns = stop_with_pid > 0 ? loop.now() : UINT64_MAX;
  const auto done = [&] {
    tick();
    if (loop.now() >= next_check_ns) {
      if (!ProcessRuns(stop_with_pid)) return true;
      next_check_ns = loop.now() + kStopCheckInterval_ns;
    }
    return loop.now() >= end_ns;
  };
  const auto wake_ns = [&] { return std::min({end_ns, next_check_ns, next_tick_ns()}); };
  return loop.RunUntil(done, wake_ns);
}

// Warm-up, then the measured time.
absl::Status RunMeasured(EventLoop& loop, const Options& options, Meter* meter,
                         const std::function<void()>& tick,
                         const std::function<uint64_t()>& next_tick_ns,
                         const std::function<void()>& at_begin) {
  ETCDD_RETURN_IF_ERROR(RunFor(loop, options.warmup_s, 0, tick, next_tick_ns));
  at_begin();
  meter->Begin(loop.now());
  ETCDD_RETURN_IF_ERROR(
      RunFor(loop, options.seconds, options.stop_with_pid, tick, next_tick_ns));
  meter->End(loop.now());
  return absl::OkStatus();
}

Report BeginReport(const Options& options, std::string_view op) {
  Report report;
  report.AddText("op", op);
  report.Add("connections", options.connections);
  report.Add("outstanding", options.outstanding);
  return report;
}

absl::StatusOr<Report> RunUnaryOp(const Options& options) {
  ETCDD_ASSIGN_OR_RETURN(const auto source, NewOpSource(options));
  EventLoop loop;
  Meter meter(options.server_pid);
  UnaryLoad load(&loop, source.get(), &meter);
  ETCDD_RETURN_IF_ERROR(load.Begin(options));
  ETCDD_RETURN_IF_ERROR(RunMeasured(loop, options, &meter, NothingToDo, Never, NothingToDo));
  load.Stop();
  ETCDD_RETURN_IF_ERROR(
      loop.RunUntil([&] { return load.idle(); }, loop.now() + kDrainTimeout_ns));
  if (!load.idle()) meter.RecordError("a request was not answered");
  Report report = BeginReport(options, options.op);
  meter.AppendTo("ops", &report);
  return report;
}

absl::StatusOr<Report> RunKeepAlive(const Options& options) {
  ETCDD_ASSIGN_OR_RETURN(const auto caller, Caller::Connect(options.endpoint));
  std::vector<int64_t> leases;
  for (uint32_t i = 0; i < options.outstanding; ++i) {
    ETCDD_ASSIGN_OR_RETURN(
        const std::string message,
        caller->Call(kMethodLeaseGrant, LeaseGrantMessage(kLeaseTtl_s), kSetupTimeout_s));
    const auto reply = ParseLeaseReply(message);
    if (!reply.has_value()) return absl::DataLossError("malformed lease reply");
    leases.push_back(reply->id);
  }
  EventLoop loop;
  Meter meter(options.server_pid);
  KeepAliveLoad load(&loop, &meter);
  ETCDD_RETURN_IF_ERROR(load.Begin(options, leases));
  ETCDD_RETURN_IF_ERROR(RunMeasured(loop, options, &meter, NothingToDo, Never, NothingToDo));
  Report report = BeginReport(options, options.op);
  report.Add("streams", options.streams);
  meter.AppendTo("ops", &report);
  return report;
}

absl::StatusOr<Report> RunWatch(const Options& options) {
  EventLoop loop;
  Meter meter(options.server_pid);
  WatchLoad load(&loop, &meter, options);
  ETCDD_RETURN_IF_ERROR(load.Prepare());
  load.Begin();
  uint64_t puts_before = 0;
  ETCDD_RETURN_IF_ERROR(RunMeasured(
      loop, options, &meter, [&] { load.Tick(); }, [&] { return load.next_put_ns(); },
      [&] { puts_before = load.puts_completed(); }));
  const uint64_t puts = load.puts_completed() - puts_before;
  load.Stop();
  // After an error it is not worth waiting: a lost event would never come.
  ETCDD_RETURN_IF_ERROR(loop.RunUntil([&] { return load.idle() || meter.errors() > 0; },
                                      loop.now() + kDrainTimeout_ns));
  if (!load.idle()) meter.RecordError("an event is missing");
  Report report = BeginReport(options, options.op);
  report.Add("streams", options.streams);
  report.Add("watchers", options.watchers);
  meter.AppendTo("events", &report);
  report.Add("puts", static_cast<double>(puts));
  const double seconds = report.Find("seconds").value_or(0);
  report.Add("puts_rate", seconds > 0 ? static_cast<double>(puts) / seconds : 0);
  return report;
}

uint64_t EpochNow() {
  timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  return static_cast<uint64_t>(time.tv_sec) * kSecond + static_cast<uint64_t>(time.tv_nsec);
}

// The store's revision by a linearizable get.
absl::StatusOr<int64_t> CurrentRevision(Caller& caller, const Options& options, double timeout_s) {
  RequestTemplate get = RequestTemplate::Range(options.key_bytes, 1, /*serializable=*/false);
  ETCDD_ASSIGN_OR_RETURN(const std::string message,
                         caller.Call(kMethodRange, get.Fill(0, 0), timeout_s));
  const auto revision = HeaderRevision(message);
  if (!revision.has_value()) return absl::DataLossError("a range reply without a header");
  return *revision;
}

absl::StatusOr<int64_t> ProbeOnce(const Options& options) {
  ETCDD_ASSIGN_OR_RETURN(const auto caller, Caller::Connect(options.endpoint));
  return CurrentRevision(*caller, options, kProbeAttempt_s);
}

}  // namespace

absl::Status CheckOptions(const Options& options) {
  // The largest key number named in any request, a range's end, must fit.
  uint64_t numbers = 1;
  for (uint32_t i = 1; i < std::min(options.key_bytes, 19u); ++i) numbers *= 10;
  if (options.key_bytes < 2 || options.key_bytes > 1024 || numbers < options.keys + 1000) {
    return absl::InvalidArgumentError("--key-bytes is too small for --keys, or above 1024");
  }
  if (options.keys == 0 || options.keys > UINT32_MAX - 1000) {
    return absl::InvalidArgumentError("--keys must be 1 to 2^32 - 1001");
  }
  if (options.connections == 0 || options.outstanding == 0 || options.streams == 0) {
    return absl::InvalidArgumentError("--connections, --outstanding and --streams must be >= 1");
  }
  if (options.value_bytes < 8 || options.value_bytes > 60000) {
    return absl::InvalidArgumentError("--value-bytes must be 8 to 60000");
  }
  if (options.op == "watch" &&
      (options.watchers < options.streams || options.streams < options.connections ||
       options.outstanding > 65536)) {
    return absl::InvalidArgumentError(
        "watch needs --watchers >= --streams >= --connections and --outstanding <= 65536");
  }
  if (options.op == "lease-keepalive" && options.outstanding < options.streams) {
    return absl::InvalidArgumentError("lease-keepalive needs --outstanding >= --streams");
  }
  return absl::OkStatus();
}

absl::StatusOr<Report> RunOp(const Options& options) {
  ETCDD_RETURN_IF_ERROR(CheckOptions(options));
  if (options.op == "watch") return RunWatch(options);
  if (options.op == "lease-keepalive") return RunKeepAlive(options);
  return RunUnaryOp(options);
}

absl::StatusOr<Report> RunFill(const Options& options) {
  ETCDD_RETURN_IF_ERROR(CheckOptions(options));
  const auto source = NewFillSource(options);
  EventLoop loop;
  Meter meter(options.server_pid);
  UnaryLoad load(&loop, source.get(), &meter);
  loop.UpdateNow();
  meter.Begin(loop.now());
  ETCDD_RETURN_IF_ERROR(load.Begin(options));
  ETCDD_RETURN_IF_ERROR(loop.RunUntil([&] { return load.idle(); }, UINT64_MAX));
  meter.End(loop.now());
  Report report = BeginReport(options, "load");
  meter.AppendTo("ops", &report);
  return report;
}

absl::StatusOr<Report> RunCompact(const Options& options) {
  ETCDD_RETURN_IF_ERROR(CheckOptions(options));
  ETCDD_ASSIGN_OR_RETURN(const auto caller, Caller::Connect(options.endpoint));
  ETCDD_ASSIGN_OR_RETURN(const int64_t revision,
                         CurrentRevision(*caller, options, kSetupTimeout_s));
  Meter meter(options.server_pid);
  const uint64_t begin_ns = MonotonicNow();
  meter.Begin(begin_ns);
  ETCDD_ASSIGN_OR_RETURN(
      const std::string message,
      caller->Call(kMethodCompact, CompactMessage(revision, /*physical=*/true),
                   options.timeout_s));
  const uint64_t end_ns = MonotonicNow();
  meter.Record(end_ns - begin_ns);
  meter.End(end_ns);
  if (!HeaderRevision(message).has_value()) meter.RecordError("a compact reply without a header");
  Report report;
  report.AddText("op", "compact");
  report.Add("revision", static_cast<double>(revision));
  report.Add("elapsed_ms", static_cast<double>(end_ns - begin_ns) / 1e6);
  meter.AppendTo("ops", &report);
  return report;
}

absl::StatusOr<Report> RunRestartProbe(const Options& options) {
  const uint64_t begin_ns = options.since_epoch_ns > 0 ? options.since_epoch_ns : EpochNow();
  const uint64_t deadline_ns = EpochNow() + Nanoseconds(options.timeout_s);
  uint64_t attempts = 0;
  for (;;) {
    ++attempts;
    const absl::StatusOr<int64_t> revision = ProbeOnce(options);
    const uint64_t now_ns = EpochNow();
    if (revision.ok()) {
      Report report;
      report.AddText("op", "restart-probe");
      report.Add("elapsed_ms", static_cast<double>(now_ns - begin_ns) / 1e6);
      report.Add("attempts", static_cast<double>(attempts));
      report.Add("revision", static_cast<double>(*revision));
      return report;
    }
    if (now_ns >= deadline_ns) return revision.status();
    poll(nullptr, 0, kProbeInterval_ms);
  }
}

}  // namespace etcdd::bench
