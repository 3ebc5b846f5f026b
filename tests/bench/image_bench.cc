// The way of a backend's image from member to member, step by step, each in a process of its own so
// that its time, CPU and peak memory are its own:
//
//   image_bench DIR [MIB [VALUE_BYTES]]     DIR: on the disk to measure, made and removed
//
// "send" reads the image of a RocksDB backend; "receive" takes it from a pipe and writes
// INDEX.snap.db, checked and synced; both run at the same time. "install" loads that file into a
// new backend and opens it. Values are random bytes, so compression saves nothing.

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "mvcc/backend/rocks_backend.h"
#include "server/base/check.h"
#include "server/base/coding.h"
#include "server/base/random.h"
#include "server/bootstrap.h"
#include "server/image_transfer.h"
#include "server/install_image.h"

namespace etcdd::server {
namespace {

constexpr uint64_t kIndex = 1;
constexpr size_t kPipeReadBytes = 1 << 20;

void Check(const absl::Status& status) { ETCDD_CHECK_MSG(status.ok(), status.ToString()); }

struct Step {
  const char* name;
  std::function<void()> run;
  pid_t pid = 0;
  absl::Duration begin = absl::ZeroDuration();
};

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

// Runs the steps at the same time, each in a process of its own; prints what each took.
// `started` runs here once all were begun.
void RunTogether(const base::Clock& clock, uint64_t mib, std::vector<Step> steps,
                 const std::function<void()>& started = [] {}) {
  for (Step& step : steps) {
    std::fflush(nullptr);
    step.begin = clock.Monotonic();
    step.pid = fork();
    ETCDD_CHECK(step.pid >= 0);
    if (step.pid != 0) continue;
    step.run();
    std::fflush(nullptr);
    _exit(0);
  }
  started();
  for (size_t left = steps.size(); left > 0; --left) {
    int status = 0;
    rusage usage{};
    const pid_t pid = wait4(-1, &status, 0, &usage);
    ETCDD_CHECK(pid > 0 && status == 0);
    for (const Step& step : steps) {
      if (step.pid != pid) continue;
      const double took = absl::ToDoubleSeconds(clock.Monotonic() - step.begin);
      std::printf("| %s | %.2f | %.0f | %.2f | %.0f |\n", step.name, took,
                  static_cast<double>(mib) / took,
                  Seconds(usage.ru_utime) + Seconds(usage.ru_stime),
                  static_cast<double>(usage.ru_maxrss) / 1024);
    }
  }
}

void Fill(const std::string& path, uint64_t mib, size_t value_bytes) {
  const auto backend = *mvcc::OpenRocksBackend(path, {});
  const auto random = base::NewSeededRandom(1);
  const auto batch = backend->NewBatch();
  std::string value(value_bytes, '\0');
  const uint64_t records = (mib << 20) / (value_bytes + 24);
  for (uint64_t i = 1; i <= records; ++i) {
    for (size_t at = 0; at + 8 <= value.size(); at += 8) {
      const uint64_t word = random->Uniform(UINT64_MAX);
      value.replace(at, 8, reinterpret_cast<const char*>(&word), 8);
    }
    std::string key;
    base::AppendBigEndian64(i, &key);
    key += '_';
    base::AppendBigEndian64(0, &key);
    batch->Put(mvcc::Bucket::kKey, key, value);
    if (batch->bytes() < (1 << 20)) continue;
    Check(backend->Write(*batch));
    batch->Clear();
  }
  std::string index;
  base::AppendBigEndian64(kIndex, &index);
  batch->Put(mvcc::Bucket::kMeta, kConsistentIndexKey, index);
  Check(backend->Write(*batch));
  Check(backend->Flush());
}

void Send(const std::string& path, int pipe) {
  const BackendImage image = *ImageOf(*mvcc::OpenRocksBackend(path, {}));
  while (true) {
    const std::string piece = *image.source->Next();
    if (piece.empty()) break;
    for (size_t at = 0; at < piece.size();) {
      const ssize_t written = write(pipe, piece.data() + at, piece.size() - at);
      ETCDD_CHECK(written > 0);
      at += static_cast<size_t>(written);
    }
  }
}

void Receive(base::FileSystem& fs, const std::string& dir, int pipe) {
  snap::DbFiles files(fs, dir);
  const auto sink = *ReceiveImage(files, kIndex);
  std::string buffer(kPipeReadBytes, '\0');
  while (true) {
    const ssize_t got = read(pipe, buffer.data(), buffer.size());
    ETCDD_CHECK(got >= 0);
    if (got == 0) break;
    Check(sink->Append(std::string_view(buffer).substr(0, static_cast<size_t>(got))));
  }
  Check(sink->Commit());
}

void Install(base::FileSystem& fs, const base::Clock& clock, const std::string& dir) {
  InstallOptions options;
  options.fs = &fs;
  options.clock = &clock;
  options.snap_dir = dir;
  options.open_backend = [](const std::string& path) { return mvcc::OpenRocksBackend(path, {}); };
  const auto backend = InstallImage(options, kIndex);
  Check(backend.status());
}

void Run(const std::string& dir, uint64_t mib, size_t value_bytes) {
  const auto fs = base::NewPosixFileSystem();
  const auto clock = base::NewSystemClock();
  const std::string leader = base::JoinPath(dir, "leader");
  Check(fs->RemoveTree(dir));
  Check(fs->CreateDirs(dir));
  std::printf("| step, %llu MiB of %zu-byte values | s | MiB/s | CPU s | peak RSS, MiB |\n",
              static_cast<unsigned long long>(mib), value_bytes);
  std::printf("|---|---|---|---|---|\n");
  RunTogether(*clock, mib, {{"fill", [&] { Fill(leader, mib, value_bytes); }}});
  int ends[2];
  ETCDD_CHECK(pipe(ends) == 0);
  const Step send = {"send", [&] {
                       close(ends[0]);
                       Send(leader, ends[1]);
                     }};
  const Step receive = {"receive", [&] {
                          close(ends[1]);
                          Receive(*fs, dir, ends[0]);
                        }};
  RunTogether(*clock, mib, {send, receive}, [&] {
    close(ends[0]);
    close(ends[1]);
  });
  RunTogether(*clock, mib, {{"install", [&] { Install(*fs, *clock, dir); }}});
  Check(fs->RemoveTree(dir));
}

}  // namespace
}  // namespace etcdd::server

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: image_bench DIR [MIB [VALUE_BYTES]]\n");
    return 2;
  }
  const uint64_t mib = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1024;
  const size_t value_bytes = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1024;
  etcdd::server::Run(argv[1], mib, value_bytes);
  return 0;
}
