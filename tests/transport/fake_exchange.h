#pragma once

// One HTTP/1.1 request without a connection: the test is the client.

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "server/net/http1.h"

namespace etcdd::transport {

class FakeExchange final : public net::Http1Exchange {
 public:
  FakeExchange(std::string method, std::string target, net::Http1Headers headers = {},
               std::string body = "", bool tls = false) {
    request_.tls = tls;
    request_.method = std::move(method);
    request_.target = std::move(target);
    request_.headers = std::move(headers);
    request_.body = std::move(body);
    request_.remote = "192.0.2.1:1234";
  }

  const net::Http1Request& request() const override { return request_; }
  void Respond(net::Http1Response response) override {
    ++answers;
    answer = std::move(response);
    Forget();
  }
  void StartStream(net::Http1Response head) override {
    started = true;
    answer = std::move(head);
  }
  bool Write(std::string chunk) override {
    written += chunk;
    return !full;
  }
  void End() override {
    ended = true;
    Forget();
  }
  void OnWritable(absl::AnyInvocable<void()> callback) override {
    writable_ = std::move(callback);
  }
  void OnCancel(absl::AnyInvocable<void()> callback) override { cancel_ = std::move(callback); }
  void ReadBody(BodySink sink) override { sink_ = std::move(sink); }
  void HoldBody(bool hold) override { held = hold; }

  // What the connection would do.
  void Drain() {
    full = false;
    auto callback = std::exchange(writable_, nullptr);
    if (callback) callback();
    if (!ended && !writable_) writable_ = std::move(callback);
  }
  void Cancel() {
    auto callback = std::exchange(cancel_, nullptr);
    Forget();
    if (callback) callback();
  }
  void Arrive(std::string_view piece) {
    auto sink = std::exchange(sink_, nullptr);
    if (sink) sink(piece);
    if (!ended && answers == 0) sink_ = std::move(sink);
  }

  int answers = 0;
  net::Http1Response answer;  // or the head of a stream
  bool started = false;
  bool ended = false;
  bool held = false;
  bool full = false;  // Write says false
  std::string written;

 private:
  void Forget() {
    writable_ = nullptr;
    cancel_ = nullptr;
    sink_ = nullptr;
  }

  net::Http1Request request_;
  absl::AnyInvocable<void()> writable_;
  absl::AnyInvocable<void()> cancel_;
  BodySink sink_;
};

}  // namespace etcdd::transport
