#include "raft/read_only.h"

#include <algorithm>
#include <optional>

#include "server/base/check.h"

namespace etcdd::raft {
namespace {

constexpr size_t kCounterBytes = 8;

base::Bytes EncodeCounter(uint64_t counter) {
  return base::Bytes::Build(kCounterBytes, [counter](char* out) {
    for (size_t i = 0; i < kCounterBytes; ++i) out[i] = static_cast<char>(counter >> (8 * i));
  });
}

// Contexts of another length are no counters.
std::optional<uint64_t> DecodeCounter(const base::Bytes& context) {
  const std::string_view bytes = context.view();
  if (bytes.size() != kCounterBytes) return std::nullopt;
  uint64_t counter = 0;
  for (size_t i = 0; i < kCounterBytes; ++i) {
    counter |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  return counter;
}

}  // namespace

void ReadOnly::Reset() {
  confirmed_ = 0;
  waiting_.clear();
  echoes_.clear();
  context_ = base::Bytes();
}

bool ReadOnly::Add(Message message, uint64_t commit, NodeId leader) {
  if (waiting_.size() >= pending_max_) return false;
  waiting_.push_back({std::move(message), commit});
  const uint64_t counter = confirmed_ + waiting_.size();
  context_ = EncodeCounter(counter);
  echoes_[leader] = counter;
  return true;
}

bool ReadOnly::Echoed(NodeId id, const base::Bytes& context) {
  const std::optional<uint64_t> counter = DecodeCounter(context);
  // A number not given out yet can only be hostile or corrupt.
  if (!counter.has_value() || *counter > confirmed_ + waiting_.size()) return false;
  uint64_t& echoed = echoes_[id];
  echoed = std::max(echoed, *counter);
  return true;
}

std::vector<ReadOnly::Request> ReadOnly::TakeConfirmed(const JointVoters& voters) {
  std::vector<Request> released;
  if (waiting_.empty()) return released;
  const uint64_t quorum = voters.Committed([this](NodeId id) {
    auto it = echoes_.find(id);
    return it == echoes_.end() ? 0 : it->second;
  });
  const uint64_t upto = std::min(quorum, confirmed_ + waiting_.size());
  while (confirmed_ < upto) {
    released.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    ++confirmed_;
  }
  if (waiting_.empty()) context_ = base::Bytes();
  return released;
}

bool ReadOnly::Postpone(Message message) {
  if (postponed_.size() >= pending_max_) return false;
  postponed_.push_back(std::move(message));
  return true;
}

void ReadOnly::CheckInvariants() const {
  ETCDD_CHECK(waiting_.size() <= pending_max_);
  ETCDD_CHECK(postponed_.size() <= pending_max_);
  ETCDD_CHECK(waiting_.empty() == context_.empty());
  uint64_t index = 0;
  for (const Request& request : waiting_) {
    ETCDD_CHECK(request.index >= index);
    index = request.index;
  }
  for (const auto& [id, echoed] : echoes_) ETCDD_CHECK(echoed <= confirmed_ + waiting_.size());
}

}  // namespace etcdd::raft
