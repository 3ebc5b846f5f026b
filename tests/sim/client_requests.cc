// What the clients of the simulator ask for.

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/sim/client.h"

namespace etcdd::sim {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::TxnRequest;

constexpr char kPrefix[] = "k";
constexpr char kPrefixEnd[] = "l";

}  // namespace

std::string Client::RandomKey() {
  const auto keys = static_cast<uint64_t>(settings_.keys);
  return absl::StrFormat("%s%02d", kPrefix, random_->Uniform(keys));
}

// Unique, so that a checker knows whose a value is.
std::string Client::NewValue() { return absl::StrCat("c", settings_.number, "-", ++values_); }

Operation Client::Put(const std::string& key, const std::string& value, int64_t lease) {
  Operation operation;
  auto* put = operation.request.add_success()->mutable_request_put();
  put->set_key(key);
  put->set_value(value);
  put->set_lease(lease);
  return operation;
}

Operation Client::Read(const std::string& key, const std::string& range_end, bool serializable) {
  Operation operation;
  operation.read_only = true;
  operation.serializable = serializable;
  auto* range = operation.request.add_success()->mutable_request_range();
  range->set_key(key);
  range->set_range_end(range_end);
  range->set_serializable(serializable);
  return operation;
}

Operation Client::RandomOperation() {
  const uint64_t draw = random_->Uniform(100);
  if (draw < 35) return RandomRead();
  if (draw < 72) return RandomWrite();
  if (draw < 88) return RandomTxn();
  if (draw < 98 && settings_.leases) return RandomLeaseOperation();
  if (draw < 98 || !settings_.compactions || revision_ <= compacted_ + 5) return RandomWrite();
  Operation compact;
  compact.kind = OperationKind::kCompact;
  compacted_ += static_cast<int64_t>(
      random_->Uniform(static_cast<uint64_t>(revision_ - compacted_)) + 1);
  compact.compact_revision = compacted_;
  return compact;
}

Operation Client::RandomRead() {
  const bool all = random_->Uniform(3) == 0;
  Operation operation = all ? Read(kPrefix, kPrefixEnd, false) : Read(RandomKey(), "", false);
  auto* range = operation.request.mutable_success(0)->mutable_request_range();
  if (random_->Uniform(4) == 0) {
    operation.serializable = true;
    range->set_serializable(true);
  }
  switch (random_->Uniform(6)) {
    case 0:
      range->set_limit(static_cast<int64_t>(random_->Uniform(4) + 1));
      break;
    case 1: range->set_count_only(all); break;
    case 2: {  // an old revision; now and then one that is yet to come
      const int64_t back = static_cast<int64_t>(random_->Uniform(40)) - 2;
      range->set_revision(std::max<int64_t>(revision_ - back, 1));
      break;
    }
    default: break;
  }
  return operation;
}

Operation Client::RandomWrite() {
  const uint64_t draw = random_->Uniform(10);
  if (draw >= 2) {
    const bool attach = !leases_.empty() && random_->Uniform(5) == 0;
    Operation put = Put(RandomKey(), NewValue(),
                        attach ? leases_[random_->Uniform(leases_.size())] : 0);
    put.request.mutable_success(0)->mutable_request_put()->set_prev_kv(random_->Uniform(3) == 0);
    return put;
  }
  Operation operation;
  auto* remove = operation.request.add_success()->mutable_request_delete_range();
  remove->set_key(RandomKey());
  if (draw == 0) remove->set_range_end(random_->Uniform(4) == 0 ? kPrefixEnd : RandomKey());
  remove->set_prev_kv(random_->Uniform(3) == 0);
  return operation;
}

void Client::AddRandomCompare(TxnRequest* txn) {
  Compare* compare = txn->add_compare();
  compare->set_key(RandomKey());
  compare->set_result(static_cast<Compare::CompareResult>(random_->Uniform(4)));
  const auto near = static_cast<int64_t>(random_->Uniform(20));
  switch (random_->Uniform(4)) {
    case 0:
      compare->set_target(Compare::VERSION);
      compare->set_version(near / 5);
      break;
    case 1:
      compare->set_target(Compare::CREATE);
      compare->set_create_revision(std::max<int64_t>(revision_ - near, 0));
      break;
    case 2:
      compare->set_target(Compare::MOD);
      compare->set_mod_revision(std::max<int64_t>(revision_ - near, 0));
      break;
    default:
      compare->set_target(Compare::VALUE);
      compare->set_value(
          absl::StrCat("c", random_->Uniform(4), "-", random_->Uniform(values_ + 1)));
      break;
  }
}

Operation Client::RandomTxn() {
  Operation operation;
  TxnRequest* txn = &operation.request;
  AddRandomCompare(txn);
  if (random_->Uniform(3) == 0) AddRandomCompare(txn);
  const bool read_only = random_->Uniform(4) == 0;
  const auto add_read = [&](etcdserverpb::RequestOp* op) {
    auto* range = op->mutable_request_range();
    range->set_key(random_->Uniform(2) == 0 ? RandomKey() : kPrefix);
    if (range->key() == kPrefix) range->set_range_end(kPrefixEnd);
  };
  const std::string key = RandomKey();
  if (!read_only) {
    auto* put = txn->add_success()->mutable_request_put();
    put->set_key(key);
    put->set_value(NewValue());
    const std::string other = RandomKey();
    if (random_->Uniform(2) == 0 && other != key) {
      txn->add_success()->mutable_request_delete_range()->set_key(other);
    }
  }
  add_read(txn->add_success());
  if (!read_only && random_->Uniform(2) == 0) {
    auto* put = txn->add_failure()->mutable_request_put();
    put->set_key(RandomKey());
    put->set_value(NewValue());
  }
  add_read(txn->add_failure());
  operation.read_only = read_only;
  return operation;
}

Operation Client::RandomLeaseOperation() {
  Operation operation;
  const uint64_t draw = random_->Uniform(10);
  if (leases_.empty() || draw < 2) {
    operation.kind = OperationKind::kLeaseGrant;
    // Ours alone: an id that comes back would be another lease under the same name.
    operation.lease = settings_.number * 1'000'000 + static_cast<int64_t>(++values_);
    operation.ttl_seconds = static_cast<int64_t>(random_->Uniform(9) + 1);
    return operation;
  }
  operation.lease = leases_[random_->Uniform(leases_.size())];
  if (draw < 7) {
    operation.kind = OperationKind::kLeaseRenew;
  } else if (draw < 9) {
    operation.kind = OperationKind::kLeaseTimeToLive;
  } else {
    operation.kind = OperationKind::kLeaseRevoke;
  }
  return operation;
}

}  // namespace etcdd::sim
