#pragma once

// The problem: to stop an object whose work is spread over callbacks one must refuse new work and
// learn when the last of the old work has ended. (The idea is Seastar's gate.)
//
//   if (!gate.Enter()) return base::ApiError(base::ErrorId::kStopped);
//   ... asynchronous work; at its end gate.Leave(), or hold a Gate::Pass.
//
//   gate.Close([] { ... nobody is inside and nobody will come ... });
//
// Thread-safe, no lock: a word holds the number of those inside and whether the gate is closed.

#include <atomic>
#include <cstdint>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "server/base/check.h"

namespace etcdd::base {

class Gate {
 public:
  Gate() = default;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  // Requires: nobody is inside.
  ~Gate() { ETCDD_CHECK(inside() == 0); }

  // False once the gate is closed. Each true must be followed by one Leave.
  [[nodiscard]] bool Enter() {
    uint64_t state = state_.load(std::memory_order_relaxed);
    do {
      if ((state & kClosed) != 0) return false;
    } while (!state_.compare_exchange_weak(state, state + kOne, std::memory_order_acquire,
                                           std::memory_order_relaxed));
    return true;
  }

  // The last one out of a closed gate runs the callback given to Close, which may destroy the gate.
  void Leave() {
    const uint64_t before = state_.fetch_sub(kOne, std::memory_order_acq_rel);
    ETCDD_CHECK(before >= kOne);
    if (before == (kOne | kClosed)) Drained();
  }

  // Refuses all who come from now on. `drained` runs once: here when nobody is inside, else in the
  // last Leave. Requires: not closed before.
  void Close(absl::AnyInvocable<void()> drained) {
    drained_ = std::move(drained);
    const uint64_t before = state_.fetch_or(kClosed, std::memory_order_acq_rel);
    ETCDD_CHECK((before & kClosed) == 0);
    if (before == 0) Drained();
  }

  bool closed() const { return (state_.load(std::memory_order_acquire) & kClosed) != 0; }
  uint64_t inside() const { return state_.load(std::memory_order_acquire) >> 1; }

  // Leaves when destroyed. False in a condition when the gate was closed.
  class Pass {
   public:
    explicit Pass(Gate* gate) : gate_(gate->Enter() ? gate : nullptr) {}
    Pass(Pass&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Pass& operator=(Pass&& other) noexcept {
      std::swap(gate_, other.gate_);
      return *this;
    }
    ~Pass() {
      if (gate_ != nullptr) gate_->Leave();
    }
    explicit operator bool() const { return gate_ != nullptr; }

   private:
    Gate* gate_;
  };

 private:
  static constexpr uint64_t kClosed = 1;
  static constexpr uint64_t kOne = 2;

  void Drained() {
    // Taken out first: the callback may destroy this gate.
    absl::AnyInvocable<void()> drained = std::move(drained_);
    if (drained) drained();
  }

  std::atomic<uint64_t> state_{0};  // number inside << 1 | closed
  // Written by Close before the closed bit is set, read by whoever sees the bit with nobody inside.
  absl::AnyInvocable<void()> drained_;
};

}  // namespace etcdd::base
