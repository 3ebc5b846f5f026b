#include "cmd/etcdd-bench/caller.h"

#include "cmd/etcdd-bench/frame.h"
#include "server/base/status_macros.h"

namespace etcdd::bench {
namespace {

constexpr size_t kGrpcPrefixBytes = 5;

}  // namespace

absl::StatusOr<std::unique_ptr<Caller>> Caller::Connect(const std::string& endpoint) {
  std::unique_ptr<Caller> caller(new Caller);
  ETCDD_ASSIGN_OR_RETURN(caller->connection_, caller->loop_.Connect(endpoint, caller.get()));
  return caller;
}

absl::StatusOr<std::string> Caller::Call(uint32_t method, std::string_view message,
                                         double timeout_s) {
  reply_.clear();
  ended_ = false;
  if (connection_->Start(method, message, /*last=*/true, 0) == 0) {
    return absl::ResourceExhaustedError("the server admits no call");
  }
  loop_.UpdateNow();
  const uint64_t deadline = loop_.now() + static_cast<uint64_t>(timeout_s * 1e9);
  ETCDD_RETURN_IF_ERROR(loop_.RunUntil([this] { return ended_; }, deadline));
  if (!ended_) return absl::DeadlineExceededError("no reply in time");
  ETCDD_RETURN_IF_ERROR(status_);
  if (reply_.size() < kGrpcPrefixBytes) return absl::DataLossError("reply without a message");
  return reply_.substr(kGrpcPrefixBytes);
}

void Caller::OnData(Connection&, uint64_t, std::string_view data) { reply_.append(data); }

void Caller::OnEnd(Connection&, uint64_t, const CallEnd& end) {
  ended_ = true;
  if (end.grpc_status == 0) {
    status_ = absl::OkStatus();
    return;
  }
  const auto code = end.grpc_status < 0 ? absl::StatusCode::kUnavailable
                                        : static_cast<absl::StatusCode>(end.grpc_status);
  status_ = absl::Status(code, absl::string_view(end.message.data(), end.message.size()));
}

}  // namespace etcdd::bench
