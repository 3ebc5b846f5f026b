#pragma once

// server::PeerClient over HTTP/1.1: one short-lived connection for each question.
//
// Confined to the loop.

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "server/net/dialer.h"
#include "server/peer_client.h"

namespace etcdd::transport {

class HttpPeerClient final : public server::PeerClient {
 public:
  // `dialer` must outlive the client.
  explicit HttpPeerClient(net::Dialer* dialer);
  // Questions under way are given up; their `done` is not called.
  ~HttpPeerClient() override;

  // The URLs share the time, so that one that does not answer leaves some for the others. The body
  // of an answer may be kReplyBytesMax long.
  void Ask(std::vector<std::string> urls, server::PeerRequest request, absl::Duration timeout,
           Done done) override;

 private:
  class Question;

  net::Dialer* const dialer_;
  std::unordered_set<std::shared_ptr<Question>> questions_;
};

}  // namespace etcdd::transport
