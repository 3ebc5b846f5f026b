#include "mvcc/backend/mem_backend.h"

#include <algorithm>
#include <utility>

#include "server/base/check.h"

namespace etcdd::mvcc {
namespace {

// Charged per record, so that many small ones count as they would on a disk.
constexpr uint64_t kRecordOverheadBytes = 32;
// Records copied under the lock at a time, so that a long scan does not hold up writes.
constexpr size_t kScanChunkRecords = 128;

uint64_t RecordBytes(std::string_view key, std::string_view value) {
  return key.size() + value.size() + kRecordOverheadBytes;
}

absl::Status AbsentError() { return absl::NotFoundError("no such record"); }

}  // namespace

class MemBackend::MemBatch : public Batch {
 public:
  struct Operation {
    RecordId record;
    std::optional<std::string> value;
  };

  void Put(Bucket bucket, std::string_view key, std::string_view value) override {
    bytes_ += key.size() + value.size();
    operations_.push_back({{bucket, std::string(key)}, std::string(value)});
  }
  void Delete(Bucket bucket, std::string_view key) override {
    bytes_ += key.size();
    operations_.push_back({{bucket, std::string(key)}, std::nullopt});
  }
  size_t count() const override { return operations_.size(); }
  size_t bytes() const override { return bytes_; }
  void Clear() override {
    operations_.clear();
    bytes_ = 0;
  }

  const std::vector<Operation>& operations() const { return operations_; }

 private:
  std::vector<Operation> operations_;
  size_t bytes_ = 0;
};

class MemBackend::MemView : public View {
 public:
  MemView(const MemBackend* backend, uint64_t sequence) : backend_(backend), sequence_(sequence) {}
  ~MemView() override { backend_->ReleaseView(sequence_); }

  absl::StatusOr<std::string> Get(Bucket bucket, std::string_view key) const override {
    absl::ReaderMutexLock lock(&backend_->mu_);
    const std::string* value = backend_->FindLocked(sequence_, bucket, key);
    if (value == nullptr) return AbsentError();
    return *value;
  }

  absl::Status Scan(
      Bucket bucket, std::string_view begin, std::string_view end,
      absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) const override {
    std::string from(begin);
    std::vector<std::pair<std::string, std::string>> chunk;
    while (CopyChunk(bucket, &from, end, &chunk)) {
      for (const auto& [key, value] : chunk) {
        if (!visit(key, value)) return absl::OkStatus();
      }
    }
    return absl::OkStatus();
  }

 private:
  // Fills `chunk` with the records from *from on and moves *from behind them. False at the end.
  bool CopyChunk(Bucket bucket, std::string* from, std::string_view end,
                 std::vector<std::pair<std::string, std::string>>* chunk) const {
    chunk->clear();
    absl::ReaderMutexLock lock(&backend_->mu_);
    const Records& records = backend_->records(bucket);
    for (auto it = records.lower_bound(*from); it != records.end(); ++it) {
      if (!end.empty() && it->first >= end) break;
      const std::string* value = backend_->FindLocked(sequence_, bucket, it->first);
      if (value == nullptr) continue;
      chunk->emplace_back(it->first, *value);
      if (chunk->size() == kScanChunkRecords) break;
    }
    if (chunk->empty()) return false;
    *from = chunk->back().first;
    from->push_back('\0');  // the smallest key behind it
    return true;
  }

  const MemBackend* const backend_;
  const uint64_t sequence_;
};

MemBackend::~MemBackend() {
  absl::MutexLock lock(&mu_);
  ETCDD_CHECK(views_.empty());
}

std::unique_ptr<Batch> MemBackend::NewBatch() { return std::make_unique<MemBatch>(); }

absl::Status MemBackend::CheckHealthyLocked() const { return failure_; }

absl::Status MemBackend::Write(Batch& batch) {
  const auto& operations = static_cast<MemBatch&>(batch).operations();
  absl::MutexLock lock(&mu_);
  if (absl::Status status = CheckHealthyLocked(); !status.ok()) return status;
  if (fail_write_in_ > 0 && --fail_write_in_ == 0) {
    failure_ = absl::DataLossError("backend write failed: injected fault");
    return failure_;
  }
  ++sequence_;
  std::vector<Undo> undo;
  undo.reserve(operations.size());
  for (const auto& operation : operations) {
    std::optional<std::string> old = SetLocked(sequence_, operation.record, operation.value);
    undo.push_back({operation.record, std::move(old)});
  }
  undo_.push_back(std::move(undo));
  CollectGarbageLocked();
  return absl::OkStatus();
}

std::optional<std::string> MemBackend::SetLocked(uint64_t sequence, const RecordId& record,
                                                 std::optional<std::string> value) {
  Records& bucket = records(record.bucket);
  auto it = bucket.find(record.key);
  if (it == bucket.end()) {
    if (!value.has_value()) return std::nullopt;
    it = bucket.emplace(record.key, Versions()).first;
  }
  Versions& versions = it->second;
  std::optional<std::string> old;
  if (!versions.empty()) old = versions.back().value;
  if (old.has_value()) live_bytes_ -= RecordBytes(record.key, *old);
  if (value.has_value()) live_bytes_ += RecordBytes(record.key, *value);
  live_bytes_max_ = std::max(live_bytes_max_, live_bytes_);

  const bool was_empty = versions.empty();
  const bool is_delete = !value.has_value();
  // A batch that writes a record twice shows the last value only.
  if (!was_empty && versions.back().sequence == sequence) {
    versions.back().value = std::move(value);
  } else {
    versions.push_back({sequence, std::move(value)});
  }
  if (!was_empty || is_delete) garbage_.push_back({sequence, record});
  return old;
}

void MemBackend::CollectGarbageLocked() {
  const uint64_t oldest_view = views_.empty() ? sequence_ : *views_.begin();
  while (!garbage_.empty() && garbage_.front().sequence <= oldest_view) {
    const RecordId record = std::move(garbage_.front().record);
    garbage_.pop_front();
    PruneLocked(record);
  }
}

void MemBackend::PruneLocked(const RecordId& record) {
  Records& bucket = records(record.bucket);
  auto it = bucket.find(record.key);
  if (it == bucket.end()) return;
  Versions& versions = it->second;
  const uint64_t oldest_view = views_.empty() ? sequence_ : *views_.begin();
  // The last version at or below the oldest view hides all before it.
  auto keep = versions.begin();
  for (auto next = versions.begin(); next != versions.end(); ++next) {
    if (next->sequence <= oldest_view) keep = next;
  }
  if (keep->sequence <= oldest_view && !keep->value.has_value()) ++keep;
  versions.erase(versions.begin(), keep);
  if (versions.empty()) bucket.erase(it);
}

const std::string* MemBackend::FindLocked(uint64_t sequence, Bucket bucket,
                                          std::string_view key) const {
  const Records& all = records(bucket);
  auto it = all.find(key);
  if (it == all.end()) return nullptr;
  const Versions& versions = it->second;
  for (auto version = versions.rbegin(); version != versions.rend(); ++version) {
    if (version->sequence > sequence) continue;
    return version->value.has_value() ? &*version->value : nullptr;
  }
  return nullptr;
}

absl::StatusOr<std::string> MemBackend::Get(Bucket bucket, std::string_view key) const {
  absl::ReaderMutexLock lock(&mu_);
  if (absl::Status status = CheckHealthyLocked(); !status.ok()) return status;
  const std::string* value = FindLocked(sequence_, bucket, key);
  if (value == nullptr) return AbsentError();
  return *value;
}

std::unique_ptr<View> MemBackend::NewView() const {
  absl::MutexLock lock(&mu_);
  views_.insert(sequence_);
  return std::make_unique<MemView>(this, sequence_);
}

void MemBackend::ReleaseView(uint64_t sequence) const {
  absl::MutexLock lock(&mu_);
  views_.erase(views_.find(sequence));
}

absl::Status MemBackend::Flush() {
  absl::MutexLock lock(&mu_);
  if (absl::Status status = CheckHealthyLocked(); !status.ok()) return status;
  if (fail_flush_in_ > 0 && --fail_flush_in_ == 0) {
    failure_ = absl::DataLossError("backend flush failed: injected fault");
    return failure_;
  }
  undo_.clear();
  CollectGarbageLocked();
  return absl::OkStatus();
}

void MemBackend::CompactHint(std::string_view /*key_bucket_end*/) {
  absl::MutexLock lock(&mu_);
  live_bytes_max_ = live_bytes_;
}

uint64_t MemBackend::SizeBytes() const {
  absl::ReaderMutexLock lock(&mu_);
  return live_bytes_max_;
}

uint64_t MemBackend::SizeInUseBytes() const {
  absl::ReaderMutexLock lock(&mu_);
  return live_bytes_;
}

size_t MemBackend::unflushed_batches() const {
  absl::ReaderMutexLock lock(&mu_);
  return undo_.size();
}

void MemBackend::Crash(size_t keep_batches) {
  absl::MutexLock lock(&mu_);
  ETCDD_CHECK(views_.empty());
  ++sequence_;
  while (undo_.size() > keep_batches) {
    std::vector<Undo>& batch = undo_.back();
    for (auto undo = batch.rbegin(); undo != batch.rend(); ++undo) {
      SetLocked(sequence_, undo->record, std::move(undo->old_value));
    }
    undo_.pop_back();
  }
  undo_.clear();  // what a crash left is on the disk
  CollectGarbageLocked();
  live_bytes_max_ = live_bytes_;
  fail_write_in_ = 0;
  fail_flush_in_ = 0;
  failure_ = absl::OkStatus();
}

void MemBackend::FailWrite(uint64_t nth) {
  absl::MutexLock lock(&mu_);
  fail_write_in_ = nth;
}

void MemBackend::FailFlush(uint64_t nth) {
  absl::MutexLock lock(&mu_);
  fail_flush_in_ = nth;
}

}  // namespace etcdd::mvcc
