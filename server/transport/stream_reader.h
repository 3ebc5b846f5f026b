#pragma once

// Our end of a stream from another member, which we dial: asks for it, decodes what comes, and
// dials again after a pause whenever it breaks.
//
// Confined to the loop.

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/net/http1_client.h"
#include "server/net/timer_queue.h"
#include "server/transport/context.h"
#include "server/transport/stream_codec.h"

namespace etcdd::transport {

class StreamReader final : private net::Http1AnswerHandler {
 public:
  // Both must outlive the reader.
  StreamReader(Context* context, PeerHost* host, StreamKind kind);
  ~StreamReader();
  StreamReader(const StreamReader&) = delete;
  StreamReader& operator=(const StreamReader&) = delete;

  void Start();
  // Nothing is delivered any more.
  void Stop();

 private:
  void Dial();
  void OnHead(int status, const net::Http1Headers& headers) override;
  void OnBody(std::string_view piece) override;
  void OnEnd() override;
  void OnFailed(const absl::Status& status) override;
  void OnRefused();
  // Ends this connection and dials again later.
  void Retry(const absl::Status& why);

  Context* const context_;
  PeerHost* const host_;
  const StreamKind kind_;
  std::string url_;  // being dialled or connected
  std::shared_ptr<net::Http1Client> client_;
  std::unique_ptr<StreamDecoder> decoder_;  // set: the stream stands
  int status_ = 0;
  std::string error_text_;  // body of an answer that is no stream
  absl::Duration redial_wait_;
  bool stopped_ = true;
  net::Timer redial_timer_;
};

}  // namespace etcdd::transport
