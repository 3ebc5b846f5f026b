#pragma once

// What etcd's key-value store is, in the plainest form: for every key all its versions, for every
// revision its events; and what a request answers at a revision. The checkers compare the members
// with it. It shares no code with mvcc/ and server/apply.
//
// Confined to the simulator's thread.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/kv.pb.h"
#include "proto/rpc.pb.h"

namespace etcdd::sim {

using Events = std::vector<mvccpb::Event>;

class Model {
 public:
  // Revision of a store nobody has written to.
  static constexpr int64_t kFirstRevision = 1;

  // Takes the events of the next revision, in sub order. An error text when they cannot follow on
  // the state before (wrong create_revision or version, deletion of an absent key).
  std::optional<std::string> Append(const Events& events);

  int64_t revision() const { return static_cast<int64_t>(events_.size()) + kFirstRevision; }
  // Requires: kFirstRevision < revision <= revision().
  const Events& events(int64_t revision) const;

  // The pair as of `revision`; nullptr: absent then.
  const mvccpb::KeyValue* Get(const std::string& key, int64_t revision) const;
  // Pairs of [key, range_end) as KV-012 says, in key order.
  std::vector<mvccpb::KeyValue> Range(const std::string& key, const std::string& range_end,
                                      int64_t revision) const;
  // Keys attached to the lease as of `revision`, in order.
  std::vector<std::string> LeaseKeys(int64_t lease, int64_t revision) const;

  struct Outcome {
    etcdserverpb::TxnResponse response;  // without headers
    Events events;                       // what it changes, as revision `base + 1`
  };
  // Runs the request on the state as of `base`.
  Outcome Run(const etcdserverpb::TxnRequest& request, int64_t base) const;

 private:
  struct Version {
    int64_t revision;
    std::optional<mvccpb::KeyValue> pair;  // nullopt: deleted
  };
  std::map<std::string, std::vector<Version>> keys_;
  std::vector<Events> events_;  // of kFirstRevision + 1 + i
};

// Whether `key` lies in the range as KV-012 defines it.
bool InRange(std::string_view key, std::string_view begin, std::string_view range_end);
// The events without prev_kv, as text that is equal exactly for equal events.
std::string Fingerprint(const Events& events);
// For messages of failures: "PUT k=v@5 DELETE j@5".
std::string Describe(const Events& events);

}  // namespace etcdd::sim
