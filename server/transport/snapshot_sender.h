#pragma once

// One image on its way to another member: the message, then the pieces of the image, pulled on the
// strand that may block only as fast as the connection takes them.
//
// Confined to the loop.

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "raft/types.h"
#include "server/net/http1_client.h"
#include "server/transport/context.h"

namespace etcdd::transport {

class SnapshotSender final : private net::Http1AnswerHandler {
 public:
  // `context` and `host` must outlive the sender. `done` is called once, not from within the
  // constructor; it must not destroy the sender.
  SnapshotSender(Context* context, PeerHost* host, raft::Message message,
                 std::unique_ptr<consensus::ImageSource> image,
                 absl::AnyInvocable<void(bool ok)> done);
  // Breaks off what has not ended; `done` is not called.
  ~SnapshotSender();
  SnapshotSender(const SnapshotSender&) = delete;
  SnapshotSender& operator=(const SnapshotSender&) = delete;

 private:
  struct Source;

  void Start(const raft::Message& message);
  void Pull();
  void OnPiece(absl::StatusOr<std::string> piece);
  void OnHead(int status, const net::Http1Headers&) override { status_ = status; }
  void OnBody(std::string_view piece) override;
  void OnEnd() override;
  void OnFailed(const absl::Status& status) override { Finish(status); }
  void OnWritable() override;
  void Finish(const absl::Status& status);

  Context* const context_;
  PeerHost* const host_;
  const uint64_t index_;
  const absl::Duration started_;
  absl::AnyInvocable<void(bool)> done_;  // null once told
  std::string url_;
  std::shared_ptr<Source> source_;  // shared with the strand that pulls
  std::shared_ptr<net::Http1Client> client_;
  bool pulling_ = false;
  bool writable_ = true;
  uint64_t bytes_ = 0;
  int status_ = 0;
  std::string text_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace etcdd::transport
