#include "server/net/grpc_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/net/http2_session.h"
#include "server/net/limits.h"

namespace etcdd::net {

std::string_view SendQueue::Piece::view() const {
  if (owner.text != nullptr) return *owner.text;
  if (!owner.bytes.empty()) return owner.bytes.view();
  return small;
}

void SendQueue::Push(std::string text) {
  if (text.empty()) return;
  size_ += text.size();
  Piece& piece = pieces_.emplace_back();
  if (text.size() < kSharedPieceBytesMin) {
    piece.small = std::move(text);
  } else {
    piece.owner.text = std::make_shared<const std::string>(std::move(text));
  }
}

void SendQueue::Push(base::Bytes bytes) {
  if (bytes.empty()) return;
  size_ += bytes.size();
  pieces_.emplace_back().owner.bytes = std::move(bytes);
}

void SendQueue::Take(size_t count, OutputBuffer* out) {
  ETCDD_CHECK(count <= size_);
  size_ -= count;
  while (count > 0) {
    Piece& piece = pieces_[first_];
    const std::string_view rest = piece.view().substr(offset_);
    const size_t taken = std::min(count, rest.size());
    out->AppendShared(rest.substr(0, taken), piece.owner);
    count -= taken;
    if (taken < rest.size()) {
      offset_ += taken;
      break;
    }
    piece = Piece();
    offset_ = 0;
    ++first_;
  }
  if (first_ == pieces_.size()) {
    pieces_.clear();
    first_ = 0;
  } else if (first_ > 64 && first_ > pieces_.size() / 2) {
    pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
}

void SendQueue::Clear() {
  pieces_.clear();
  first_ = offset_ = size_ = 0;
}

GrpcStream::GrpcStream(bool unary) : unary_(unary), deadline_timer_([this] { OnDeadline(); }) {}

void GrpcStream::Open(Http2Session* session, int32_t id, RequestHead* head,
                      std::shared_ptr<GrpcStream> self) {
  session_ = session;
  id_ = id;
  self_ = std::move(self);
  std::swap(head_, *head);
  peer_ = session->peer();
  reader_.Reset(session->options().message_bytes_max, head_.encoding(), head_.encoding_name());
  if (head_.timeout().empty()) return;
  const auto timeout = ParseGrpcTimeout(head_.timeout());
  ETCDD_CHECK(timeout.has_value());  // the session refused malformed ones
  deadline_ = session->loop().now() + *timeout;
  deadline_timer_.Schedule(&session->loop().timers(), deadline_);
}

void GrpcStream::Recycle() {
  ETCDD_CHECK(closed() && !deadline_timer_.scheduled());
  id_ = 0;
  head_.Clear();
  queue_.Clear();
  deadline_ = absl::InfiniteDuration();
  status_ = absl::OkStatus();
  input_ended_ = response_started_ = finish_set_ = cancelled_ = false;
}

void GrpcStream::PushToSession() {
  if (response_started_) {
    session_->ResumeData(id_);
  } else {
    response_started_ = true;
    session_->SubmitResponse(this);
  }
}

void GrpcStream::SetFinish(const absl::Status& status) {
  if (finish_set_) return;
  finish_set_ = true;
  status_ = status;
  deadline_timer_.Cancel();
  if (closed()) return;
  if (!response_started_ && queue_.size() == 0) {
    response_started_ = true;
    session_->SubmitTrailersOnly(id_, "200", status_, unknown_encoding());
  } else {
    PushToSession();
  }
}

void GrpcStream::Abort(const absl::Status& status) {
  const std::shared_ptr<GrpcStream> keep = self_;
  if (!finish_set_) cancelled_ = true;
  SetFinish(status);
  TellHandler();
}

void GrpcStream::OnDeadline() {
  Abort(absl::DeadlineExceededError("context deadline exceeded"));
}

void GrpcStream::Close() {
  const std::shared_ptr<GrpcStream> keep = std::move(self_);
  deadline_timer_.Cancel();
  OnClosing();
  CountAssembling(0);
  if (!finish_set_) cancelled_ = true;
  finish_set_ = true;
  queue_.Clear();
  session_ = nullptr;
  TellHandler();
}

void GrpcStream::CountAssembling(size_t bytes) {
  session_->CountAssembling(static_cast<int64_t>(bytes) -
                            static_cast<int64_t>(counted_assembling_));
  counted_assembling_ = bytes;
}

void GrpcStream::ReadMessages(std::string_view* piece) {
  while (!piece->empty()) {
    std::string_view message;
    absl::Status error;
    switch (reader_.Next(piece, &message, &error)) {
      case MessageReader::Outcome::kNeedMore: CountAssembling(reader_.assembling()); return;
      case MessageReader::Outcome::kError: Abort(error); return;
      case MessageReader::Outcome::kMessage:
        if (counted_assembling_ > 0) CountAssembling(0);
        if (!OnMessage(message)) return;
        break;
    }
  }
}

void StreamList::Add(GrpcStream* stream) {
  stream->previous_ = nullptr;
  stream->next_ = first_;
  if (first_ != nullptr) first_->previous_ = stream;
  first_ = stream;
  ++size_;
}

void StreamList::Remove(GrpcStream* stream) {
  if (stream->previous_ != nullptr) {
    stream->previous_->next_ = stream->next_;
  } else {
    first_ = stream->next_;
  }
  if (stream->next_ != nullptr) stream->next_->previous_ = stream->previous_;
  stream->previous_ = stream->next_ = nullptr;
  --size_;
}

void StreamCall::SetEvents(Events events) { events_ = std::move(events); }

bool StreamCall::writable() const {
  // Once Send has said false it stays so until on_writable, however fast the queue shrinks.
  if (closed() || finish_set_ || send_blocked_) return false;
  return queue_.size() <= session_->StreamQueueBytesHigh();
}

bool StreamCall::Send(std::string head, base::Bytes tail) {
  if (closed() || finish_set_) return false;
  const size_t size = head.size() + tail.size();
  if (size > kSentMessageBytesMax) {
    Finish(absl::ResourceExhaustedError(
        absl::StrCat("grpc: trying to send message larger than max (", size, " vs. ",
                     kSentMessageBytesMax, ")")));
    return false;
  }
  char prefix[kMessagePrefixBytes];
  WriteMessagePrefix(size, prefix);
  if (head.size() < kSharedPieceBytesMin) {
    head.insert(0, prefix, sizeof prefix);
  } else {
    queue_.Push(std::string(prefix, sizeof prefix));
  }
  queue_.Push(std::move(head));
  queue_.Push(std::move(tail));
  CountSent(size);
  session_->CountStreamQueue(static_cast<int64_t>(kMessagePrefixBytes + size));
  PushToSession();
  if (writable()) return true;
  send_blocked_ = true;
  return false;
}

void StreamCall::Take(size_t count, OutputBuffer* out) {
  queue_.Take(count, out);
  session_->CountStreamQueue(-static_cast<int64_t>(count));
  if (send_blocked_) session_->TellLater(self());
}

void StreamCall::Finish(absl::Status status) {
  CountEnd(status.code());
  SetFinish(status);
}

void StreamCall::OnHeadDone() {
  session_->options().dispatcher->Dispatch(
      std::shared_ptr<rpc::Stream>(std::static_pointer_cast<StreamCall>(self())));
}

void StreamCall::OnData(std::string_view piece) {
  if (finish_set_) return;
  if (!Accepting() || !waiting_input_.empty()) {
    waiting_input_.append(piece);
    return;
  }
  const size_t size = piece.size();
  ReadMessages(&piece);
  if (closed()) return;
  waiting_input_.assign(piece);
  session_->ConsumeStream(id_, size - piece.size());
}

void StreamCall::OnEndOfInput() {
  input_ended_ = true;
  DrainWaitingInput();
}

bool StreamCall::OnMessage(std::string_view message) {
  CountReceived(message.size());
  if (events_.on_message) events_.on_message(message);
  return Accepting();
}

void StreamCall::OnQueueShrunk() {
  if (!send_blocked_ || closed() || finish_set_) return;
  if (queue_.size() > session_->StreamQueueBytesHigh() / 4) return;
  const std::shared_ptr<GrpcStream> keep = self();
  send_blocked_ = false;
  if (events_.on_writable) events_.on_writable();
  DrainWaitingInput();
}

void StreamCall::DrainWaitingInput() {
  if (!waiting_input_.empty() && Accepting()) {
    const std::string input = std::exchange(waiting_input_, std::string());
    std::string_view rest = input;
    ReadMessages(&rest);
    if (closed()) return;
    waiting_input_.assign(rest);
    session_->ConsumeStream(id_, input.size() - rest.size());
  }
  if (!input_ended_ || half_close_told_ || !waiting_input_.empty() || !Accepting()) return;
  half_close_told_ = true;
  if (!reader_.idle()) {
    Abort(absl::InternalError("grpc: the request ended within a message"));
    return;
  }
  if (events_.on_half_close) events_.on_half_close();
}

void StreamCall::TellHandler() {
  CountAbandoned(status().code());
  if (!std::exchange(told_, true)) {
    // Moved out first: a closure must not die while it runs.
    auto on_done = std::move(events_.on_done);
    if (on_done) on_done();
  }
  // The closures usually own what owns this stream; they go once none of them can run any more.
  if (closed()) events_ = Events();
}

void StreamCall::OnClosing() {
  session_->CountStreamQueue(-static_cast<int64_t>(queue_.size()));
}

}  // namespace etcdd::net
