#include "server/net/unary_call.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/net/http2_session.h"
#include "server/net/limits.h"

namespace etcdd::net {

void UnaryCall::OnCancel(absl::AnyInvocable<void()> callback) {
  if (!finish_set_) on_cancel_ = std::move(callback);
}

void UnaryCall::Finish(absl::Status status, std::string reply) {
  if (finish_set_) return;
  on_cancel_ = nullptr;
  if (status.ok() && reply.size() > kSentMessageBytesMax) {
    status = absl::ResourceExhaustedError(
        absl::StrCat("grpc: trying to send message larger than max (", reply.size(), " vs. ",
                     kSentMessageBytesMax, ")"));
  }
  if (status.ok()) CountSent(reply.size());
  CountEnd(status.code());
  if (status.ok()) {
    SetHeld(reply.size());
    char prefix[kMessagePrefixBytes];
    WriteMessagePrefix(reply.size(), prefix);
    if (reply.size() < kSharedPieceBytesMin) {
      reply.insert(0, prefix, sizeof prefix);
    } else {
      queue_.Push(std::string(prefix, sizeof prefix));
    }
    queue_.Push(std::move(reply));
  } else {
    SetHeld(0);
  }
  SetFinish(status);
}

void UnaryCall::OnData(std::string_view piece) {
  if (finish_set_) return;
  const size_t size = piece.size();
  ReadMessages(&piece);
  // A request that ends soon needs no more window on its stream.
  if (!closed() && reader_.assembling() > 0) session_->ConsumeStream(id_, size);
}

bool UnaryCall::OnMessage(std::string_view message) {
  if (has_request_) {
    Abort(absl::InternalError(
        "cardinality violation: received more than one request message for a unary method"));
    return false;
  }
  has_request_ = true;
  request_ = message;
  return true;
}

void UnaryCall::OnEndOfInput() {
  input_ended_ = true;
  if (finish_set_) return;
  if (!has_request_ || !reader_.idle()) {
    Abort(absl::InternalError("cardinality violation: received no request message"));
    return;
  }
  SetHeld(request_.size());
  session_->options().dispatcher->Dispatch(
      std::shared_ptr<rpc::Call>(std::static_pointer_cast<UnaryCall>(self())));
}

void UnaryCall::TellHandler() {
  CountAbandoned(status().code());
  auto on_cancel = std::exchange(on_cancel_, nullptr);
  if (cancelled_ && on_cancel) on_cancel();
}

void UnaryCall::OnClosing() { SetHeld(0); }

void UnaryCall::SetHeld(size_t bytes) {
  if (closed()) return;
  session_->CountHeld(static_cast<int64_t>(bytes) - static_cast<int64_t>(held_bytes_));
  held_bytes_ = bytes;
}

void UnaryCall::Reuse() {
  Recycle();
  request_.clear();
  if (request_.capacity() > kPooledStringBytesMax) request_ = std::string();
  has_request_ = false;
  held_bytes_ = 0;
  on_cancel_ = nullptr;
}

// Calls waiting for reuse and the memory of their shared_ptr control blocks. It lives until the
// pool and every control block are gone.
struct CallPool::Core {
  std::vector<std::unique_ptr<UnaryCall>> calls;
  std::vector<void*> blocks;
  size_t block_bytes = 0;
  size_t live_blocks = 0;
  bool pool_gone = false;

  ~Core() {
    for (void* block : blocks) ::operator delete(block);
  }
};

struct CallPool::Return {
  Core* core;
  void operator()(UnaryCall* call) const {
    std::unique_ptr<UnaryCall> owned(call);
    if (core->pool_gone || core->calls.size() >= kPooledCallsMax) return;
    owned->Reuse();
    core->calls.push_back(std::move(owned));
  }
};

template <typename T>
struct CallPool::Blocks {
  using value_type = T;

  explicit Blocks(Core* c) : core(c) {}
  template <typename U>
  Blocks(const Blocks<U>& other) : core(other.core) {}  // NOLINT: allocators convert

  T* allocate(size_t count) {
    const size_t bytes = count * sizeof(T);
    ETCDD_CHECK(core->block_bytes == 0 || core->block_bytes == bytes);
    core->block_bytes = bytes;
    ++core->live_blocks;
    if (core->blocks.empty()) return static_cast<T*>(::operator new(bytes));
    void* block = core->blocks.back();
    core->blocks.pop_back();
    return static_cast<T*>(block);
  }
  void deallocate(T* block, size_t) {
    if (core->blocks.size() < kPooledCallsMax) {
      core->blocks.push_back(block);
    } else {
      ::operator delete(block);
    }
    if (--core->live_blocks == 0 && core->pool_gone) delete core;
  }
  template <typename U>
  bool operator==(const Blocks<U>& other) const {
    return core == other.core;
  }

  Core* core;
};

CallPool::CallPool() : core_(new Core) {}

CallPool::~CallPool() {
  core_->calls.clear();
  core_->pool_gone = true;
  if (core_->live_blocks == 0) delete core_;
}

std::shared_ptr<UnaryCall> CallPool::Acquire() {
  std::unique_ptr<UnaryCall> call;
  if (core_->calls.empty()) {
    call = std::make_unique<UnaryCall>();
  } else {
    call = std::move(core_->calls.back());
    core_->calls.pop_back();
  }
  return std::shared_ptr<UnaryCall>(call.release(), Return{core_}, Blocks<UnaryCall>(core_));
}

}  // namespace etcdd::net
