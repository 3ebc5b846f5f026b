// FileSystem on Linux system calls.

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/file_system.h"
#include "server/base/status_macros.h"

namespace etcdd::base {
namespace {

constexpr mode_t kFileMode = 0600;
constexpr mode_t kDirectoryMode = 0700;
// Linux takes at most IOV_MAX pieces a call.
constexpr size_t kPiecesPerCallMax = 1024;

absl::Status SystemError(int error, const char* act, const std::string& path) {
  absl::StatusCode code = absl::StatusCode::kInternal;
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      code = absl::StatusCode::kNotFound;
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      code = absl::StatusCode::kPermissionDenied;
      break;
    case ENOSPC:
    case EDQUOT:
      code = absl::StatusCode::kResourceExhausted;
      break;
    default:
      break;
  }
  return absl::Status(code,
                      absl::StrCat(act, " ", path, ": ", std::system_category().message(error)));
}

// Calls `call` until it is not interrupted by a signal.
template <typename Call>
auto Retry(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

class PosixFile final : public File {
 public:
  PosixFile(Descriptor fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  absl::Status ReadAt(uint64_t offset, size_t size, std::string* out) override {
    out->resize(size);
    size_t done = 0;
    while (done < size) {
      const ssize_t got = Retry([&] {
        return pread(fd_.get(), out->data() + done, size - done,
                     static_cast<off_t>(offset + done));
      });
      if (got < 0) {
        const int error = errno;
        out->clear();
        return SystemError(error, "read", path_);
      }
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    out->resize(done);
    return absl::OkStatus();
  }

  absl::Status WriteAt(uint64_t offset, absl::Span<const std::string_view> pieces) override {
    iovec batch[kPiecesPerCallMax];
    size_t next = 0;
    while (next < pieces.size()) {
      size_t count = 0;
      for (; next < pieces.size() && count < kPiecesPerCallMax; ++next) {
        if (pieces[next].empty()) continue;
        // pwritev only reads through this pointer, its type just cannot say so.
        batch[count++] = {const_cast<char*>(pieces[next].data()), pieces[next].size()};
      }
      ETCDD_RETURN_IF_ERROR(WriteBatch(batch, count, &offset));
    }
    return absl::OkStatus();
  }
  using File::WriteAt;

  absl::Status Sync() override {
    if (Retry([&] { return fdatasync(fd_.get()); }) != 0) {
      return SystemError(errno, "fdatasync", path_);
    }
    return absl::OkStatus();
  }

  absl::Status Truncate(uint64_t size) override {
    if (Retry([&] { return ftruncate(fd_.get(), static_cast<off_t>(size)); }) != 0) {
      return SystemError(errno, "truncate", path_);
    }
    return absl::OkStatus();
  }

  absl::Status Preallocate(uint64_t size) override {
    if (size == 0) return absl::OkStatus();
    if (fallocate(fd_.get(), 0, 0, static_cast<off_t>(size)) == 0) return absl::OkStatus();
    const int error = errno;
    // Some file systems cannot reserve, and a reservation that is always interrupted would never
    // end: then at least the size is right.
    if (error != ENOTSUP && error != ENOSYS && error != EINTR) {
      return SystemError(error, "fallocate", path_);
    }
    ETCDD_ASSIGN_OR_RETURN(const uint64_t size_now, Size());
    return size_now < size ? Truncate(size) : absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Size() override {
    struct stat info {};
    if (fstat(fd_.get(), &info) != 0) return SystemError(errno, "stat", path_);
    return static_cast<uint64_t>(info.st_size);
  }

  absl::StatusOr<bool> TryLock() override {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;  // with start 0 and length 0: the whole file
    if (Retry([&] { return fcntl(fd_.get(), F_OFD_SETLK, &lock); }) == 0) return true;
    if (errno == EAGAIN || errno == EACCES) return false;
    return SystemError(errno, "lock", path_);
  }

 private:
  // Writes the pieces and moves `offset` behind them. A short write goes on where it stopped.
  absl::Status WriteBatch(iovec* batch, size_t count, uint64_t* offset) {
    while (count > 0) {
      const ssize_t put = Retry([&] {
        return pwritev(fd_.get(), batch, static_cast<int>(count), static_cast<off_t>(*offset));
      });
      if (put < 0) return SystemError(errno, "write", path_);
      if (put == 0) return SystemError(EIO, "write", path_);
      *offset += static_cast<uint64_t>(put);
      auto left = static_cast<size_t>(put);
      while (count > 0 && left >= batch->iov_len) {
        left -= batch->iov_len;
        ++batch;
        --count;
      }
      if (left > 0) {
        ETCDD_CHECK(count > 0);
        batch->iov_base = static_cast<char*>(batch->iov_base) + left;
        batch->iov_len -= left;
      }
    }
    return absl::OkStatus();
  }

  const Descriptor fd_;
  const std::string path_;
};

class PosixFileSystem final : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override {
    int flags = O_CLOEXEC;
    switch (mode) {
      case OpenMode::kRead:
        flags |= O_RDONLY;
        break;
      case OpenMode::kReadWrite:
        flags |= O_RDWR;
        break;
      case OpenMode::kCreate:
        flags |= O_RDWR | O_CREAT;
        break;
      case OpenMode::kTruncate:
        flags |= O_RDWR | O_CREAT | O_TRUNC;
        break;
    }
    const int fd = Retry([&] { return open(path.c_str(), flags, kFileMode); });
    if (fd < 0) return SystemError(errno, "open", path);
    return std::make_unique<PosixFile>(Descriptor(fd), path);
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (rename(from.c_str(), to.c_str()) != 0) {
      return SystemError(errno, "rename", absl::StrCat(from, " to ", to));
    }
    return absl::OkStatus();
  }

  absl::Status RemoveFile(const std::string& path) override {
    if (unlink(path.c_str()) != 0) return SystemError(errno, "remove", path);
    return absl::OkStatus();
  }

  absl::Status RemoveTree(const std::string& path) override {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (error) return SystemError(error.value(), "remove", path);
    return absl::OkStatus();
  }

  absl::Status CreateDirs(const std::string& path) override {
    for (size_t end = 1; end <= path.size(); ++end) {
      if (end < path.size() && path[end] != '/') continue;
      if (path[end - 1] == '/') continue;
      const std::string part = path.substr(0, end);
      if (mkdir(part.c_str(), kDirectoryMode) == 0) continue;
      const int error = errno;
      // A parent which we may not write to but which is there already is as good (EACCES, EROFS).
      struct stat info {};
      if (stat(part.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) continue;
      return SystemError(error, "mkdir", part);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override {
    DIR* const raw = opendir(path.c_str());
    if (raw == nullptr) return SystemError(errno, "open", path);
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(raw, closedir);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = readdir(raw)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
      errno = 0;
    }
    if (errno != 0) return SystemError(errno, "read", path);
    std::sort(names.begin(), names.end());
    return names;
  }

  bool Exists(const std::string& path) override {
    struct stat info {};
    return stat(path.c_str(), &info) == 0;
  }

  absl::Status SyncDir(const std::string& path) override {
    const Descriptor fd(
        Retry([&] { return open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
    if (fd.get() < 0) return SystemError(errno, "open", path);
    if (Retry([&] { return fsync(fd.get()); }) != 0) return SystemError(errno, "fsync", path);
    return absl::OkStatus();
  }

  absl::Status CheckWritable(const std::string& path) override {
    const std::string probe = JoinPath(path, ".touch");
    ETCDD_RETURN_IF_ERROR(Open(probe, OpenMode::kTruncate).status());
    return RemoveFile(probe);
  }
};

}  // namespace

std::unique_ptr<FileSystem> NewPosixFileSystem() { return std::make_unique<PosixFileSystem>(); }

}  // namespace etcdd::base
