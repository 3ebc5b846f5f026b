#pragma once

// One HTTP/2 connection that carries one gRPC request at a time: send, wait, answer. It is on no
// hot path, so it is plain: libnghttp2 between a blocking stream and strings.
//
// Confined to one thread.

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/discovery/byte_stream.h"

namespace etcdd::discovery {

using Metadata = std::vector<std::pair<std::string, std::string>>;  // lower-case names

// Longest reply that is taken in.
inline constexpr size_t kReplyBytesMax = 8 << 20;

struct GrpcRequest {
  std::string path;  // "/etcdserverpb.KV/Range"
  std::string message;
  Metadata metadata;
};

// What came of a request.
struct GrpcResult {
  // True when the server gave the request a gRPC status; false when connection or deadline broke
  // off before, so that nobody knows whether the server acted.
  bool answered = false;
  absl::Status status;
  std::string message;  // of an OK status
};

class GrpcConnection {
 public:
  // `secure` is what ":scheme" says; `authority` is "host:port".
  static std::unique_ptr<GrpcConnection> Make(std::unique_ptr<ByteStream> stream, bool secure,
                                              std::string authority);
  virtual ~GrpcConnection() = default;

  // Blocks until the answer is whole or `deadline` has passed, which the server is told as
  // `timeout`. After a result that is not answered the connection is of no more use.
  virtual GrpcResult Call(const GrpcRequest& request, absl::Duration timeout,
                          absl::Duration deadline) = 0;
};

}  // namespace etcdd::discovery
