#include "tests/sim/sim_disk.h"

#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace etcdd::sim {
namespace {

// A file whose Sync takes the disk's time.
class SimFile final : public base::File {
 public:
  SimFile(SimDisk* disk, std::unique_ptr<base::File> file)
      : disk_(disk), file_(std::move(file)) {}

  absl::Status ReadAt(uint64_t offset, size_t size, std::string* out) override {
    return file_->ReadAt(offset, size, out);
  }
  using base::File::WriteAt;
  absl::Status WriteAt(uint64_t offset, absl::Span<const std::string_view> pieces) override {
    return file_->WriteAt(offset, pieces);
  }
  absl::Status Sync() override {
    disk_->ChargeSync();
    return file_->Sync();
  }
  absl::Status Truncate(uint64_t size) override { return file_->Truncate(size); }
  absl::Status Preallocate(uint64_t size) override { return file_->Preallocate(size); }
  absl::StatusOr<uint64_t> Size() override { return file_->Size(); }
  absl::StatusOr<bool> TryLock() override { return file_->TryLock(); }

 private:
  SimDisk* const disk_;
  const std::unique_ptr<base::File> file_;
};

// Passes everything on to one of the disk's backends. A flush takes the disk's time.
class OpenedBackend final : public mvcc::Backend {
 public:
  OpenedBackend(SimDisk* disk, mvcc::MemBackend* backend) : disk_(disk), backend_(backend) {}

  std::unique_ptr<mvcc::Batch> NewBatch() override { return backend_->NewBatch(); }
  absl::Status Write(mvcc::Batch& batch) override { return backend_->Write(batch); }
  absl::StatusOr<std::string> Get(mvcc::Bucket bucket, std::string_view key) const override {
    return backend_->Get(bucket, key);
  }
  std::unique_ptr<mvcc::View> NewView() const override { return backend_->NewView(); }
  absl::Status Flush() override {
    disk_->ChargeSync();
    return backend_->Flush();
  }
  void CompactHint(std::string_view end) override { backend_->CompactHint(end); }
  void WhenCompacted(base::Task done) override { backend_->WhenCompacted(std::move(done)); }
  uint64_t SizeBytes() const override { return backend_->SizeBytes(); }
  uint64_t SizeInUseBytes() const override { return backend_->SizeInUseBytes(); }

 private:
  SimDisk* const disk_;
  mvcc::MemBackend* const backend_;
};

}  // namespace

SimDisk::SimDisk(Scheduler* scheduler, uint64_t seed)
    : scheduler_(scheduler), random_(base::NewSeededRandom(seed)) {
  Wipe();
}

void SimDisk::Wipe() {
  files_ = std::make_unique<testing::FaultFileSystem>();
  backends_.clear();
  full_ = false;
  faulty_ = false;
}

absl::StatusOr<std::unique_ptr<mvcc::Backend>> SimDisk::OpenBackend(const std::string& path) {
  const std::string id_path = base::JoinPath(path, "ID");
  if (!Exists(id_path)) ETCDD_RETURN_IF_ERROR(MakeBackend(path, id_path));
  ETCDD_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(*this, id_path));
  int id = 0;
  if (!absl::SimpleAtoi(text, &id)) return absl::DataLossError("torn backend");
  return std::make_unique<OpenedBackend>(this, &backends_[id]);
}

absl::Status SimDisk::MakeBackend(const std::string& path, const std::string& id_path) {
  ETCDD_RETURN_IF_ERROR(CreateDirs(path));
  ETCDD_ASSIGN_OR_RETURN(auto file, Open(id_path, base::OpenMode::kTruncate));
  ETCDD_RETURN_IF_ERROR(file->WriteAt(0, absl::StrCat(++last_backend_)));
  ETCDD_RETURN_IF_ERROR(file->Sync());
  ETCDD_RETURN_IF_ERROR(SyncDir(path));
  return SyncDir(std::string(path.substr(0, path.rfind('/'))));
}

void SimDisk::ChargeSync() {
  const int64_t span = absl::ToInt64Nanoseconds(speed_.sync_max - speed_.sync_min);
  absl::Duration took =
      speed_.sync_min +
      absl::Nanoseconds(random_->Uniform(static_cast<uint64_t>(span > 0 ? span : 1)));
  if (speed_.stall_one_in > 0 && random_->Uniform(speed_.stall_one_in) == 0) {
    took += speed_.stall_max / 100 * static_cast<int64_t>(random_->Uniform(100));
  }
  scheduler_->Charge(took);
}

void SimDisk::FailSoon(testing::FileFault fault) {
  faulty_ = true;
  files_->Inject(std::move(fault));
}

void SimDisk::LosePowerAfter(uint64_t writes) {
  faulty_ = true;
  files_->PowerOffAfter(writes);
}

void SimDisk::SetRoom(uint64_t bytes) {
  full_ = true;
  files_->SetCapacity(files_->used_bytes() + bytes);
}

void SimDisk::Repair() {
  if (full_ || faulty_) repaired_at_ = scheduler_->Now();
  full_ = false;
  faulty_ = false;
  files_->SetCapacity(std::nullopt);
  files_->ClearFaults();
  files_->PowerOffAfter(std::numeric_limits<uint64_t>::max());
  speed_ = {};
}

void SimDisk::CrashBackends() {
  faulty_ = false;
  // RocksDB may have flushed by itself, up to any batch.
  for (auto& [id, backend] : backends_) {
    backend.Crash(random_->Uniform(backend.unflushed_batches() + 1));
  }
}

void SimDisk::Freeze() { files_->PowerOffAfter(0); }

void SimDisk::KillProcess() {
  files_->KillProcess();
  CrashBackends();
}

void SimDisk::PowerOff() {
  if (random_->Uniform(3) == 0) {
    files_->Crash();
  } else {
    files_->CrashAtRandom(*random_);
  }
  CrashBackends();
}

absl::StatusOr<std::unique_ptr<base::File>> SimDisk::Open(const std::string& path,
                                                          base::OpenMode mode) {
  auto file = files_->Open(path, mode);
  if (!file.ok()) return file.status();
  return std::make_unique<SimFile>(this, *std::move(file));
}

absl::Status SimDisk::Rename(const std::string& from, const std::string& to) {
  return files_->Rename(from, to);
}
absl::Status SimDisk::RemoveFile(const std::string& path) { return files_->RemoveFile(path); }
absl::Status SimDisk::RemoveTree(const std::string& path) { return files_->RemoveTree(path); }
absl::Status SimDisk::CreateDirs(const std::string& path) { return files_->CreateDirs(path); }
absl::StatusOr<std::vector<std::string>> SimDisk::List(const std::string& path) {
  return files_->List(path);
}
bool SimDisk::Exists(const std::string& path) { return files_->Exists(path); }
absl::Status SimDisk::SyncDir(const std::string& path) {
  ChargeSync();
  return files_->SyncDir(path);
}
absl::Status SimDisk::CheckWritable(const std::string& path) {
  return files_->CheckWritable(path);
}

}  // namespace etcdd::sim
