#include "tests/support/fault_file_system.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace etcdd::testing {

using base::OpenMode;

// A file or a directory. A directory remembers its durable entries and the changes since, each a
// set of names that change together.
struct FaultFileSystem::Node {
  using Entries = std::map<std::string, NodePointer, std::less<>>;
  // Name -> what it names after the change; nullptr: nothing.
  using Change = std::vector<std::pair<std::string, NodePointer>>;

  explicit Node(bool directory) : is_directory(directory) {}

  void Apply(Change change) {
    ApplyTo(change, &entries);
    pending.push_back(std::move(change));
  }
  static void ApplyTo(const Change& change, Entries* to) {
    for (const auto& [name, node] : change) {
      if (node == nullptr) {
        to->erase(name);
      } else {
        to->insert_or_assign(name, node);
      }
    }
  }
  // Makes the first `count` changes durable.
  void Persist(size_t count) {
    for (size_t i = 0; i < count; ++i) ApplyTo(pending[i], &durable);
    pending.erase(pending.begin(), pending.begin() + static_cast<ptrdiff_t>(count));
  }

  const bool is_directory;
  MemoryFile file;
  const void* lock_owner = nullptr;
  Entries entries;
  Entries durable;
  std::vector<Change> pending;
};

// Where a path leads: the directory of its last name (nullptr when absent) and what is there.
struct FaultFileSystem::Place {
  NodePointer parent;
  std::string name;
  NodePointer node;
};

namespace {

std::vector<std::string> Split(std::string_view path) {
  std::vector<std::string> names;
  while (!path.empty()) {
    const size_t end = std::min(path.find('/'), path.size());
    const std::string_view name = path.substr(0, end);
    if (!name.empty() && name != ".") names.emplace_back(name);
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return names;
}

absl::Status Fail(absl::StatusCode code, std::string_view act, std::string_view path,
                  std::string_view text) {
  return absl::Status(code, absl::StrCat(std::string(act), " ", std::string(path), ": ",
                                         std::string(text)));
}

absl::Status Absent(std::string_view act, std::string_view path) {
  return Fail(absl::StatusCode::kNotFound, act, path, "No such file or directory");
}

absl::Status DiskFull(std::string_view act, std::string_view path) {
  return Fail(absl::StatusCode::kResourceExhausted, act, path, "No space left on device");
}

const char* OpText(FileOp op) {
  static constexpr const char* kTexts[kFileOpCount] = {
      "open", "read",   "write",  "fdatasync", "truncate", "fallocate",
      "lock", "rename", "remove", "mkdir",     "list",     "fsync"};
  return kTexts[static_cast<size_t>(op)];
}

}  // namespace

// One open file. Its life is bounded by its file system's.
class FaultFile final : public base::File {
 public:
  FaultFile(FaultFileSystem* fs, FaultFileSystem::NodePointer node, std::string path, bool writable,
            uint64_t generation)
      : fs_(fs),
        node_(std::move(node)),
        path_(std::move(path)),
        writable_(writable),
        generation_(generation) {}

  ~FaultFile() override {
    absl::MutexLock lock(&fs_->mutex_);
    if (node_->lock_owner == this) node_->lock_owner = nullptr;
  }

  absl::Status ReadAt(uint64_t offset, size_t size, std::string* out) override {
    absl::MutexLock lock(&fs_->mutex_);
    out->clear();
    ETCDD_RETURN_IF_ERROR(Begin(FileOp::kRead, Range(offset, size)));
    *out = node_->file.Read(offset, size);
    return absl::OkStatus();
  }

  using base::File::WriteAt;
  absl::Status WriteAt(uint64_t offset, absl::Span<const std::string_view> pieces) override {
    absl::MutexLock lock(&fs_->mutex_);
    std::string data;
    for (const std::string_view piece : pieces) data.append(piece);
    uint64_t written_bytes = 0;
    const absl::Status begun =
        Begin(FileOp::kWrite, Range(offset, data.size()), &written_bytes);
    if (!begun.ok()) {
      // A write into a file of another life leaves nothing; an injected failure may.
      node_->file.Write(offset, std::string_view(data).substr(0, written_bytes));
      return begun;
    }
    if (!writable_) return NotWritable("write");
    const uint64_t end = offset + data.size();
    const uint64_t size = node_->file.size();
    if (end > size && end - size > fs_->FreeBytes()) {
      const uint64_t reach = size + fs_->FreeBytes();
      node_->file.Write(offset, std::string_view(data).substr(0, reach - std::min(reach, offset)));
      return DiskFull("write", path_);
    }
    node_->file.Write(offset, data);
    fs_->Changed();
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    absl::MutexLock lock(&fs_->mutex_);
    const absl::Status begun = Begin(FileOp::kSync, "");
    if (!begun.ok()) {
      if (generation_ == fs_->generation_) node_->file.FailSync();
      return begun;
    }
    node_->file.Sync();
    fs_->Changed();
    return absl::OkStatus();
  }

  absl::Status Truncate(uint64_t size) override {
    absl::MutexLock lock(&fs_->mutex_);
    ETCDD_RETURN_IF_ERROR(Begin(FileOp::kTruncate, absl::StrCat(size)));
    if (!writable_) return NotWritable("truncate");
    const uint64_t now = node_->file.size();
    if (size > now && size - now > fs_->FreeBytes()) return DiskFull("truncate", path_);
    node_->file.Resize(size);
    fs_->Changed();
    return absl::OkStatus();
  }

  absl::Status Preallocate(uint64_t size) override {
    absl::MutexLock lock(&fs_->mutex_);
    ETCDD_RETURN_IF_ERROR(Begin(FileOp::kPreallocate, absl::StrCat(size)));
    if (!writable_) return NotWritable("fallocate");
    const uint64_t now = node_->file.size();
    if (size <= now) return absl::OkStatus();
    if (size - now > fs_->FreeBytes()) return DiskFull("fallocate", path_);
    node_->file.Resize(size);
    fs_->Changed();
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Size() override {
    absl::MutexLock lock(&fs_->mutex_);
    ETCDD_RETURN_IF_ERROR(CheckAlive("stat"));
    return node_->file.size();
  }

  absl::StatusOr<bool> TryLock() override {
    absl::MutexLock lock(&fs_->mutex_);
    ETCDD_RETURN_IF_ERROR(Begin(FileOp::kLock, ""));
    if (!writable_) return NotWritable("lock");
    if (node_->lock_owner != nullptr && node_->lock_owner != this) return false;
    node_->lock_owner = this;
    return true;
  }

 private:
  static std::string Range(uint64_t offset, size_t size) { return absl::StrCat(offset, "+", size); }

  absl::Status Begin(FileOp op, const std::string& detail, uint64_t* written_bytes = nullptr)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(fs_->mutex_) {
    ETCDD_RETURN_IF_ERROR(CheckAlive(OpText(op)));
    return fs_->Begin(op, path_, detail, written_bytes);
  }
  absl::Status CheckAlive(const char* act) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(fs_->mutex_) {
    if (generation_ == fs_->generation_) return absl::OkStatus();
    return Fail(absl::StatusCode::kAborted, act, path_, "opened before the crash");
  }
  absl::Status NotWritable(const char* act) const {
    return Fail(absl::StatusCode::kInternal, act, path_, "Bad file descriptor");
  }

  FaultFileSystem* const fs_;
  const FaultFileSystem::NodePointer node_;
  const std::string path_;
  const bool writable_;
  const uint64_t generation_;
};

FaultFileSystem::FaultFileSystem() : root_(std::make_shared<Node>(true)) {}
FaultFileSystem::~FaultFileSystem() = default;

absl::StatusOr<std::unique_ptr<base::File>> FaultFileSystem::Open(const std::string& path,
                                                                  OpenMode mode) {
  absl::MutexLock lock(&mutex_);
  static constexpr const char* kModes[] = {"read", "read-write", "create", "truncate"};
  ETCDD_RETURN_IF_ERROR(Begin(FileOp::kOpen, path, kModes[static_cast<size_t>(mode)]));
  const bool creates = mode == OpenMode::kCreate || mode == OpenMode::kTruncate;
  Place place = Locate(path);
  if (place.node == nullptr) {
    if (!creates || place.parent == nullptr) return Absent("open", path);
    place.node = std::make_shared<Node>(false);
    place.parent->Apply({{place.name, place.node}});
    Changed();
  } else if (place.node->is_directory) {
    return Fail(absl::StatusCode::kInternal, "open", path, "Is a directory");
  } else if (mode == OpenMode::kTruncate) {
    place.node->file.Resize(0);
    Changed();
  }
  return std::make_unique<FaultFile>(this, place.node, path, mode != OpenMode::kRead, generation_);
}

absl::Status FaultFileSystem::Rename(const std::string& from, const std::string& to) {
  absl::MutexLock lock(&mutex_);
  ETCDD_RETURN_IF_ERROR(Begin(FileOp::kRename, from, to));
  const std::string both = absl::StrCat(from, " to ", to);
  const Place source = Locate(from);
  const Place target = Locate(to);
  if (source.node == nullptr || target.parent == nullptr) return Absent("rename", both);
  if (source.node == target.node) return absl::OkStatus();
  if (source.node == root_ || target.node == root_) {
    return Fail(absl::StatusCode::kInternal, "rename", both, "Device or resource busy");
  }
  if (target.node != nullptr) {
    if (target.node->is_directory != source.node->is_directory) {
      return Fail(absl::StatusCode::kInternal, "rename", both,
                  target.node->is_directory ? "Is a directory" : "Not a directory");
    }
    if (!target.node->entries.empty()) {
      return Fail(absl::StatusCode::kInternal, "rename", both, "Directory not empty");
    }
  }
  const std::vector<std::string> from_names = Split(from);
  const std::vector<std::string> to_names = Split(to);
  if (to_names.size() > from_names.size() &&
      std::equal(from_names.begin(), from_names.end(), to_names.begin())) {
    return Fail(absl::StatusCode::kInternal, "rename", both, "Invalid argument");
  }
  if (source.parent == target.parent) {
    source.parent->Apply({{source.name, nullptr}, {target.name, source.node}});
  } else {
    target.parent->Apply({{target.name, source.node}});
    source.parent->Apply({{source.name, nullptr}});
  }
  Changed();
  return absl::OkStatus();
}

absl::Status FaultFileSystem::RemoveFile(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  ETCDD_RETURN_IF_ERROR(Begin(FileOp::kRemove, path, ""));
  const Place place = Locate(path);
  if (place.node == nullptr) return Absent("remove", path);
  if (place.node->is_directory) {
    return Fail(absl::StatusCode::kInternal, "remove", path, "Is a directory");
  }
  place.parent->Apply({{place.name, nullptr}});
  Changed();
  return absl::OkStatus();
}

absl::Status FaultFileSystem::RemoveTree(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  ETCDD_RETURN_IF_ERROR(Begin(FileOp::kRemove, path, "tree"));
  const Place place = Locate(path);
  if (place.node == nullptr) return absl::OkStatus();
  if (place.parent == nullptr) {
    return Fail(absl::StatusCode::kInternal, "remove", path, "Device or resource busy");
  }
  place.parent->Apply({{place.name, nullptr}});
  Changed();
  return absl::OkStatus();
}

absl::Status FaultFileSystem::CreateDirs(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  ETCDD_RETURN_IF_ERROR(Begin(FileOp::kCreateDirs, path, ""));
  NodePointer at = root_;
  bool made = false;
  for (const std::string& name : Split(path)) {
    NodePointer next;
    const auto found = at->entries.find(name);
    if (found != at->entries.end()) {
      next = found->second;
      if (!next->is_directory) {
        return Fail(absl::StatusCode::kInternal, "mkdir", path, "Not a directory");
      }
    } else {
      next = std::make_shared<Node>(true);
      at->Apply({{name, next}});
      made = true;
    }
    at = next;
  }
  if (made) Changed();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> FaultFileSystem::List(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  ETCDD_RETURN_IF_ERROR(Begin(FileOp::kList, path, ""));
  const NodePointer node = Find(path);
  if (node == nullptr) return Absent("open", path);
  if (!node->is_directory) {
    return Fail(absl::StatusCode::kNotFound, "open", path, "Not a directory");
  }
  std::vector<std::string> names;
  for (const auto& [name, child] : node->entries) names.push_back(name);
  return names;
}

bool FaultFileSystem::Exists(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  return Find(path) != nullptr;
}

absl::Status FaultFileSystem::SyncDir(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  ETCDD_RETURN_IF_ERROR(Begin(FileOp::kSyncDir, path, ""));
  const NodePointer node = Find(path);
  if (node == nullptr) return Absent("open", path);
  if (!node->is_directory) {
    return Fail(absl::StatusCode::kNotFound, "open", path, "Not a directory");
  }
  node->Persist(node->pending.size());
  Changed();
  return absl::OkStatus();
}

absl::Status FaultFileSystem::CheckWritable(const std::string& path) {
  const std::string probe = base::JoinPath(path, ".touch");
  ETCDD_RETURN_IF_ERROR(Open(probe, OpenMode::kTruncate).status());
  return RemoveFile(probe);
}

void FaultFileSystem::Crash() {
  absl::MutexLock lock(&mutex_);
  CrashTree(nullptr);
}

void FaultFileSystem::CrashAtRandom(base::Random& random) {
  absl::MutexLock lock(&mutex_);
  CrashTree(&random);
}

void FaultFileSystem::KillProcess() {
  absl::MutexLock lock(&mutex_);
  EndProcess();
}

void FaultFileSystem::PowerOffAfter(uint64_t operations) {
  absl::MutexLock lock(&mutex_);
  changes_left_ = operations;
}

void FaultFileSystem::SyncAll() {
  absl::MutexLock lock(&mutex_);
  const std::function<void(Node&)> visit = [&visit](Node& node) {
    node.file.Sync();
    node.Persist(node.pending.size());
    for (const auto& [name, child] : node.entries) visit(*child);
  };
  visit(*root_);
}

void FaultFileSystem::Inject(FileFault fault) {
  ETCDD_CHECK(fault.nth > 0);
  ETCDD_CHECK(!fault.error.ok());
  absl::MutexLock lock(&mutex_);
  faults_.push_back(std::move(fault));
}

void FaultFileSystem::ClearFaults() {
  absl::MutexLock lock(&mutex_);
  faults_.clear();
}

void FaultFileSystem::SetCapacity(std::optional<uint64_t> bytes) {
  absl::MutexLock lock(&mutex_);
  capacity_bytes_ = bytes;
}

void FaultFileSystem::Corrupt(const std::string& path, uint64_t offset, uint8_t xor_mask) {
  absl::MutexLock lock(&mutex_);
  const NodePointer node = Find(path);
  ETCDD_CHECK_MSG(node != nullptr && !node->is_directory, path);
  node->file.Corrupt(offset, xor_mask);
}

uint64_t FaultFileSystem::Count(FileOp op) const {
  absl::MutexLock lock(&mutex_);
  return counts_[static_cast<size_t>(op)];
}

uint64_t FaultFileSystem::changes() const {
  absl::MutexLock lock(&mutex_);
  return changes_;
}

uint64_t FaultFileSystem::used_bytes() const {
  absl::MutexLock lock(&mutex_);
  return UsedBytes();
}

bool FaultFileSystem::HasUnsynced() const {
  absl::MutexLock lock(&mutex_);
  const std::function<bool(const Node&)> unsynced = [&unsynced](const Node& node) {
    return node.file.HasUnsynced() || !node.pending.empty() ||
           std::any_of(node.entries.begin(), node.entries.end(),
                       [&](const auto& entry) { return unsynced(*entry.second); });
  };
  return unsynced(*root_);
}

void FaultFileSystem::EnableTrace() {
  absl::MutexLock lock(&mutex_);
  trace_enabled_ = true;
}

std::vector<std::string> FaultFileSystem::trace() const {
  absl::MutexLock lock(&mutex_);
  return trace_;
}

absl::Status FaultFileSystem::Begin(FileOp op, std::string_view path, std::string_view detail,
                                    uint64_t* written_bytes) {
  ++counts_[static_cast<size_t>(op)];
  if (trace_enabled_) {
    std::string line = absl::StrCat(OpText(op), " ", std::string(path));
    if (!detail.empty()) absl::StrAppend(&line, " ", std::string(detail));
    trace_.push_back(std::move(line));
  }
  if (changes_left_ == 0) {
    return Fail(absl::StatusCode::kUnavailable, OpText(op), path, "the power is off");
  }
  for (auto fault = faults_.begin(); fault != faults_.end(); ++fault) {
    if (fault->op != op) continue;
    // A rename's target stands in the detail.
    if (path.find(fault->path_part) == std::string_view::npos &&
        detail.find(fault->path_part) == std::string_view::npos) {
      continue;
    }
    if (fault->nth > 1) {
      --fault->nth;
      continue;
    }
    if (written_bytes != nullptr) *written_bytes = fault->written_bytes;
    const absl::Status error =
        Fail(fault->error.code(), OpText(op), path,
             std::string_view(fault->error.message().data(), fault->error.message().size()));
    if (!fault->for_ever) faults_.erase(fault);
    return error;
  }
  return absl::OkStatus();
}

void FaultFileSystem::Changed() {
  ++changes_;
  if (changes_left_.has_value()) --*changes_left_;
}

FaultFileSystem::NodePointer FaultFileSystem::Find(std::string_view path) const {
  return Locate(path).node;
}

FaultFileSystem::Place FaultFileSystem::Locate(std::string_view path) const {
  Place place{nullptr, "", root_};
  for (std::string& name : Split(path)) {
    if (place.node == nullptr || !place.node->is_directory) return {nullptr, "", nullptr};
    place.parent = place.node;
    const auto found = place.parent->entries.find(name);
    place.node = found == place.parent->entries.end() ? nullptr : found->second;
    place.name = std::move(name);
  }
  return place;
}

// Ends open files and locks, and what was set up against the old process.
void FaultFileSystem::EndProcess() {
  ++generation_;
  faults_.clear();
  changes_left_.reset();
  const std::function<void(Node&)> unlock = [&unlock](Node& node) {
    node.lock_owner = nullptr;
    for (const auto& [name, child] : node.entries) unlock(*child);
  };
  unlock(*root_);
}

void FaultFileSystem::CrashTree(base::Random* random) {
  EndProcess();
  const std::function<void(Node&)> visit = [&visit, random](Node& node) {
    node.lock_owner = nullptr;
    if (!node.is_directory) {
      if (random == nullptr) {
        node.file.Crash();
      } else {
        node.file.CrashAtRandom(*random);
      }
      return;
    }
    if (random != nullptr && !node.pending.empty()) {
      node.Persist(static_cast<size_t>(random->Uniform(node.pending.size() + 1)));
    }
    node.pending.clear();
    node.entries = node.durable;
    for (const auto& [name, child] : node.entries) visit(*child);
  };
  visit(*root_);
}

uint64_t FaultFileSystem::UsedBytes() const {
  const std::function<uint64_t(const Node&)> sum = [&sum](const Node& node) {
    uint64_t bytes = node.file.size();
    for (const auto& [name, child] : node.entries) bytes += sum(*child);
    return bytes;
  };
  return sum(*root_);
}

uint64_t FaultFileSystem::FreeBytes() const {
  if (!capacity_bytes_.has_value()) return UINT64_MAX;
  const uint64_t used = UsedBytes();
  return used >= *capacity_bytes_ ? 0 : *capacity_bytes_ - used;
}

}  // namespace etcdd::testing
