// Which requests are refused for their shape, with which text (KV-015, 027, 030, 046..050).

#include "server/rpc/validation.h"

#include <google/protobuf/text_format.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "proto/rpc.pb.h"

namespace etcdd::rpc {
namespace {

constexpr char kEmptyKey[] = "etcdserver: key is not provided";
constexpr char kNoKey[] = "etcdserver: key not found";
constexpr char kDuplicate[] = "etcdserver: duplicate key given in txn request";
constexpr char kTooMany[] = "etcdserver: too many operations in txn request";

etcdserverpb::TxnRequest ParseTxn(const std::string& text) {
  etcdserverpb::TxnRequest request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request)) << text;
  return request;
}

struct TxnCase {
  const char* request;
  const char* error;  // empty: accepted
};

// Seen on etcd 3.4.23; 3.7 answers the same.
constexpr TxnCase kTxnCases[] = {
    {"compare { }", kEmptyKey},
    {"success { request_range { } }", kEmptyKey},
    {"failure { request_put { } }", kEmptyKey},
    {"success { request_txn { success { request_delete_range { } } } }", kEmptyKey},
    {"success { }", kNoKey},
    {"success { request_put { } }", kEmptyKey},
    {"success { request_delete_range { range_end: 'z' } }", kEmptyKey},
    {"failure { request_put { key: 'a' value: 'v' ignore_value: true } }",
     "etcdserver: value is provided"},
    {"failure { request_put { key: 'a' value: 'v' lease: 1 ignore_lease: true } }",
     "etcdserver: lease is provided"},
    {"compare { } success { }", kEmptyKey},
    {"success { } failure { request_put { } }", kNoKey},
    {"success { request_put { key: 'x' } } success { request_put { key: 'x' } } success { }",
     kNoKey},
    {"success { request_put { key: 'x' } } success { request_put { key: 'x' lease: 99 } }",
     kDuplicate},
    {"failure { request_put { key: 'x' } } failure { request_put { key: 'x' } }", kDuplicate},
    {"success { request_put { key: 'x' } } failure { request_put { key: 'x' } }", ""},
    {"success { request_delete_range { key: 'x' } } success { request_put { key: 'x' } }",
     kDuplicate},
    {"success { request_put { key: 'x' } } success { request_delete_range { key: 'x' } }",
     kDuplicate},
    {"success { request_delete_range { key: 'w' range_end: 'y' } } "
     "success { request_put { key: 'x' } }", kDuplicate},
    {"success { request_delete_range { key: 'w' range_end: 'x' } } "
     "success { request_put { key: 'x' } }", ""},
    {"success { request_delete_range { key: 'w' range_end: 'y' } } "
     "success { request_delete_range { key: 'x' } }", ""},
    {"success { request_delete_range { key: 'x' } } success { request_delete_range { key: 'x' } }",
     ""},
    {"success { request_delete_range { key: 'x' } } "
     "success { request_txn { success { request_put { key: 'x' } } } }", kDuplicate},
    {"success { request_txn { success { request_put { key: 'x' } } } } "
     "success { request_delete_range { key: 'x' } }", kDuplicate},
    {"success { request_txn { success { request_delete_range { key: 'x' } } } } "
     "success { request_put { key: 'x' } }", kDuplicate},
    {"success { request_put { key: 'x' } } "
     "success { request_txn { success { request_delete_range { key: 'x' } } } }", kDuplicate},
    {"success { request_txn { success { request_put { key: 'x' } } "
     "failure { request_put { key: 'x' } } } }", ""},
    {"success { request_txn { success { request_put { key: 'x' } } } } "
     "success { request_txn { failure { request_put { key: 'x' } } } }", kDuplicate},
    {"success { request_txn { success { request_put { key: 'x' } } } } "
     "success { request_put { key: 'x' } }", kDuplicate},
    {"success { request_txn { failure { request_put { key: 'x' } } } } "
     "success { request_put { key: 'x' } }", kDuplicate},
    // KV-048: ranges that cover nothing; one branch puts what the other deletes.
    {"success { request_delete_range { key: 'x' range_end: 'a' } } "
     "success { request_put { key: 'x' } }", ""},
    {"success { request_txn { success { request_put { key: 'x' } } "
     "failure { request_delete_range { key: 'x' } } } }", ""},
    // KV-049: what is not detected.
    {"success { request_delete_range { key: 'a' range_end: '\\000' } } "
     "success { request_put { key: 'x' } }", ""},
    {"success { request_txn { success { request_put { key: 'x' } } } } "
     "success { request_txn { success { request_delete_range { key: 'x' } } } }", ""},
};

TEST(CheckTxnTest, AnswersAsEtcd) {
  for (const TxnCase& c : kTxnCases) {
    const absl::Status status = CheckTxn(ParseTxn(c.request), 128);
    EXPECT_EQ(status.message(), c.error) << c.request;
    EXPECT_EQ(status.ok() || absl::IsInvalidArgument(status), true) << c.request;
  }
}

// A chain of nested Txns with so many ranges on each level.
etcdserverpb::TxnRequest Nested(std::initializer_list<int> ranges) {
  etcdserverpb::TxnRequest request;
  etcdserverpb::TxnRequest* level = &request;
  for (auto count = ranges.begin(); count != ranges.end(); ++count) {
    for (int i = 0; i < *count; ++i) level->add_success()->mutable_request_range()->set_key("k");
    if (count + 1 != ranges.end()) level = level->add_success()->mutable_request_txn();
  }
  return request;
}

TEST(CheckTxnTest, OperationsAreCountedPerListAndNestedOnesHaveTheRemainder) {
  EXPECT_TRUE(CheckTxn(Nested({128}), 128).ok());
  EXPECT_EQ(CheckTxn(Nested({129}), 128).message(), kTooMany);
  EXPECT_TRUE(CheckTxn(Nested({0, 127}), 128).ok());
  EXPECT_EQ(CheckTxn(Nested({0, 128}), 128).message(), kTooMany);
  EXPECT_TRUE(CheckTxn(Nested({0, 0, 126}), 128).ok());
  EXPECT_EQ(CheckTxn(Nested({0, 0, 127}), 128).message(), kTooMany);
  // Siblings each have all of it.
  etcdserverpb::TxnRequest siblings;
  for (int i = 0; i < 2; ++i) *siblings.add_success()->mutable_request_txn() = Nested({126});
  EXPECT_TRUE(CheckTxn(siblings, 128).ok());
  etcdserverpb::TxnRequest lists = Nested({128});
  *lists.mutable_failure() = lists.success();
  for (int i = 0; i < 128; ++i) lists.add_compare()->set_key("k");
  EXPECT_TRUE(CheckTxn(lists, 128).ok());
  lists.add_compare()->set_key("k");
  EXPECT_EQ(CheckTxn(lists, 128).message(), kTooMany);
}

TEST(CheckPlainTest, PutRangeAndDelete) {
  EXPECT_EQ(CheckPut({}).message(), kEmptyKey);
  apply::PutView put;
  put.key = "k";
  EXPECT_TRUE(CheckPut(put).ok());
  put.ignore_value = true;
  EXPECT_TRUE(CheckPut(put).ok());
  put.value = "v";
  EXPECT_EQ(CheckPut(put).message(), "etcdserver: value is provided");
  apply::RangeView range;
  EXPECT_EQ(CheckRange(range).message(), kEmptyKey);
  range.key = "k";
  EXPECT_TRUE(CheckRange(range).ok());
  for (const auto& [order, target] : {std::pair(3, 0), {-1, 0}, {0, 5}, {0, -1}}) {
    range.sort_order = order;
    range.sort_target = target;
    EXPECT_EQ(CheckRange(range).message(), "etcdserver: invalid sort option");
  }
  EXPECT_EQ(CheckDeleteRange({}).message(), kEmptyKey);
}

TEST(TxnKindTest, OnlyPlainRangesAreReadOnly) {
  struct Case {
    const char* request;
    bool read_only;
    bool serializable;
  };
  for (const Case& c :
       {Case{"", true, true}, Case{"compare { key: 'a' }", true, true},
        Case{"success { request_range { key: 'a' } }", true, false},
        Case{"failure { request_range { key: 'a' serializable: true } }", true, true},
        Case{"success { request_range { key: 'a' serializable: true } } "
             "failure { request_range { key: 'a' } }", true, false},
        Case{"failure { request_put { key: 'a' } }", false, false},
        Case{"success { request_txn { } }", false, false}, Case{"success { }", false, false}}) {
    EXPECT_EQ(IsReadOnlyTxn(ParseTxn(c.request)), c.read_only) << c.request;
    EXPECT_EQ(IsSerializableTxn(ParseTxn(c.request)), c.serializable) << c.request;
  }
}

}  // namespace
}  // namespace etcdd::rpc
