#include "tests/mvcc/store_model.h"

#include <algorithm>
#include <utility>

#include "server/base/crc32c.h"

namespace etcdd::mvcc {
namespace {

bool InRange(const std::string& k, const std::string& key, const std::string& end) {
  if (end.empty()) return k == key;
  if (end == kZeroByte) return k >= key;
  return k >= key && k < end;
}

std::string Encode(const TestPair& p) {
  return std::string(EncodeRecord({.key = p.key, .create_revision = p.create,
                                   .mod_revision = p.mod, .version = p.version, .value = p.value,
                                   .lease = p.lease}).view());
}

}  // namespace

void StoreModel::Put(const std::string& key, const std::string& value, int64_t lease) {
  const auto old = Now(key);
  const int64_t main = revision_ + 1;
  Version version{{main, sub_++}, false, {key, value, main, main, 1, lease}};
  if (old) {
    version.pair.create = old->create;
    version.pair.version = old->version + 1;
  }
  keys_[key].push_back(version);
}

std::vector<TestPair> StoreModel::DeleteRange(const std::string& key, const std::string& end) {
  const std::vector<TestPair> old = Live(key, end, revision_ + 1);
  for (const TestPair& pair : old) {
    keys_[pair.key].push_back({{revision_ + 1, sub_++}, true, {pair.key, "", 0, 0, 0, 0}});
  }
  return old;
}

void StoreModel::EndTxn() {
  if (sub_ > 0) ++revision_;
  sub_ = 0;
}

std::optional<TestPair> StoreModel::At(const std::string& key, int64_t main) const {
  const auto versions = keys_.find(key);
  std::optional<TestPair> result;
  if (versions == keys_.end()) return result;
  for (const Version& v : versions->second) {
    if (v.revision.main > main) break;
    result = v.tombstone ? std::nullopt : std::optional(v.pair);
  }
  return result;
}

std::vector<TestPair> StoreModel::Live(const std::string& key, const std::string& end,
                                       int64_t main) const {
  std::vector<TestPair> result;
  for (const auto& [k, versions] : keys_) {
    if (!InRange(k, key, end)) continue;
    if (const auto pair = At(k, main)) result.push_back(*pair);
  }
  return result;
}

StoreModel::Answer StoreModel::Range(const RangeOptions& o, int64_t main) const {
  Answer answer;
  std::vector<TestPair> all = Live(std::string(o.key), std::string(o.range_end), main);
  answer.count = static_cast<int64_t>(all.size());
  if (o.count_only) return answer;
  const bool filters = o.min_mod_revision != 0 || o.max_mod_revision != 0 ||
                       o.min_create_revision != 0 || o.max_create_revision != 0;
  if (o.sort_order == SortOrder::kNone && !filters && o.limit > 0 &&
      answer.count > o.limit + 1) {
    all.resize(static_cast<size_t>(o.limit) + 1);  // KV-025
  }
  std::erase_if(all, [&](const TestPair& p) {
    return (o.min_mod_revision != 0 && p.mod < o.min_mod_revision) ||
           (o.max_mod_revision != 0 && p.mod > o.max_mod_revision) ||
           (o.min_create_revision != 0 && p.create < o.min_create_revision) ||
           (o.max_create_revision != 0 && p.create > o.max_create_revision);
  });
  const auto less = [&](const TestPair& a, const TestPair& b) {
    switch (o.sort_target) {
      case SortTarget::kKey: return a.key < b.key;
      case SortTarget::kVersion: return a.version < b.version;
      case SortTarget::kCreate: return a.create < b.create;
      case SortTarget::kMod: return a.mod < b.mod;
      case SortTarget::kValue: return a.value < b.value;
    }
    return false;
  };
  std::stable_sort(all.begin(), all.end(), [&](const TestPair& a, const TestPair& b) {
    return o.sort_order == SortOrder::kDescend ? less(b, a) : less(a, b);
  });
  if (o.limit > 0 && static_cast<int64_t>(all.size()) > o.limit) {
    all.resize(static_cast<size_t>(o.limit));
    answer.more = true;
  }
  if (o.keys_only) {
    for (TestPair& p : all) {
      p.value.clear();
      if (o.sort_target != SortTarget::kValue) p.lease = 0;  // KV-021
    }
  }
  answer.pairs = std::move(all);
  return answer;
}

std::optional<uint32_t> StoreModel::HashKv(int64_t rev, int64_t compact_revision) const {
  struct Stored {
    const Version* version;
    bool kept;
  };
  std::map<Revision, Stored> records;
  bool any = false;
  for (const auto& [key, versions] : keys_) {
    const Version* newest = nullptr;
    for (const Version& v : versions) {
      records[v.revision] = {&v, false};
      if (v.revision.main <= rev) newest = &v;
    }
    if (newest == nullptr || newest->tombstone) continue;
    records[newest->revision].kept = true;
    any = true;
  }
  if (!any) return std::nullopt;
  std::string bytes = "key";
  for (const auto& [revision, stored] : records) {
    const Version& v = *stored.version;
    if (revision.main > rev) continue;
    if (revision.main <= compact_revision && !stored.kept) continue;
    if (revision.main == compact_revision && v.tombstone) continue;
    bytes += EncodeRevision(revision, v.tombstone);
    bytes += Encode(v.pair);
  }
  return base::Crc32c(0, bytes);
}

std::map<int64_t, std::set<std::string>> StoreModel::LeasedKeys() const {
  std::map<int64_t, std::set<std::string>> result;
  for (const auto& [key, versions] : keys_) {
    const auto pair = Now(key);
    if (pair && pair->lease != 0) result[pair->lease].insert(key);
  }
  return result;
}

std::vector<std::string> StoreModel::Keys() const {
  std::vector<std::string> result;
  for (const auto& [key, versions] : keys_) result.push_back(key);
  return result;
}

}  // namespace etcdd::mvcc
