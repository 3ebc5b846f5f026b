#pragma once

// In-memory backends that live in directories of a FaultFileSystem: a directory which is renamed or
// lost takes its backend along, and a crash of the disk is a crash of the backends.

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "mvcc/backend/mem_backend.h"
#include "server/base/status_macros.h"
#include "tests/support/fault_file_system.h"

namespace etcdd::testing {

class BackendDisks {
 public:
  explicit BackendDisks(FaultFileSystem& fs) : fs_(fs) {}

  // Opens the backend in the directory, or makes one.
  absl::StatusOr<std::unique_ptr<mvcc::Backend>> Open(const std::string& path) {
    const std::string id_path = base::JoinPath(path, "ID");
    if (!fs_.Exists(id_path)) ETCDD_RETURN_IF_ERROR(Make(path, id_path));
    ETCDD_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(fs_, id_path));
    int id = 0;
    if (!absl::SimpleAtoi(text, &id)) return absl::DataLossError("torn backend");
    if (auto fault = std::exchange(next_write_fails_, false); fault) disks_[id].FailWrite(1);
    if (auto fault = std::exchange(next_flush_fails_, false); fault) disks_[id].FailFlush(1);
    ++opened_;
    return std::make_unique<Opened>(*this, disks_[id]);
  }

  // The crash of the file system is the caller's. Requires: no backend is open.
  void Crash() {
    for (auto& [id, disk] : disks_) disk.Crash();
    next_write_fails_ = false;
    next_flush_fails_ = false;
  }
  // Of the backend that is opened next.
  void FailNextWrite() { next_write_fails_ = true; }
  void FailNextFlush() { next_flush_fails_ = true; }
  int opened() const { return opened_; }

 private:
  // Passes everything on to a disk, and counts as open. Flushes at the end, as RocksDB does.
  class Opened : public mvcc::Backend {
   public:
    Opened(BackendDisks& disks, mvcc::MemBackend& disk) : disks_(disks), disk_(disk) {}
    ~Opened() override {
      (void)disk_.Flush();
      --disks_.opened_;
    }
    std::unique_ptr<mvcc::Batch> NewBatch() override { return disk_.NewBatch(); }
    absl::Status Write(mvcc::Batch& batch) override { return disk_.Write(batch); }
    absl::StatusOr<std::string> Get(mvcc::Bucket bucket, std::string_view key) const override {
      return disk_.Get(bucket, key);
    }
    std::unique_ptr<mvcc::View> NewView() const override { return disk_.NewView(); }
    absl::Status Flush() override { return disk_.Flush(); }
    void CompactHint(std::string_view end) override { disk_.CompactHint(end); }
    void WhenCompacted(base::Task done) override { disk_.WhenCompacted(std::move(done)); }
    uint64_t SizeBytes() const override { return disk_.SizeBytes(); }
    uint64_t SizeInUseBytes() const override { return disk_.SizeInUseBytes(); }

   private:
    BackendDisks& disks_;
    mvcc::MemBackend& disk_;
  };

  absl::Status Make(const std::string& path, const std::string& id_path) {
    ETCDD_RETURN_IF_ERROR(fs_.CreateDirs(path));
    ETCDD_ASSIGN_OR_RETURN(auto file, fs_.Open(id_path, base::OpenMode::kTruncate));
    const int id = ++last_id_;
    ETCDD_RETURN_IF_ERROR(file->WriteAt(0, absl::StrCat(id)));
    ETCDD_RETURN_IF_ERROR(file->Sync());
    return fs_.SyncDir(path);
  }

  FaultFileSystem& fs_;
  std::map<int, mvcc::MemBackend> disks_;  // by the number in the directory's file ID
  int last_id_ = 0;
  int opened_ = 0;
  bool next_write_fails_ = false;
  bool next_flush_fails_ = false;
};

}  // namespace etcdd::testing
