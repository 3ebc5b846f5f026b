#pragma once

// A streaming request over HTTP/1.1: JSON objects in the request's body, one line a message in the
// answer's.
//
// A slow reader: while the exchange holds more than its limit, Send says false and the body is not
// read. Confined to the loop that owns the connection; its exchange and its handler keep it alive.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "server/http/gateway_call.h"
#include "server/http/message_splitter.h"

namespace etcdd::http {

class GatewayStream final : public rpc::Stream,
                            public std::enable_shared_from_this<GatewayStream> {
 public:
  // `json_bytes_max` bounds one object of the body, `message_bytes_max` what it becomes.
  struct Limits {
    size_t json_bytes_max = 0;
    size_t message_bytes_max = 0;
  };

  GatewayStream(const GatewayParts& parts, const GatewayRoute& route, GatewayRequest request,
                Limits limits, std::shared_ptr<net::Http1Exchange> exchange);
  ~GatewayStream() override;
  // Dispatches the stream and begins to read the body. Once.
  void Start();

  std::string_view method() const override { return route_.method; }
  std::optional<std::string_view> metadata(std::string_view name) const override {
    return request_.Find(name);
  }
  std::string_view peer() const override { return request_.peer; }
  absl::Duration deadline() const override { return deadline_; }
  void SetEvents(Events events) override { events_ = std::move(events); }
  using rpc::Stream::Send;
  bool Send(std::string head, base::Bytes tail) override;
  bool writable() const override { return exchange_ != nullptr && !send_blocked_; }
  void Finish(absl::Status status) override;

 private:
  void OnBody(std::string_view piece);
  void OnWritable();
  void OnClientGone();
  void OnDeadline();
  // Gives complete messages to the handler while it may have them, and then the half-close.
  void DeliverMessages();
  // False: the stream has ended.
  bool DeliverMessage(std::string_view json);
  // Nothing is sent or received any more.
  void Close();
  // The last callback. Not from within another one.
  void TellDone();

  const GatewayParts parts_;
  const GatewayRoute& route_;
  const GatewayRequest request_;
  const Limits limits_;
  absl::Duration deadline_ = absl::InfiniteDuration();
  std::shared_ptr<net::Http1Exchange> exchange_;  // null once ended or gone
  base::TimerId timer_ = 0;
  Events events_;
  MessageSplitter splitter_;
  bool started_ = false;       // status and header of the answer are sent
  bool send_blocked_ = false;  // Send said false, on_writable is owed
  bool body_ended_ = false;
  bool half_close_told_ = false;
};

}  // namespace etcdd::http
