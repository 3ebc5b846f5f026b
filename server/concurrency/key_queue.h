#pragma once

// The queue behind a lock or an election (LOCK-001, LOCK-002): keys below NAME/, one a lease, in
// the order of their creation.
//
// Pure functions, thread-safe.

#include <cstdint>
#include <string>
#include <string_view>

#include "proto/rpc.pb.h"

namespace etcdd::concurrency {

// NAME/ and the end of the range of all keys that begin with it.
std::string QueuePrefix(std::string_view name);
std::string QueueEnd(std::string_view name);
// NAME/LEASE, the lease in hexadecimal without padding; a negative one has a minus sign.
std::string QueueKey(std::string_view name, int64_t lease);

// The oldest key of a queue.
etcdserverpb::RangeRequest OldestKey(std::string_view name);
// The newest of the keys created before `create_revision`.
etcdserverpb::RangeRequest NewestKeyBefore(std::string_view name, int64_t create_revision);

struct Entry {
  std::string_view name;
  std::string_view value;
  int64_t lease = 0;
};
// Creates the entry's key, or reads it when it is there; either way the second response is the
// oldest key of the queue.
etcdserverpb::TxnRequest EnterQueue(const Entry& entry);

// A Txn that is to do something to `key` as long as it is the one created at `create_revision`; the
// caller adds what.
etcdserverpb::TxnRequest IfCreatedAt(std::string_view key, int64_t create_revision);

}  // namespace etcdd::concurrency
