#include "server/snapshot_policy.h"

#include <algorithm>
#include <utility>

#include "server/base/check.h"
#include "server/base/log.h"

namespace etcdd::server {

SnapshotPolicy::SnapshotPolicy(Parts parts, uint64_t count, uint64_t catch_up_entries,
                               uint64_t last_index)
    : parts_(std::move(parts)),
      count_(count),
      catch_up_entries_(catch_up_entries),
      last_index_(last_index) {}

void SnapshotPolicy::Start(SnapshotPoint point) {
  ETCDD_CHECK(!running_);
  ETCDD_CHECK(point.index > last_index_);
  running_ = true;
  ETCDD_LOG(kInfo, "triggering snapshot",
            {{"local-member-applied-index", point.index},
             {"local-member-snapshot-index", last_index_},
             {"local-member-snapshot-count", count_},
             {"snapshot-forced", false}});
  parts_.background->Post([this, alive = alive_, point = std::move(point)]() mutable {
    absl::Status status = point.backend->Flush();
    point.backend.reset();
    if (status.ok()) status = parts_.save_snapshot(point);
    parts_.strand->Post([this, alive, point = std::move(point), status]() mutable {
      if (*alive) OnSaved(std::move(point), status);
    });
  });
}

void SnapshotPolicy::OnSaved(SnapshotPoint point, const absl::Status& status) {
  if (!status.ok()) {
    parts_.on_fatal(status);
    return;
  }
  wal::SnapshotRecord record{point.index, point.term, consensus::EncodeConfState(point.conf_state)};
  const uint64_t index = point.index;
  loop_->SaveSnapshotMark(
      std::move(record), std::move(point.conf_state), catch_up_entries_,
      [this, alive = alive_, index] {
        if (!*alive) return;
        last_index_ = std::max(last_index_, index);
        running_ = false;
        ETCDD_LOG(kInfo, "saved snapshot", {{"snapshot-index", index}});
        parts_.background->Post([purge = parts_.purge] { purge(); });
      });
}

}  // namespace etcdd::server
