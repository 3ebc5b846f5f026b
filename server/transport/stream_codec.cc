#include "server/transport/stream_codec.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "raft/codec.h"
#include "server/base/check.h"
#include "server/base/coding.h"
#include "server/base/status_macros.h"
#include "server/net/limits.h"
#include "server/transport/limits.h"

namespace etcdd::transport {
namespace {

constexpr uint32_t kEntriesField = 7;    // of raftpb.Message
constexpr uint32_t kEntryDataField = 4;  // of raftpb.Entry
constexpr char kLinkHeartbeat = 0;
constexpr char kAppEntries = 1;
constexpr char kApp = 2;
constexpr size_t kKeptBytesMax = 64 << 10;

// The raftpb bytes of `entry`; what comes before it is in `*small`, as is all of a short one.
void AppendEntry(const raft::Entry& entry, std::string* small, net::OutputBuffer* out) {
  if (entry.data.size() < net::kSharedPieceBytesMin) {
    raft::AppendEncoded(entry, small);
    return;
  }
  raft::Entry head;
  head.type = entry.type;
  head.term = entry.term;
  head.index = entry.index;
  raft::AppendEncoded(head, small);
  base::AppendVarint(base::BytesTag(kEntryDataField), small);
  base::AppendVarint(entry.data.size(), small);
  out->Append(*small);
  small->clear();
  net::PieceOwner owner;
  owner.bytes = entry.data;
  out->AppendShared(entry.data.view(), owner);
}

// The message without its entries, which follow it on the wire: protobuf has no order.
std::string EncodedHead(const raft::Message& message) {
  ETCDD_CHECK(message.responses.empty());
  raft::Message head;
  head.type = message.type;
  head.reject = message.reject;
  head.to = message.to;
  head.from = message.from;
  head.term = message.term;
  head.log_term = message.log_term;
  head.index = message.index;
  head.commit = message.commit;
  head.vote = message.vote;
  head.reject_hint = message.reject_hint;
  head.snapshot = message.snapshot;
  head.context = message.context;
  std::string encoded;
  raft::AppendEncoded(head, &encoded);
  return encoded;
}

size_t EncodedEntriesBytes(const raft::Message& message) {
  size_t total = 0;
  for (const raft::Entry& entry : message.entries) {
    const size_t size = raft::EncodedSize(entry);
    total += 1 + base::VarintSize(size) + size;
  }
  return total;
}

// `prefix`, then the message.
void AppendWithPrefix(std::string prefix, std::string_view head, const raft::Message& message,
                      net::OutputBuffer* out) {
  prefix.append(head);
  for (const raft::Entry& entry : message.entries) {
    base::AppendVarint(base::BytesTag(kEntriesField), &prefix);
    base::AppendVarint(raft::EncodedSize(entry), &prefix);
    AppendEntry(entry, &prefix, out);
  }
  out->Append(prefix);
}

// `prefix`, the length of the message, then the message.
void AppendFrame(std::string prefix, const raft::Message& message, net::OutputBuffer* out) {
  const std::string head = EncodedHead(message);
  base::AppendBigEndian64(head.size() + EncodedEntriesBytes(message), &prefix);
  AppendWithPrefix(std::move(prefix), head, message, out);
}

absl::Status Broken(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("broken stream: ", std::string(what)));
}

class MessageEncoder final : public StreamEncoder {
 public:
  void Encode(const raft::Message& message, net::OutputBuffer* out) override {
    AppendFrame({}, message, out);
  }
  void EncodeLinkHeartbeat(net::OutputBuffer* out) override {
    raft::Message heartbeat;
    heartbeat.type = raft::MessageType::kHeartbeat;
    AppendFrame({}, heartbeat, out);
  }
};

class MessageDecoder final : public StreamDecoder {
 public:
  absl::Status Feed(std::string_view bytes, Sink sink) override {
    std::string_view taken;
    for (;;) {
      if (!length_) {
        if (!assembler_.Take(&bytes, 8, &taken)) return absl::OkStatus();
        length_ = base::ReadBigEndian64(taken.data());
        if (*length_ > kFrameBytesMax) return Broken("message too long");
      }
      if (!assembler_.Take(&bytes, static_cast<size_t>(*length_), &taken)) {
        return absl::OkStatus();
      }
      length_.reset();
      ETCDD_ASSIGN_OR_RETURN(raft::Message message, raft::DecodeMessage(taken));
      const bool link_heartbeat = message.type == raft::MessageType::kHeartbeat &&
                                  message.from == raft::kNoNode && message.to == raft::kNoNode;
      if (!link_heartbeat && !sink(std::move(message))) return absl::OkStatus();
    }
  }

 private:
  Assembler assembler_;
  std::optional<uint64_t> length_;
};

class MsgAppEncoder final : public StreamEncoder {
 public:
  void Encode(const raft::Message& m, net::OutputBuffer* out) override {
    ETCDD_CHECK(m.type == raft::MessageType::kApp);
    if (m.index == index_ && m.log_term == term_ && m.term == term_) {
      EncodeEntries(m, out);
      index_ += m.entries.size();
      return;
    }
    AppendFrame(std::string(1, kApp), m, out);
    term_ = m.term;
    index_ = m.entries.empty() ? m.index : m.entries.back().index;
  }
  void EncodeLinkHeartbeat(net::OutputBuffer* out) override {
    out->Append(std::string_view(&kLinkHeartbeat, 1));
  }

 private:
  static void EncodeEntries(const raft::Message& m, net::OutputBuffer* out) {
    std::string small(1, kAppEntries);
    base::AppendBigEndian64(m.entries.size(), &small);
    for (const raft::Entry& entry : m.entries) {
      base::AppendBigEndian64(raft::EncodedSize(entry), &small);
      AppendEntry(entry, &small, out);
    }
    base::AppendBigEndian64(m.commit, &small);
    out->Append(small);
  }

  uint64_t term_ = 0;
  uint64_t index_ = 0;
};

class MsgAppDecoder final : public StreamDecoder {
 public:
  MsgAppDecoder(raft::NodeId self, raft::NodeId remote) : self_(self), remote_(remote) {}

  absl::Status Feed(std::string_view bytes, Sink sink) override {
    std::string_view taken;
    while (assembler_.Take(&bytes, wanted_, &taken)) {
      bool complete = false;
      ETCDD_RETURN_IF_ERROR(Step(taken, &complete));
      if (complete && !sink(std::exchange(message_, raft::Message()))) break;
    }
    return absl::OkStatus();
  }

 private:
  enum class State { kType, kCount, kEntryLength, kEntry, kCommit, kMessageLength, kMessage };

  void Want(State state, size_t bytes) {
    state_ = state;
    wanted_ = bytes;
  }
  void WantEntry() {
    Want(message_.entries.size() < count_ ? State::kEntryLength : State::kCommit, 8);
  }

  absl::Status Step(std::string_view taken, bool* complete) {
    switch (state_) {
      case State::kType:
        return OnType(taken.front());
      case State::kCount:
        return OnCount(base::ReadBigEndian64(taken.data()));
      case State::kEntryLength:
        return OnEntryLength(base::ReadBigEndian64(taken.data()));
      case State::kEntry:
        return OnEntry(taken);
      case State::kCommit:
        message_.commit = base::ReadBigEndian64(taken.data());
        index_ += count_;
        *complete = true;
        Want(State::kType, 1);
        return absl::OkStatus();
      case State::kMessageLength: {
        const uint64_t length = base::ReadBigEndian64(taken.data());
        if (length > kFrameBytesMax) return Broken("message too long");
        Want(State::kMessage, static_cast<size_t>(length));
        return absl::OkStatus();
      }
      case State::kMessage:
        *complete = true;
        return OnMessage(taken);
    }
    return Broken("unknown state");
  }

  absl::Status OnType(char type) {
    if (type == kAppEntries) {
      Want(State::kCount, 8);
    } else if (type == kApp) {
      Want(State::kMessageLength, 8);
    } else if (type != kLinkHeartbeat) {
      return Broken("unknown frame type");
    }
    return absl::OkStatus();
  }
  absl::Status OnCount(uint64_t count) {
    if (count > kFrameEntriesMax) return Broken("too many entries");
    count_ = count;
    entry_bytes_ = 0;
    message_ = raft::Message();
    message_.type = raft::MessageType::kApp;
    message_.from = remote_;
    message_.to = self_;
    message_.term = term_;
    message_.log_term = term_;
    message_.index = index_;
    WantEntry();
    return absl::OkStatus();
  }
  absl::Status OnEntryLength(uint64_t length) {
    if (length > kFrameBytesMax) return Broken("entry too long");
    entry_bytes_ += length;
    if (entry_bytes_ > kFrameBytesMax) return Broken("entries too long");
    Want(State::kEntry, static_cast<size_t>(length));
    return absl::OkStatus();
  }
  absl::Status OnEntry(std::string_view bytes) {
    ETCDD_ASSIGN_OR_RETURN(raft::Entry entry, raft::DecodeEntry(bytes));
    if (entry.index != index_ + message_.entries.size() + 1) return Broken("entry out of order");
    message_.entries.push_back(std::move(entry));
    WantEntry();
    return absl::OkStatus();
  }
  absl::Status OnMessage(std::string_view bytes) {
    ETCDD_ASSIGN_OR_RETURN(message_, raft::DecodeMessage(bytes));
    if (message_.type != raft::MessageType::kApp) return Broken("not a MsgApp");
    term_ = message_.term;
    index_ = message_.entries.empty() ? message_.index : message_.entries.back().index;
    Want(State::kType, 1);
    return absl::OkStatus();
  }

  const raft::NodeId self_;
  const raft::NodeId remote_;
  Assembler assembler_;
  State state_ = State::kType;
  size_t wanted_ = 1;
  uint64_t term_ = 0;   // of the stream: both sides hold the same
  uint64_t index_ = 0;
  raft::Message message_;  // being collected
  uint64_t count_ = 0;
  uint64_t entry_bytes_ = 0;
};

}  // namespace

std::string_view StreamTypeName(StreamKind kind) {
  return kind == StreamKind::kMessage ? "stream Message" : "stream MsgApp v2";
}

std::string_view StreamPathName(StreamKind kind) {
  return kind == StreamKind::kMessage ? "message" : "msgapp";
}

void AppendMessage(const raft::Message& message, net::OutputBuffer* out) {
  AppendWithPrefix({}, EncodedHead(message), message, out);
}

std::unique_ptr<StreamEncoder> NewStreamEncoder(StreamKind kind) {
  if (kind == StreamKind::kMessage) return std::make_unique<MessageEncoder>();
  return std::make_unique<MsgAppEncoder>();
}

std::unique_ptr<StreamDecoder> NewStreamDecoder(StreamKind kind, raft::NodeId self,
                                                raft::NodeId remote) {
  if (kind == StreamKind::kMessage) return std::make_unique<MessageDecoder>();
  return std::make_unique<MsgAppDecoder>(self, remote);
}

bool Assembler::Take(std::string_view* in, size_t size, std::string_view* out) {
  if (std::exchange(taken_, false)) {
    partial_.clear();
    if (partial_.capacity() > kKeptBytesMax) partial_ = std::string();
  }
  if (partial_.empty() && in->size() >= size) {
    *out = in->substr(0, size);
    in->remove_prefix(size);
    return true;
  }
  const size_t count = std::min(size - partial_.size(), in->size());
  partial_.append(in->substr(0, count));
  in->remove_prefix(count);
  if (partial_.size() < size) return false;
  *out = partial_;
  taken_ = true;
  return true;
}

}  // namespace etcdd::transport
