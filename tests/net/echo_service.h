#pragma once

// A dispatcher with a handful of methods that exercise every way to answer. Used by the tests of
// the front door and by the echo server. Confined to the loop.
//
//   /test.Echo/Unary      the request comes back as the reply
//   /test.Echo/Big        the reply is N bytes, N written as decimal text in the request
//   /test.Echo/Fail       status code and text from the request: "5 some text"; with details when
//                         the header want-details is there
//   /test.Echo/Meta       the value of the header named by the request
//   /test.Echo/Hold       answered by ReleaseHeld, or never
//   /test.Echo/Stream     each message comes back; half-close ends the stream with OK
//   /test.Echo/Flood      sends N messages of 1 KiB (N from the first message) as fast as allowed

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/rpc/call.h"

namespace etcdd::net {

class EchoService final : public rpc::Dispatcher {
 public:
  MethodKind Classify(std::string_view method) const override;
  void Dispatch(std::shared_ptr<rpc::Call> call) override;
  void Dispatch(std::shared_ptr<rpc::Stream> stream) override;

  // Answers every held call with its own request.
  void ReleaseHeld();
  const std::vector<std::shared_ptr<rpc::Call>>& held() const { return held_; }
  // Drops the held calls without an answer.
  void ForgetHeld() { held_.clear(); }

  int calls = 0;            // unary requests dispatched
  int cancelled = 0;        // on_cancel callbacks
  int streams_done = 0;     // on_done callbacks
  int messages = 0;         // messages on streams
  int64_t flood_sent = 0;   // messages sent by all Flood streams
  std::shared_ptr<rpc::Stream> last_stream;  // for tests that hold on to a dead stream

 private:
  void StartEcho(const std::shared_ptr<rpc::Stream>& stream);
  void StartFlood(const std::shared_ptr<rpc::Stream>& stream);

  std::vector<std::shared_ptr<rpc::Call>> held_;
};

}  // namespace etcdd::net
