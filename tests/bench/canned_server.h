#pragma once

// A server that gives every call the same answer at once, in a thread of its own: for tests of the
// generator, and to see how fast the generator itself can go. It reads frames, not headers.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "cmd/etcdd-bench/frame.h"

namespace etcdd::bench {

class CannedServer {
 public:
  struct Answer {
    std::string message;        // protobuf; empty: no message at all
    char grpc_status = '0';     // one digit
    uint32_t streams_max = 0;   // SETTINGS_MAX_CONCURRENT_STREAMS; 0: not sent
    bool keep_open = false;     // answer each message of a stream, never end it
  };

  // Listens on a port of 127.0.0.1 chosen by the system (`port` 0) and starts.
  explicit CannedServer(Answer answer, uint16_t port = 0);
  // Stops, closing all connections.
  ~CannedServer();

  std::string endpoint() const { return endpoint_; }

 private:
  struct Client {
    std::string input;
    std::string output;
    uint32_t unacknowledged_bytes = 0;
    bool answered = false;  // once: the header fields are in the client's table
  };

  void Run();
  void Accept();
  bool Serve(int fd, Client* client);
  void HandleFrame(const FrameHeader& header, Client* client);
  void AppendAnswer(uint32_t stream_id, Client* client);

  const Answer answer_;
  std::string framed_message_;
  std::string endpoint_;
  int listener_ = -1;
  int epoll_ = -1;
  int stop_ = -1;  // an eventfd
  std::map<int, Client> clients_;
  std::thread thread_;
};

}  // namespace etcdd::bench
