#pragma once

// Asks another member for its time every few seconds: round trip times for the metrics, warnings
// while it does not answer or its clock differs.
//
// Confined to the loop.

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/net/http1_client.h"
#include "server/net/timer_queue.h"
#include "server/transport/context.h"

namespace etcdd::transport {

// Body of the answer to GET /raft/probing.
std::string ProbeBody(absl::Time now);
// The time in it; nullopt: it is no healthy answer.
std::optional<absl::Time> ParseProbeBody(std::string_view body);

class Prober final : private net::Http1AnswerHandler {
 public:
  // Both must outlive the prober.
  Prober(Context* context, PeerHost* host);
  ~Prober();
  Prober(const Prober&) = delete;
  Prober& operator=(const Prober&) = delete;

  void Start();
  void Stop();

  // Of the last answer; zero before one.
  absl::Duration round_trip() const { return round_trip_; }
  absl::Duration clock_drift() const { return clock_drift_; }

 private:
  void Probe();
  void Report();
  void OnHead(int status, const net::Http1Headers&) override { status_ = status; }
  void OnBody(std::string_view piece) override;
  void OnEnd() override;
  void OnFailed(const absl::Status& status) override;

  Context* const context_;
  PeerHost* const host_;
  std::string url_;  // of client_
  std::shared_ptr<net::Http1Client> client_;
  int status_ = 0;
  std::string body_;
  absl::Duration asked_;
  absl::Duration round_trip_;   // smoothed
  absl::Duration clock_drift_;  // ours less theirs
  absl::Status health_;
  bool answered_ = false;  // at least once
  absl::Duration last_unhealthy_line_ = -absl::InfiniteDuration();
  net::Timer probe_timer_;
  net::Timer report_timer_;
};

}  // namespace etcdd::transport
