#pragma once

// Request id -> the caller waiting for its entry to be applied. Every waiter is answered exactly
// once: by the applied entry, by its timeout, or when the server stops.
//
// All waiters share one timeout, so they expire in the order they came and one queue serves them.
//
// Confined to the server strand.

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

namespace etcdd::server {

// How a request is answered: OK and the serialized response message, or an error.
using Done = absl::AnyInvocable<void(absl::Status status, std::string reply)>;

// Kind of a request whose time is not measured.
inline constexpr int kNotTimed = -1;

class RequestWaiter {
 public:
  struct Waiter {
    Done done;
    absl::Duration started;
    int kind = 0;
  };

  // `bytes`: what the request holds in memory while it waits; `kind` is the caller's and comes back
  // with the waiter. Requires: `id` is not registered.
  void Register(uint64_t id, absl::Duration now, absl::Duration timeout, size_t bytes, int kind,
                Done done) {
    waiting_.emplace(id, Waiting{{std::move(done), now, kind}, bytes});
    order_.emplace_back(now + timeout, id);
    waiting_bytes_ += bytes;
  }

  // Who waits for this id, or nullopt when nobody does (any more).
  std::optional<Waiter> Take(uint64_t id) {
    auto found = waiting_.find(id);
    if (found == waiting_.end()) return std::nullopt;
    Waiter waiter = std::move(found->second.waiter);
    Erase(found);
    return waiter;
  }

  bool Contains(uint64_t id) const { return waiting_.contains(id); }
  size_t size() const { return waiting_.size(); }
  uint64_t waiting_bytes() const { return waiting_bytes_; }

  // Those whose time is up, oldest first.
  std::vector<Waiter> TakeExpired(absl::Duration now) {
    std::vector<Waiter> expired;
    while (!order_.empty()) {
      const auto [deadline, id] = order_.front();
      auto found = waiting_.find(id);
      if (found != waiting_.end()) {
        if (deadline > now) break;
        expired.push_back(std::move(found->second.waiter));
        Erase(found);
      }
      order_.pop_front();
    }
    return expired;
  }

  std::vector<Done> TakeAll() {
    std::vector<Done> all;
    for (const auto& [deadline, id] : order_) {
      if (auto waiter = Take(id)) all.push_back(std::move(waiter->done));
    }
    order_.clear();
    return all;
  }

 private:
  struct Waiting {
    Waiter waiter;
    size_t bytes;
  };
  using Map = absl::flat_hash_map<uint64_t, Waiting>;

  void Erase(Map::iterator found) {
    waiting_bytes_ -= found->second.bytes;
    waiting_.erase(found);
  }

  Map waiting_;
  uint64_t waiting_bytes_ = 0;
  std::deque<std::pair<absl::Duration, uint64_t>> order_;  // by deadline; may hold answered ids
};

}  // namespace etcdd::server
