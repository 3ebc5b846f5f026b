#include "server/concurrency/claims.h"

#include <utility>

namespace etcdd::concurrency {

Claim::Claim(std::shared_ptr<Claims> claims, std::string key)
    : claims_(std::move(claims)), key_(std::move(key)), use_(&claims_->uses_[key_]) {
  ++use_->claims;
  ++use_->live;
  ++use_->entered;
}

Claim::~Claim() {
  Leave();
  if (--use_->claims == 0) claims_->uses_.erase(key_);
}

void Claim::Grant() {
  Leave();
  use_->granted = true;
}

void Claim::Leave() {
  if (!std::exchange(live_, false)) return;
  --use_->live;
  entered_at_leaving_ = use_->entered;
}

bool Claim::MayDelete() const {
  return use_->live == 0 && !use_->granted && use_->entered == entered_at_leaving_;
}

}  // namespace etcdd::concurrency
