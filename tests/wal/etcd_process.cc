#include "tests/wal/etcd_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "server/base/check.h"

namespace etcdd::wal {
namespace {

// A port that was free a moment ago.
int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ETCDD_CHECK(bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
  ETCDD_CHECK(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  close(fd);
  return ntohs(address.sin_port);
}

std::string RunShell(const std::string& command) {
  FILE* const pipe = popen(command.c_str(), "r");
  ETCDD_CHECK(pipe != nullptr);
  std::string output;
  char chunk[4096];
  for (size_t got = 0; (got = fread(chunk, 1, sizeof chunk, pipe)) > 0;) output.append(chunk, got);
  pclose(pipe);
  return output;
}

}  // namespace

// What the server has printed; filled by a thread until the server ends.
struct EtcdProcess::Output {
  void ReadAll(int fd) {
    char chunk[4096];
    for (ssize_t got = 0; (got = read(fd, chunk, sizeof chunk)) > 0;) {
      absl::MutexLock lock(&mutex);
      text.append(chunk, static_cast<size_t>(got));
      if (!ready && text.find("ready to serve client requests") != std::string::npos) {
        ready = true;
        settled.Notify();
      }
    }
    close(fd);
    if (!settled.HasBeenNotified()) settled.Notify();
  }

  absl::Notification settled;  // it serves, or it has ended
  absl::Mutex mutex;
  std::string text ABSL_GUARDED_BY(mutex);
  bool ready ABSL_GUARDED_BY(mutex) = false;
};

EtcdProcess::EtcdProcess(std::string data_dir, std::string program)
    : data_dir_(std::move(data_dir)),
      program_(std::move(program)),
      client_url_(absl::StrCat("http://127.0.0.1:", FreePort())),
      peer_url_(absl::StrCat("http://127.0.0.1:", FreePort())) {}

EtcdProcess::~EtcdProcess() { Kill(); }

absl::Status EtcdProcess::Start(const std::vector<std::string>& more_flags) {
  std::vector<std::string> words = {program_,
                                    "--data-dir=" + data_dir_,
                                    "--listen-client-urls=" + client_url_,
                                    "--advertise-client-urls=" + client_url_,
                                    "--listen-peer-urls=" + peer_url_,
                                    "--initial-advertise-peer-urls=" + peer_url_,
                                    "--initial-cluster=default=" + peer_url_};
  words.insert(words.end(), more_flags.begin(), more_flags.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  int ends[2];
  ETCDD_CHECK(pipe2(ends, O_CLOEXEC) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  const int error = posix_spawnp(&pid_, program_.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  ETCDD_CHECK(error == 0);
  output_ = std::make_unique<Output>();
  reader_ = std::thread([output = output_.get(), fd = ends[0]] { output->ReadAll(fd); });

  output_->settled.WaitForNotificationWithTimeout(absl::Seconds(60));
  absl::MutexLock lock(&output_->mutex);
  if (output_->ready) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("etcd does not serve:\n", output_->text));
}

void EtcdProcess::Stop() { End(SIGTERM); }
void EtcdProcess::Kill() { End(SIGKILL); }

void EtcdProcess::End(int signal) {
  if (pid_ < 0) return;
  kill(pid_, signal);
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  reader_.join();
}

std::string EtcdProcess::Ctl(const std::string& arguments) const {
  return RunShell(absl::StrCat("ETCDCTL_API=3 etcdctl --endpoints=", client_url_,
                               " --command-timeout=30s --dial-timeout=30s ", arguments, " 2>&1"));
}

}  // namespace etcdd::wal
