#pragma once

// HTTP/1.1 requests as the front door hands them over: /health, /metrics, /version and the JSON
// gateway live behind this interface and see no socket.
//
// Confined to the connection's loop.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "server/net/output_buffer.h"

namespace etcdd::net {

using Http1Headers = std::vector<std::pair<std::string, std::string>>;

struct Http1Request {
  std::string method;  // "GET"
  std::string target;  // path and query as sent
  Http1Headers headers;  // names as sent; compare without case
  std::string body;      // whole, chunks joined
  std::string remote;    // address of the client
  std::string certificate_common_name;  // of its verified certificate; empty without one
  bool tls = false;                     // it came over TLS

  // First value of the field (any case), empty if none.
  std::string_view header(std::string_view name) const;
};

struct Http1Response {
  int status = 200;
  std::string content_type;  // left out when empty
  Http1Headers headers;      // further fields
  std::string body;          // Content-Length is added
};

// How the body of a request reaches its handler; decided when the header has arrived.
struct Http1BodyRule {
  // Longer ones are answered with 413, bytes.
  size_t bytes_max = 2 << 20;
  // The handler gets the request before its body and takes that in pieces (ReadBody).
  bool in_pieces = false;
  // Of a body in pieces: how long the client may send nothing; unset: as long as the session lets
  // any request take.
  std::optional<absl::Duration> pause_max;
};

// Decides for the header of a request (its body is still empty).
using Http1BodyPolicy = absl::AnyInvocable<Http1BodyRule(const Http1Request& head)>;

// One request and the way to answer it: either Respond once, or StartStream, any number of Write
// and then End. Answers after the client has gone are dropped.
class Http1Exchange {
 public:
  virtual ~Http1Exchange() = default;
  virtual const Http1Request& request() const = 0;
  virtual void Respond(Http1Response response) = 0;
  // Sends status and header of an answer whose body follows in chunks (`body` is ignored).
  virtual void StartStream(Http1Response head) = 0;
  // Sends one chunk. False when more than the limit is queued: wait for OnWritable's callback.
  virtual bool Write(std::string chunk) = 0;
  // The same for a chunk of many pieces, which are not joined: takes all bytes of `*chunk`, which
  // is empty afterwards and may be filled again.
  virtual bool WriteChunk(OutputBuffer* chunk) {
    std::string joined = chunk->ToString();
    chunk->Clear();
    return Write(std::move(joined));
  }
  virtual void End() = 0;
  // Runs `callback` each time the queue has drained after Write had said false.
  virtual void OnWritable(absl::AnyInvocable<void()> callback) = 0;
  // Runs `callback` once if the client goes away before the answer is complete.
  virtual void OnCancel(absl::AnyInvocable<void()> callback) = 0;

  // For a body in pieces: gives them to `sink` in order as they arrive, each valid during the call;
  // an empty one is the end. Not called from within ReadBody. A request that is answered before
  // the end of its body takes its connection with it.
  using BodySink = absl::AnyInvocable<void(std::string_view piece)>;
  virtual void ReadBody(BodySink sink) { (void)sink; }
  // While held no further piece is delivered (but the end is), and the client is soon not read any
  // more.
  virtual void HoldBody(bool hold) { (void)hold; }
};

// Handles one request now or later. Requests of one connection come one at a time.
using Http1Handler = absl::AnyInvocable<void(std::shared_ptr<Http1Exchange>)>;

}  // namespace etcdd::net
