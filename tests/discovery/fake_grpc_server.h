#pragma once

// A gRPC server in memory: a ByteStream whose other end is libnghttp2's server, which answers
// requests with what the test has put down. When it has nothing to say, reading runs into the
// deadline at once.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/discovery/byte_stream.h"
#include "server/discovery/grpc_connection.h"

struct nghttp2_session;

namespace etcdd::discovery {

struct FakeReply {
  enum class End { kTrailers, kReset, kGoAway, kSilence, kClose };

  Metadata headers = {{":status", "200"}, {"content-type", "application/grpc"}};
  std::string data;
  Metadata trailers;  // empty: `headers` are all there is, unless there is data
  End end = End::kTrailers;
};

// An OK reply with one message.
FakeReply MessageReply(const std::string& message);
// Trailers alone.
FakeReply StatusReply(const std::string& code, const std::string& message);

class FakeGrpcServer final : public ByteStream {
 public:
  struct Received {
    std::map<std::string, std::string> headers;
    std::string data;
  };

  FakeGrpcServer();
  ~FakeGrpcServer() override;

  absl::StatusOr<size_t> Read(char* buffer, size_t size, absl::Duration deadline) override;
  absl::Status WriteAll(std::string_view bytes, absl::Duration deadline) override;

  // One per request; a request without one is not answered.
  std::deque<FakeReply> replies;
  std::vector<Received> received;
  size_t read_bytes_max = SIZE_MAX;  // handed over per Read
  std::string garbage;               // read before anything else

 private:
  friend struct FakeServerCallbacks;

  void Answer(int32_t stream_id);
  void Pump();

  nghttp2_session* session_ = nullptr;
  std::map<int32_t, Received> streams_;
  std::map<int32_t, FakeReply> answers_;
  std::map<int32_t, size_t> sent_;  // of an answer's data
  std::string output_;
  bool closed_ = false;
  bool broken_ = false;  // closed, and the other side has seen it
};

}  // namespace etcdd::discovery
