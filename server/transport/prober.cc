#include "server/transport/prober.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/base/log.h"
#include "server/transport/limits.h"

namespace etcdd::transport {
namespace {

constexpr char kName[] = "ROUND_TRIPPER_RAFT_MESSAGE";
// A new sample's weight in the smoothed round trip time is one part in this many.
constexpr int kSmoothing = 8;

// The value of a string or literal behind `"key":`; enough for the flat object that probes are.
std::string_view JsonValue(std::string_view body, std::string_view key) {
  const std::string quoted = absl::StrCat("\"", std::string(key), "\"");
  size_t at = body.find(quoted);
  if (at == std::string_view::npos) return {};
  at = body.find_first_not_of(" \t\r\n", at + quoted.size());
  if (at == std::string_view::npos || body[at] != ':') return {};
  at = body.find_first_not_of(" \t\r\n", at + 1);
  if (at == std::string_view::npos) return {};
  if (body[at] == '"') {
    const size_t end = body.find('"', at + 1);
    return end == std::string_view::npos ? std::string_view() : body.substr(at + 1, end - at - 1);
  }
  return body.substr(at, body.find_first_of(",} \t\r\n", at) - at);
}

}  // namespace

std::string ProbeBody(absl::Time now) {
  return absl::StrCat("{\"OK\":true,\"Now\":\"",
                      absl::FormatTime(absl::RFC3339_full, now, absl::UTCTimeZone()), "\"}\n");
}

std::optional<absl::Time> ParseProbeBody(std::string_view body) {
  if (JsonValue(body, "OK") != "true") return std::nullopt;
  const std::string_view now = JsonValue(body, "Now");
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, absl::string_view(now.data(), now.size()), &time,
                       &error)) {
    return std::nullopt;
  }
  return time;
}

Prober::Prober(Context* context, PeerHost* host)
    : context_(context),
      host_(host),
      probe_timer_([this] { Probe(); }),
      report_timer_([this] { Report(); }) {}

Prober::~Prober() { Stop(); }

void Prober::Start() {
  Probe();
  report_timer_.Schedule(&context_->loop->timers(),
                         context_->loop->now() + kProbeStatusInterval);
}

void Prober::Stop() {
  probe_timer_.Cancel();
  report_timer_.Cancel();
  if (client_ != nullptr) client_->Close();
  client_.reset();
}

void Prober::Probe() {
  probe_timer_.Schedule(&context_->loop->timers(), context_->loop->now() + kProbeInterval);
  const std::string url = host_->PickUrl();
  if (client_ == nullptr || url != url_ || !client_->idle()) {
    if (client_ != nullptr) client_->Close();
    url_ = url;
    const auto target = net::ParseDialUrl(url);
    if (!target.ok()) return OnFailed(target.status());
    net::Http1Client::Options options;
    options.dialer = context_->dialer;
    options.target = *target;
    options.dial_wait_max = kProbeInterval;
    options.idle_wait_max = kProbeInterval;
    client_ = net::Http1Client::New(std::move(options));
  }
  status_ = 0;
  body_.clear();
  asked_ = context_->loop->clock().Monotonic();
  net::Http1ClientRequest request;
  request.target = "/raft/probing";
  client_->Send(std::move(request), this);
}

void Prober::OnBody(std::string_view piece) {
  if (body_.size() + piece.size() <= kAnswerTextBytesMax) body_.append(piece);
}

void Prober::OnEnd() {
  const auto theirs = status_ == 200 ? ParseProbeBody(body_) : std::nullopt;
  if (!theirs) {
    return OnFailed(absl::UnavailableError(absl::StrCat("unhealthy answer, status ", status_)));
  }
  const absl::Duration took = context_->loop->clock().Monotonic() - asked_;
  round_trip_ =
      answered_ ? round_trip_ + (took - round_trip_) / kSmoothing : took;
  // They looked at their clock half a round trip ago.
  clock_drift_ = context_->loop->clock().Wall() - *theirs - took / 2;
  health_ = absl::OkStatus();
  if (!std::exchange(answered_, true)) Report();
}

void Prober::OnFailed(const absl::Status& status) {
  health_ = status;
  const absl::Duration now = context_->loop->now();
  if (now - last_unhealthy_line_ < kProbeUnhealthyInterval) return;
  last_unhealthy_line_ = now;
  ETCDD_LOG(kWarn, "prober detected unhealthy status",
            {{"round-tripper-name", kName},
             {"remote-peer-id", base::LogId(host_->id())},
             {"rtt", base::LogDuration(round_trip_)},
             base::LogField(status)});
}

void Prober::Report() {
  report_timer_.Schedule(&context_->loop->timers(),
                         context_->loop->now() + kProbeStatusInterval);
  if (!answered_ || !health_.ok()) return;
  host_->metrics().round_trip_seconds->Observe(absl::ToDoubleSeconds(round_trip_));
  if (absl::AbsDuration(clock_drift_) <= kClockDriftMax) return;
  ETCDD_LOG(kWarn, "prober found high clock drift",
            {{"round-tripper-name", kName},
             {"remote-peer-id", base::LogId(host_->id())},
             {"clock-drift", base::LogDuration(clock_drift_)},
             {"rtt", base::LogDuration(round_trip_)}});
}

}  // namespace etcdd::transport
