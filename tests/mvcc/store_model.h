#pragma once

// The store as a map of versions that never forgets: slow, obvious, and written from the rules
// (behaviour.md section 2), not from the store. It answers what the store must answer.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "mvcc/read_options.h"
#include "mvcc/revision.h"
#include "tests/mvcc/store_fixture.h"

namespace etcdd::mvcc {

class StoreModel {
 public:
  struct Version {
    Revision revision;
    bool tombstone = false;
    TestPair pair;
  };

  struct Answer {
    std::vector<TestPair> pairs;
    int64_t count = 0;
    bool more = false;
  };

  // Changes belong to the running transaction (revision() + 1) until EndTxn.
  void Put(const std::string& key, const std::string& value, int64_t lease);
  // Old pairs, in key order.
  std::vector<TestPair> DeleteRange(const std::string& key, const std::string& end);
  void EndTxn();

  // The pair as of a main revision; `running` includes the running transaction.
  std::optional<TestPair> At(const std::string& key, int64_t main) const;
  std::optional<TestPair> Now(const std::string& key) const { return At(key, revision_ + 1); }
  // The live pairs of a range as of a main revision.
  std::vector<TestPair> Live(const std::string& key, const std::string& end, int64_t main) const;
  Answer Range(const RangeOptions& options, int64_t main) const;

  // MAINT-026..028 with no regard to what was removed. nullopt when no key is kept at `rev`: then
  // the rule itself depends on what was removed.
  std::optional<uint32_t> HashKv(int64_t rev, int64_t compact_revision) const;

  std::map<int64_t, std::set<std::string>> LeasedKeys() const;

  int64_t revision() const { return revision_; }
  bool changed() const { return sub_ > 0; }
  std::vector<std::string> Keys() const;

 private:
  int64_t revision_ = 1;
  int64_t sub_ = 0;
  std::map<std::string, std::vector<Version>> keys_;
};

}  // namespace etcdd::mvcc
