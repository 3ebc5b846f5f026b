// Images on their way from member to member.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "raft/codec.h"
#include "server/base/check.h"
#include "tests/sim/sim_member.h"
#include "tests/sim/sim_network.h"

namespace etcdd::sim {
namespace {

// Smaller than the source's pieces, so that small stores make several as well.
constexpr size_t kPieceBytesMax = 1024;

}  // namespace

// Both ends live as long as it is in SimNetwork::transfers_.
struct SimNetwork::Transfer {
  Endpoint* from;
  Endpoint* to;  // nullptr: nobody there
  raft::NodeId receiver;
  std::string message;  // encoded
  std::unique_ptr<consensus::ImageSource> source;
  std::unique_ptr<consensus::ImageSink> sink;
  std::string rest;  // of the source's last piece
  bool ended = false;
};

// What was on its way to or from the process is gone; a living sender hears of it.
void SimNetwork::Detach(Endpoint* endpoint) {
  endpoints_.erase(endpoint->member()->index());
  for (const auto& transfer : std::list<std::shared_ptr<Transfer>>(transfers_)) {
    if (transfer->from == endpoint) {
      transfer->ended = true;
      transfer->source.reset();
      transfer->sink.reset();
      transfers_.remove(transfer);
    } else if (transfer->to == endpoint) {
      EndTransfer(transfer, false);
    }
  }
}

void SimNetwork::StartTransfer(Endpoint* from, const std::vector<std::string>& urls,
                               raft::Message message,
                               std::unique_ptr<consensus::ImageSource> image) {
  auto transfer = std::make_shared<Transfer>();
  transfer->from = from;
  transfer->to = Find(urls);
  transfer->receiver = message.to;
  raft::AppendEncoded(message, &transfer->message);
  transfer->source = std::move(image);
  transfers_.push_back(transfer);
  trace_->Add(scheduler_->Now(), absl::StrCat(from->member()->name(), " sends an image to ",
                                              transfer->to == nullptr
                                                  ? "nobody"
                                                  : transfer->to->member()->name()));
  trace_->Count("image sent");
  if (transfer->to == nullptr || !Connected(*from, *transfer->to)) {
    return EndTransfer(transfer, false);
  }
  transfer->to->member()->strand().PostAfter(Delay(), [this, transfer] { BeginImage(transfer); });
}

void SimNetwork::BeginImage(const std::shared_ptr<Transfer>& transfer) {
  if (transfer->ended) return;
  auto message = raft::DecodeMessage(transfer->message);
  ETCDD_CHECK(message.ok());
  server::EtcdServer& server = transfer->to->member()->server();
  if (message->to != server.identity().member_id || server.IsRemoved(message->from)) {
    return EndTransfer(transfer, false);
  }
  auto sink = server.OnImage(*message);
  if (!sink.ok()) {
    trace_->Count("image refused");
    return EndTransfer(transfer, false);
  }
  transfer->sink = *std::move(sink);
  transfer->from->member()->transport_strand().PostAfter(Delay(),
                                                         [this, transfer] { PullPiece(transfer); });
}

void SimNetwork::PullPiece(const std::shared_ptr<Transfer>& transfer) {
  if (transfer->ended) return;
  if (transfer->rest.empty()) {
    auto piece = transfer->source->Next();
    if (!piece.ok()) return EndTransfer(transfer, false);
    transfer->rest = *std::move(piece);
  }
  std::string piece = transfer->rest.substr(0, kPieceBytesMax);
  transfer->rest.erase(0, piece.size());
  if (!Connected(*transfer->from, *transfer->to) || OneIn(weather_.image_breaks_one_in)) {
    trace_->Count("image broken off");
    return EndTransfer(transfer, false);
  }
  if (!piece.empty() && OneIn(weather_.image_damaged_one_in)) {
    trace_->Count("image damaged");
    piece[random_->Uniform(piece.size())] ^= static_cast<char>(1 << random_->Uniform(8));
  }
  transfer->to->member()->transport_strand().PostAfter(
      Delay(), [this, transfer, piece = std::move(piece)] { TakePiece(transfer, piece); });
}

void SimNetwork::TakePiece(const std::shared_ptr<Transfer>& transfer, const std::string& piece) {
  if (transfer->ended) return;
  if (piece.empty()) return CommitImage(transfer);
  const absl::Status status = transfer->sink->Append(piece);
  if (!status.ok()) {
    trace_->Count("image refused by its receiver");
    return EndTransfer(transfer, false);
  }
  transfer->from->member()->transport_strand().PostAfter(Delay(),
                                                         [this, transfer] { PullPiece(transfer); });
}

void SimNetwork::CommitImage(const std::shared_ptr<Transfer>& transfer) {
  const absl::Status status = transfer->sink->Commit();
  transfer->sink.reset();
  if (!status.ok()) {
    trace_->Count("image refused by its receiver");
    return EndTransfer(transfer, false);
  }
  trace_->Count("image received");
  SimMember* const receiver = transfer->to->member();
  trace_->Add(scheduler_->Now(), absl::StrCat(receiver->name(), " has an image"));
  receiver->strand().Post([receiver, bytes = transfer->message] {
    auto message = raft::DecodeMessage(bytes);
    ETCDD_CHECK(message.ok());
    receiver->server().OnMessage(*std::move(message));
  });
  EndTransfer(transfer, true);
}

void SimNetwork::EndTransfer(const std::shared_ptr<Transfer>& transfer, bool ok) {
  transfer->ended = true;
  transfer->source.reset();
  transfer->sink.reset();
  transfers_.remove(transfer);
  SimMember* const sender = transfer->from->member();
  sender->strand().PostAfter(Delay(), [sender, id = transfer->receiver, ok] {
    sender->server().OnSnapshotSent(id, ok);
  });
}

}  // namespace etcdd::sim
