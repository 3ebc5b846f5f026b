#include "server/linearizable_reader.h"

#include <algorithm>
#include <string>

#include "server/base/api_error.h"
#include "server/base/coding.h"
#include "server/base/log.h"
#include "server/server_metrics.h"

namespace etcdd::server {

LinearizableReader::LinearizableReader(uint64_t first_round_id, base::Strand* strand,
                                       const base::Clock* clock, absl::Duration timeout,
                                       ServerMetrics* metrics, AskReadIndex ask)
    : strand_(strand),
      clock_(clock),
      timeout_(timeout),
      metrics_(metrics),
      ask_(std::move(ask)),
      round_id_(first_round_id) {}

LinearizableReader::~LinearizableReader() { *alive_ = false; }

void LinearizableReader::Read(Ready ready) {
  if (!stopped_.ok()) return ready(stopped_);
  if (next_.size() + round_.size() >= kWaitingReadsMax) {
    ready(base::ApiError(base::ErrorId::kTooManyRequests));
    return;
  }
  next_.push_back({std::move(ready), clock_->Monotonic() + timeout_});
  ScheduleRound();
}

void LinearizableReader::WhenApplied(uint64_t index, absl::Duration timeout, Ready ready) {
  if (!stopped_.ok()) return ready(stopped_);
  if (index <= applied_) return ready(absl::OkStatus());
  std::vector<Waiting> one;
  one.push_back({std::move(ready), clock_->Monotonic() + timeout});
  Confirm(index, std::move(one));
}

void LinearizableReader::Confirm(uint64_t index, std::vector<Waiting> reads) {
  const auto place = std::upper_bound(
      confirmed_.begin(), confirmed_.end(), index,
      [](uint64_t value, const Confirmed& confirmed) { return value < confirmed.index; });
  confirmed_.insert(place, {index, std::move(reads)});
}

// Posted, so that reads which arrived in the same turn share the round.
void LinearizableReader::ScheduleRound() {
  if (round_scheduled_ || !round_.empty() || next_.empty()) return;
  round_scheduled_ = true;
  strand_->Post([this, alive = alive_] {
    if (!*alive) return;
    round_scheduled_ = false;
    StartRound();
  });
}

void LinearizableReader::StartRound() {
  if (!round_.empty() || next_.empty()) return;
  round_.swap(next_);
  Ask();
}

// Each asking has its own context: a late answer to an earlier one must not confirm this one.
void LinearizableReader::Ask() {
  ++round_id_;
  asked_at_ = clock_->Monotonic();
  std::string context;
  base::AppendBigEndian64(round_id_, &context);
  ask_(base::Bytes::Copy(context));
}

void LinearizableReader::OnReadStates(absl::Span<const raft::ReadState> states) {
  for (const raft::ReadState& state : states) {
    const std::string_view context = state.context.view();
    if (context.size() != 8 || base::ReadBigEndian64(context.data()) != round_id_) continue;
    if (round_.empty()) continue;
    std::vector<Waiting> reads;
    reads.swap(round_);
    if (state.index <= applied_) {
      Finish(std::move(reads), absl::OkStatus());
    } else {
      Confirm(state.index, std::move(reads));
    }
  }
  ScheduleRound();
}

void LinearizableReader::OnApplied(uint64_t index) {
  applied_ = std::max(applied_, index);
  while (!confirmed_.empty() && confirmed_.front().index <= applied_) {
    std::vector<Waiting> reads = std::move(confirmed_.front().reads);
    confirmed_.pop_front();
    Finish(std::move(reads), absl::OkStatus());
  }
}

void LinearizableReader::OnLeaderChanged() {
  if (round_.empty()) return;
  std::vector<Waiting> reads;
  reads.swap(round_);
  metrics_->read_indexes_failed.Add();
  Finish(std::move(reads), base::ApiError(base::ErrorId::kLeaderChanged));
  ScheduleRound();
}

void LinearizableReader::OnTick() {
  const absl::Duration now = clock_->Monotonic();
  FailExpired(&next_, now);
  if (FailExpired(&round_, now)) {
    metrics_->read_indexes_failed.Add();
    ETCDD_LOG(kWarn, "timed out waiting for read index response (local node might have slow "
                     "network)", {{"timeout", base::LogDuration(timeout_)}});
  }
  for (Confirmed& confirmed : confirmed_) FailExpired(&confirmed.reads, now);
  if (!round_.empty() && now - asked_at_ >= kReadIndexRetryInterval) {
    metrics_->read_indexes_slow.Add();
    ETCDD_LOG(kWarn, "waiting for ReadIndex response took too long, retrying",
              {{"sent-request-id", round_id_},
               {"retry-timeout", base::LogDuration(kReadIndexRetryInterval)}});
    Ask();
  }
  ScheduleRound();
}

void LinearizableReader::Stop(const absl::Status& status) {
  stopped_ = status;
  Finish(std::exchange(round_, {}), status);
  Finish(std::exchange(next_, {}), status);
  while (!confirmed_.empty()) {
    std::vector<Waiting> reads = std::move(confirmed_.front().reads);
    confirmed_.pop_front();
    Finish(std::move(reads), status);
  }
}

void LinearizableReader::Finish(std::vector<Waiting> reads, const absl::Status& status) {
  for (Waiting& waiting : reads) waiting.ready(status);
}

bool LinearizableReader::FailExpired(std::vector<Waiting>* reads, absl::Duration now) {
  auto expired = std::stable_partition(reads->begin(), reads->end(), [now](const Waiting& waiting) {
    return waiting.deadline > now;
  });
  std::vector<Waiting> late(std::make_move_iterator(expired),
                            std::make_move_iterator(reads->end()));
  reads->erase(expired, reads->end());
  const bool any = !late.empty();
  Finish(std::move(late), base::ApiError(base::ErrorId::kTimeout));
  return any;
}

}  // namespace etcdd::server
