#include <algorithm>
#include <numeric>
#include <random>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cmd/etcdd-bench/unary_load.h"

namespace etcdd::bench {
namespace {

constexpr int64_t kLeaseTtl_s = 3600;
constexpr uint64_t kLongRangeKeys = 1000;
constexpr uint64_t kShortRangeKeys = 20;

// Xorshift64* (Vigna 2014): a few instructions a number, far less than std's engines.
class FastRandom {
 public:
  explicit FastRandom(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  uint64_t Next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1d;
  }
  // Uniform in [0, bound) up to a bias of bound / 2^32. Requires: 0 < bound < 2^32.
  uint64_t Uniform(uint64_t bound) { return ((Next() >> 32) * bound) >> 32; }

 private:
  uint64_t state_;
};

class OpSource : public RequestSource {
 public:
  // Chances in percent; they add up to 100.
  struct Mix {
    uint32_t get = 0;
    uint32_t serializable_get = 0;
    uint32_t put = 0;
    uint32_t txn = 0;
    uint32_t range = 0;
    uint32_t lease_grant = 0;
  };

  OpSource(const Options& options, const Mix& mix, uint64_t range_keys)
      : mix_(mix),
        put_method_(options.op == "echo" ? kMethodEcho : kMethodPut),
        keys_(options.keys),
        range_keys_(range_keys),
        random_(options.seed),
        put_(RequestTemplate::Put(options.key_bytes, RandomText(options.value_bytes, 1))),
        txn_(RequestTemplate::Txn(options.key_bytes, RandomText(options.value_bytes, 2))),
        get_(RequestTemplate::Range(options.key_bytes, 1, false)),
        serializable_get_(RequestTemplate::Range(options.key_bytes, 1, true)),
        range_(RequestTemplate::Range(options.key_bytes, range_keys, options.serializable)),
        lease_grant_(LeaseGrantMessage(kLeaseTtl_s)) {}

  std::optional<Request> Next() override {
    auto chance = static_cast<uint32_t>(random_.Uniform(100));
    const auto chosen = [&chance](uint32_t percent) {
      if (chance < percent) return true;
      chance -= percent;
      return false;
    };
    if (chosen(mix_.get)) {
      return Request{kMethodRange, get_.Fill(RandomKey(), 0), {Expectation::kRangeReply, 1}};
    }
    if (chosen(mix_.serializable_get)) {
      return Request{kMethodRange, serializable_get_.Fill(RandomKey(), 0),
                     {Expectation::kRangeReply, 1}};
    }
    if (chosen(mix_.put)) {
      return Request{put_method_, put_.Fill(RandomKey(), random_.Next()),
                     {Expectation::kPutReply, 0}};
    }
    if (chosen(mix_.txn)) {
      return Request{kMethodTxn, txn_.Fill(RandomKey(), random_.Next()),
                     {Expectation::kTxnReply, 0}};
    }
    if (chosen(mix_.range)) {
      const uint64_t first = random_.Uniform(keys_ - range_keys_ + 1);
      return Request{kMethodRange, range_.Fill(first, 0),
                     {Expectation::kRangeReply, static_cast<uint32_t>(range_keys_)}};
    }
    return Request{kMethodLeaseGrant, lease_grant_, {Expectation::kLeaseGrantReply, 0}};
  }

 private:
  uint64_t RandomKey() { return random_.Uniform(keys_); }

  const Mix mix_;
  const Method put_method_;
  const uint64_t keys_;
  const uint64_t range_keys_;
  FastRandom random_;
  RequestTemplate put_;
  RequestTemplate txn_;
  RequestTemplate get_;
  RequestTemplate serializable_get_;
  RequestTemplate range_;
  const std::string lease_grant_;
};

class FillSource : public RequestSource {
 public:
  explicit FillSource(const Options& options)
      : order_(options.keys),
        random_(options.seed),
        put_(RequestTemplate::Put(options.key_bytes, RandomText(options.value_bytes, 1))) {
    std::iota(order_.begin(), order_.end(), 0);
    if (options.random_order) {
      std::shuffle(order_.begin(), order_.end(), std::mt19937_64(options.seed));
    }
  }

  std::optional<Request> Next() override {
    if (next_ == order_.size()) return std::nullopt;
    return Request{kMethodPut, put_.Fill(order_[next_++], random_.Next()),
                   {Expectation::kPutReply, 0}};
  }

 private:
  std::vector<uint32_t> order_;
  size_t next_ = 0;
  FastRandom random_;
  RequestTemplate put_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RequestSource>> NewOpSource(const Options& options) {
  OpSource::Mix mix;
  uint64_t range_keys = 1;
  if (options.op == "put" || options.op == "echo") {
    mix.put = 100;
  } else if (options.op == "range") {
    (options.serializable ? mix.serializable_get : mix.get) = 100;
  } else if (options.op == "range1000") {
    mix.range = 100;
    range_keys = kLongRangeKeys;
  } else if (options.op == "txn") {
    mix.txn = 100;
  } else if (options.op == "lease-grant") {
    mix.lease_grant = 100;
  } else if (options.op == "mixed") {
    mix = {.get = 60, .serializable_get = 10, .put = 20, .txn = 5, .range = 5};
    range_keys = kShortRangeKeys;
  } else {
    return absl::InvalidArgumentError(absl::StrCat("unknown op: ", options.op));
  }
  if (options.keys < range_keys) {
    return absl::InvalidArgumentError(absl::StrCat(options.op, " needs --keys ", range_keys));
  }
  return std::make_unique<OpSource>(options, mix, range_keys);
}

std::unique_ptr<RequestSource> NewFillSource(const Options& options) {
  return std::make_unique<FillSource>(options);
}

}  // namespace etcdd::bench
