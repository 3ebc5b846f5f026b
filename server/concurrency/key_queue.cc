#include "server/concurrency/key_queue.h"

#include "absl/strings/str_cat.h"

namespace etcdd::concurrency {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::RangeRequest;

constexpr char kSeparator = '/';

RangeRequest InOrderOfCreation(std::string_view name, RangeRequest::SortOrder order) {
  RangeRequest range;
  range.set_key(QueuePrefix(name));
  range.set_range_end(QueueEnd(name));
  range.set_sort_target(RangeRequest::CREATE);
  range.set_sort_order(order);
  range.set_limit(1);
  return range;
}

}  // namespace

std::string QueuePrefix(std::string_view name) { return std::string(name) + kSeparator; }

std::string QueueEnd(std::string_view name) {
  return std::string(name) + static_cast<char>(kSeparator + 1);
}

std::string QueueKey(std::string_view name, int64_t lease) {
  const auto bits = static_cast<uint64_t>(lease);
  const uint64_t magnitude = lease < 0 ? uint64_t{0} - bits : bits;
  return absl::StrCat(QueuePrefix(name), lease < 0 ? "-" : "", absl::Hex(magnitude));
}

RangeRequest OldestKey(std::string_view name) {
  return InOrderOfCreation(name, RangeRequest::ASCEND);
}

RangeRequest NewestKeyBefore(std::string_view name, int64_t create_revision) {
  RangeRequest range = InOrderOfCreation(name, RangeRequest::DESCEND);
  range.set_max_create_revision(create_revision - 1);
  return range;
}

etcdserverpb::TxnRequest EnterQueue(const Entry& entry) {
  const std::string key = QueueKey(entry.name, entry.lease);
  etcdserverpb::TxnRequest txn = IfCreatedAt(key, 0);
  auto* put = txn.add_success()->mutable_request_put();
  put->set_key(key);
  put->set_value(std::string(entry.value));
  put->set_lease(entry.lease);
  *txn.add_success()->mutable_request_range() = OldestKey(entry.name);
  txn.add_failure()->mutable_request_range()->set_key(key);
  *txn.add_failure()->mutable_request_range() = OldestKey(entry.name);
  return txn;
}

etcdserverpb::TxnRequest IfCreatedAt(std::string_view key, int64_t create_revision) {
  etcdserverpb::TxnRequest txn;
  Compare* compare = txn.add_compare();
  compare->set_key(std::string(key));
  compare->set_target(Compare::CREATE);
  compare->set_result(Compare::EQUAL);
  compare->set_create_revision(create_revision);
  return txn;
}

}  // namespace etcdd::concurrency
