#pragma once

// Calls and streams whose client is a test.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/rpc/call.h"

namespace etcdd::rpc {

class FakeCall final : public Call {
 public:
  FakeCall(std::string method, std::string request)
      : method_(std::move(method)), request_(std::move(request)) {}

  std::string_view method() const override { return method_; }
  std::optional<std::string_view> metadata(std::string_view) const override {
    return std::nullopt;
  }
  std::string_view peer() const override { return "test"; }
  absl::Duration deadline() const override { return absl::InfiniteDuration(); }
  std::string_view request() const override { return request_; }
  bool cancelled() const override { return cancelled_; }
  void OnCancel(absl::AnyInvocable<void()> callback) override {
    if (!finished) on_cancel_ = std::move(callback);
  }
  void Finish(absl::Status finish_status, std::string finish_reply) override {
    if (std::exchange(finished, true) || cancelled_) return;
    status = std::move(finish_status);
    reply = std::move(finish_reply);
    on_cancel_ = nullptr;
  }

  // The client goes away.
  void Cancel() {
    cancelled_ = true;
    auto on_cancel = std::exchange(on_cancel_, nullptr);
    if (on_cancel) on_cancel();
  }

  bool finished = false;
  absl::Status status = absl::UnknownError("not answered");
  std::string reply;

 private:
  const std::string method_;
  const std::string request_;
  bool cancelled_ = false;
  absl::AnyInvocable<void()> on_cancel_;
};

class FakeStream final : public Stream {
 public:
  explicit FakeStream(std::string method) : method_(std::move(method)) {}

  std::string_view method() const override { return method_; }
  std::optional<std::string_view> metadata(std::string_view) const override {
    return std::nullopt;
  }
  std::string_view peer() const override { return "test"; }
  absl::Duration deadline() const override { return absl::InfiniteDuration(); }
  void SetEvents(Events events) override { events_ = std::move(events); }
  using Stream::Send;
  bool Send(std::string head, base::Bytes tail) override {
    head.append(tail.view());
    sent.push_back(std::move(head));
    return writable_;
  }
  bool writable() const override { return writable_; }
  void Finish(absl::Status finish_status) override {
    status = std::move(finish_status);
    End();
  }

  // What the client does.
  void Receive(std::string_view message) { events_.on_message(message); }
  void SetWritable(bool writable) {
    writable_ = writable;
    if (writable) events_.on_writable();
  }
  void End() {
    auto on_done = std::exchange(events_.on_done, nullptr);
    if (on_done) on_done();
  }
  // As the front end does once none of the events can run any more.
  void Close() {
    End();
    events_ = Events();
  }

  std::vector<std::string> sent;
  std::optional<absl::Status> status;

 private:
  const std::string method_;
  Events events_;
  bool writable_ = true;
};

}  // namespace etcdd::rpc
