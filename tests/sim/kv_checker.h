#pragma once

// Judges a history of key-value operations: is it strictly serializable?
//
// etcd tells each writer the revision its change got, and each reader the revision it read at. So
// the order is not searched for but given: by revision, reads behind the write of their revision.
// What is left to check, in O(n log n):
//   * every revision is the change of exactly one request, with exactly the effect and the answer
//     the model says, and no acknowledged change is missing or there twice;
//   * requests that were refused changed nothing; those with an unknown outcome explain, each at
//     most once, the revisions nobody was acknowledged for (a matching), or the lease's end does;
//   * the order respects real time: nothing is ordered before what had ended when it began, nor
//     seen by anyone before it was asked for;
//   * serializable reads are a state that was, and never go back on one member;
//   * `compacted` and `future revision` are said when they are true, and only then.
//
// Pure functions over what was recorded.

#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/history.h"

namespace etcdd::sim {

struct KvFacts {
  int64_t open_happened = 0;  // changes whose clients never heard of them
};

// Texts of what is wrong; empty: nothing. `facts` may be null.
std::vector<std::string> CheckKv(const History& history, const EventLog& log,
                                 KvFacts* facts = nullptr);

}  // namespace etcdd::sim
