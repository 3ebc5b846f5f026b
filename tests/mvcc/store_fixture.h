#pragma once

// A store on an in-memory disk, spoken to in whole batches: one call, one batch, one transaction.

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "mvcc/backend/mem_backend.h"
#include "mvcc/record.h"
#include "mvcc/store.h"
#include "server/base/coding.h"

namespace etcdd::mvcc {

inline const std::string kZeroByte(1, '\0');

// One pair, decoded.
struct TestPair {
  std::string key;
  std::string value;
  int64_t create = 0;
  int64_t mod = 0;
  int64_t version = 0;
  int64_t lease = 0;
  friend auto operator<=>(const TestPair&, const TestPair&) = default;
};

inline std::ostream& operator<<(std::ostream& out, const TestPair& p) {
  return out << p.key << "=" << p.value << " create " << p.create << " mod " << p.mod
             << " version " << p.version << " lease " << p.lease;
}

inline TestPair DecodePair(std::string_view record) {
  const auto f = DecodeRecord(record);
  EXPECT_TRUE(f.has_value());
  if (!f) return {};
  return {std::string(f->key), std::string(f->value), f->create_revision, f->mod_revision,
          f->version, f->lease};
}

// The fields with this tag of a reply's bytes; anything else is a failure.
inline std::vector<TestPair> DecodePairs(std::string_view bytes, uint32_t field = 2) {
  std::vector<TestPair> pairs;
  while (!bytes.empty()) {
    const auto tag = base::TakeVarint(&bytes);
    const auto size = base::TakeVarint(&bytes);
    EXPECT_TRUE(tag && size && *tag == base::BytesTag(field) && *size <= bytes.size());
    if (!tag || !size || *size > bytes.size()) return pairs;
    pairs.push_back(DecodePair(bytes.substr(0, static_cast<size_t>(*size))));
    bytes.remove_prefix(static_cast<size_t>(*size));
  }
  return pairs;
}

// Knows some leases and which keys hang on them.
class FakeLeases : public LeaseAttacher {
 public:
  void Grant(int64_t id) { keys_[id]; }
  void Revoke(int64_t id) { keys_.erase(id); }
  bool Exists(int64_t id) const override { return keys_.contains(id); }
  void Attach(int64_t id, std::string_view key) override {
    if (Exists(id)) keys_[id].insert(std::string(key));
  }
  void Detach(int64_t id, std::string_view key) override {
    if (Exists(id)) keys_[id].erase(std::string(key));
  }
  // As after a restart: the leases are there, nothing hangs on them.
  void ForgetKeys() {
    for (auto& [id, keys] : keys_) keys.clear();
  }
  const std::map<int64_t, std::set<std::string>>& keys() const { return keys_; }

 private:
  std::map<int64_t, std::set<std::string>> keys_;
};

class RecordedEvents : public EventObserver {
 public:
  void OnRevision(RevisionEvents events) override { all.push_back(std::move(events)); }
  std::vector<RevisionEvents> all;
};

class StoreFixture : public ::testing::Test {
 protected:
  StoreFixture() { Open(); }
  ~StoreFixture() override {
    if (store_ != nullptr) store_->CheckInvariants();
  }

  void Open() {
    store_.reset();
    leases_.ForgetKeys();
    auto opened = Store::Open(disk_, &leases_, options_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
    store_->SetObserver(&events_);
    store_->CheckInvariants();
  }

  // Runs `work` in a batch of its own, which is then written and finished.
  template <typename Work>
  void InBatch(Work&& work) {
    const std::unique_ptr<Batch> batch = disk_->NewBatch();
    store_->BeginBatch(batch.get());
    work();
    ASSERT_TRUE(disk_->Write(*batch).ok());
    store_->FinishBatch();
  }
  // Runs `work(WriteTxn&)` as one transaction in one batch; returns the revision.
  template <typename Work>
  int64_t InTxn(Work&& work) {
    int64_t revision = 0;
    InBatch([&] {
      WriteTxn txn = store_->NewWriteTxn();
      work(txn);
      revision = txn.End();
    });
    return revision;
  }
  int64_t Put(std::string_view key, std::string_view value, const PutOptions& options = {}) {
    return InTxn([&](WriteTxn& txn) { EXPECT_TRUE(txn.Put(key, value, options).ok()); });
  }
  int64_t Delete(std::string_view key, std::string_view end = {}) {
    return InTxn([&](WriteTxn& txn) { EXPECT_TRUE(txn.DeleteRange(key, end).ok()); });
  }
  absl::Status Schedule(int64_t rev) {
    absl::Status status;
    InBatch([&] { status = store_->ScheduleCompaction(rev); });
    return status;
  }
  // Runs the removal to its end, or at most so many steps; says whether it ended.
  bool Remove(int steps_max = 1 << 30) {
    const std::unique_ptr<Compaction> compaction = store_->NewCompaction();
    if (compaction == nullptr) return true;
    for (int i = 0; i < steps_max; ++i) {
      const std::unique_ptr<Batch> batch = disk_->NewBatch();
      const absl::StatusOr<bool> more = compaction->Step(batch.get());
      EXPECT_TRUE(more.ok()) << more.status();
      EXPECT_TRUE(disk_->Write(*batch).ok());
      if (!more.ok() || *more) continue;
      compaction->Finish();
      return true;
    }
    return false;
  }
  void Compact(int64_t rev) {
    ASSERT_TRUE(Schedule(rev).ok());
    ASSERT_TRUE(Remove());
  }

  struct Answer {
    absl::Status status;
    RangeResult result;
    std::vector<TestPair> pairs;
    std::string keys() const {
      std::string all;
      for (const TestPair& pair : pairs) all += (all.empty() ? "" : " ") + pair.key;
      return all;
    }
  };
  Answer Range(const RangeOptions& options) const {
    Answer answer;
    std::string kvs;
    const auto result = store_->Range(options, &kvs);
    answer.status = result.status();
    if (!result.ok()) return answer;
    answer.result = *result;
    answer.pairs = DecodePairs(kvs);
    EXPECT_EQ(answer.result.kvs_count, static_cast<int64_t>(answer.pairs.size()));
    return answer;
  }
  Answer All(int64_t revision = 0) const {
    return Range({.key = kZeroByte, .range_end = kZeroByte, .revision = revision});
  }
  size_t StoredRecords() const {
    size_t count = 0;
    EXPECT_TRUE(disk_->NewView()
                    ->Scan(Bucket::kKey, {}, {}, [&](std::string_view, std::string_view) {
                      ++count;
                      return true;
                    }).ok());
    return count;
  }

  std::shared_ptr<MemBackend> disk_ = std::make_shared<MemBackend>();
  FakeLeases leases_;
  RecordedEvents events_;
  StoreOptions options_;
  std::unique_ptr<Store> store_;
};

}  // namespace etcdd::mvcc
