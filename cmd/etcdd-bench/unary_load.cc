#include "cmd/etcdd-bench/unary_load.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace etcdd::bench {

UnaryLoad::UnaryLoad(EventLoop* loop, RequestSource* source, Meter* meter)
    : loop_(loop), source_(source), meter_(meter) {}

absl::Status UnaryLoad::Begin(const Options& options) {
  for (uint32_t i = 0; i < options.connections; ++i) {
    ETCDD_ASSIGN_OR_RETURN(Connection * connection, loop_->Connect(options.endpoint, this));
    connections_.push_back(connection);
  }
  without_room_.resize(connections_.size());
  slots_.resize(options.outstanding);
  busy_ = slots_.size();
  loop_->UpdateNow();
  for (uint64_t slot = 0; slot < slots_.size(); ++slot) Issue(slot);
  return absl::OkStatus();
}

void UnaryLoad::Issue(uint64_t slot_number) {
  std::optional<Request> request;
  if (!stopping_) request = source_->Next();
  if (!request.has_value()) {
    --busy_;
    return;
  }
  Slot& slot = slots_[slot_number];
  slot.start_ns = loop_->now();
  slot.expected = request->expected;
  slot.reply.Reset();
  const size_t connection = slot_number % connections_.size();
  std::deque<uint64_t>& waiting = without_room_[connection];
  if (!waiting.empty() || connections_[connection]->Start(request->method, request->message,
                                                          /*last=*/true, slot_number) == 0) {
    slot.waiting.assign(request->message);
    slot.waiting_method = request->method;
    waiting.push_back(slot_number);
  }
}

void UnaryLoad::OnData(Connection&, uint64_t tag, std::string_view data) {
  slots_[tag].reply.Feed(data);
}

void UnaryLoad::OnEnd(Connection& connection, uint64_t tag, const CallEnd& end) {
  Slot& slot = slots_[tag];
  ++completed_;
  if (end.grpc_status == 0 && ReplyMatches(slot.expected, slot.reply)) {
    meter_->Record(loop_->now() - slot.start_ns);
  } else if (end.grpc_status == 0) {
    meter_->RecordError("a reply does not answer its request (were the keys loaded?)");
  } else {
    meter_->RecordError(absl::StrCat("grpc-status ", end.grpc_status, ": ",
                                     absl::string_view(end.message.data(), end.message.size())));
  }
  if (connection.broken()) {
    --busy_;
    return;
  }
  Issue(tag);
}

void UnaryLoad::OnRoom(Connection& connection) {
  const auto found = std::find(connections_.begin(), connections_.end(), &connection);
  std::deque<uint64_t>& waiting =
      without_room_[static_cast<size_t>(found - connections_.begin())];
  while (!waiting.empty()) {
    Slot& slot = slots_[waiting.front()];
    if (connection.Start(slot.waiting_method, slot.waiting, true, waiting.front()) == 0) return;
    waiting.pop_front();
  }
}

}  // namespace etcdd::bench
