// What EtcdServer shows of itself: gauges read when a page is made, and slow work.

#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/etcd_server.h"
#include "server/version.h"

namespace etcdd::server {

void EtcdServer::AddGauges() {
  base::Metrics& registry = metrics_->registry;
  // The page may still be asked for when this server is gone.
  const auto gauge = [&](std::string_view name, std::string_view help,
                         std::function<double()> read) {
    registry.AddGaugeFunction(name, help, {}, [alive = alive_, read = std::move(read)] {
      return *alive ? read() : 0.0;
    });
  };
  const auto number = [](auto value) { return static_cast<double>(value); };

  gauge("etcd_server_has_leader", "1 when this member knows a leader, else 0.",
        [=, this] { return number(has_leader()); });
  gauge("etcd_server_is_leader", "1 when this member leads, else 0.",
        [=, this] { return number(is_leader()); });
  gauge("etcd_server_is_learner", "1 when this member is a learner, else 0.",
        [=, this] { return number(raft_->node().IsLearner()); });
  gauge("etcd_server_proposals_committed_total", "Index of the last committed raft entry.",
        [=, this] { return number(raft_->node().committed()); });
  gauge("etcd_server_proposals_applied_total", "Index of the last applied raft entry.",
        [=, this] { return number(applied_); });
  gauge("etcd_server_proposals_pending", "Writes that wait for their result.",
        [=, this] { return number(waiter_.size()); });
  gauge("etcd_server_quota_backend_bytes", "Backend size from which on writes are refused.",
        [=, this] { return number(quota_->limit_bytes()); });
  gauge("etcd_server_snapshot_apply_in_progress_total",
        "1 while a snapshot from the leader is being taken in, else 0.",
        [=, this] { return number(installing_); });

  gauge("etcd_debugging_mvcc_current_revision", "Newest revision of the store.",
        [=, this] { return number(store_->revision()); });
  gauge("etcd_debugging_mvcc_compact_revision",
        "Revision of the last compaction; -1 when there was none.",
        [=, this] { return number(store_->compact_revision()); });
  gauge("etcd_debugging_mvcc_keys_total", "Keys that exist now.",
        [=, this] { return number(store_->stats().keys); });
  gauge("etcd_debugging_mvcc_watch_stream_total", "Open Watch streams.",
        [=, this] { return number(watch_hub_->stats().streams); });
  gauge("etcd_debugging_mvcc_watcher_total", "Watches.",
        [=, this] { return number(watch_hub_->stats().watchers); });
  gauge("etcd_debugging_mvcc_slow_watcher_total", "Watches that are behind the newest revision.",
        [=, this] { return number(watch_hub_->stats().slow_watchers); });
  gauge("etcd_debugging_mvcc_pending_events_total",
        "Always 0: a watch that is behind is a position in the history and queues no events.",
        [] { return 0.0; });
  gauge("etcd_mvcc_db_total_size_in_bytes", "Space the backend takes.",
        [=, this] { return number(backend_->SizeBytes()); });
  gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "The part of it that holds live data.",
        [=, this] { return number(backend_->SizeInUseBytes()); });
  registry.AddCounterFunction("etcd_debugging_mvcc_events_total", "Events sent to watches.", {},
                              [alive = alive_, this] {
                                if (!*alive) return 0.0;
                                return static_cast<double>(watch_hub_->stats().events_sent);
                              });

  registry.AddGauge("etcd_server_version", "1 for the version of etcd that is spoken.",
                    {{"server_version", std::string(kEtcdVersion)}}).Set(1);
  registry.AddGauge("etcd_server_id", "1 for the id of this member.",
                    {{"server_id", base::LogId(identity_.member_id)}}).Set(1);
  metrics_->SetClusterVersion("", cluster_->version());
  ShowAlarms(true);
}

void EtcdServer::ShowAlarms(bool active) {
  for (const apply::Alarm& alarm : alarms_.List(apply::kAlarmNone)) {
    metrics_->SetAlarm(alarm.member_id, apply::AlarmName(alarm.type), active);
  }
}

void EtcdServer::MeasureApply(absl::Span<const raft::Entry> entries, absl::Duration began,
                              absl::Duration applied, absl::Duration now) {
  metrics_->backend_commit_seconds.Observe(absl::ToDoubleSeconds(now - applied));
  const absl::Duration took = now - began;
  if (took <= options_.warning_apply_duration) return;
  metrics_->slow_applies.Add();
  // One line for the batch: entries of a batch are not timed one by one.
  uint64_t bytes = 0;
  for (const raft::Entry& entry : entries) bytes += entry.data.size();
  ETCDD_LOG(kWarn, "apply request took too long",
            {{"took", base::LogDuration(took)},
             {"expected-duration", base::LogDuration(options_.warning_apply_duration)},
             {"prefix", ""},
             {"request", absl::StrCat("entries:", entries.size(), " first_index:",
                                      entries.front().index, " size:", bytes)},
             {"response", ""}});
}

void EtcdServer::LogSlowRange(const apply::RangeView& range, absl::Duration took) const {
  metrics_->slow_applies.Add();
  ETCDD_LOG(kWarn, "apply request took too long",
            {{"took", base::LogDuration(took)},
             {"expected-duration", base::LogDuration(options_.warning_apply_duration)},
             {"prefix", "read-only range "},
             {"request", absl::StrCat("key:\"", absl::CHexEscape(absl::string_view(
                                          range.key.data(), range.key.size())),
                                      "\" range_end:\"", absl::CHexEscape(absl::string_view(
                                          range.range_end.data(), range.range_end.size())),
                                      "\" limit:", range.limit, " revision:", range.revision)},
             {"response", ""}});
}

}  // namespace etcdd::server
