#pragma once

// Bytes: immutable, reference-counted bytes, one heap block each (8 bytes of overhead, < 4 GiB).
//
// A proposal's payload is encoded once and then shared by the raft log, the WAL writer, the peer
// messages and the applier; an encoded watch event is shared by all its watchers. Copying a Bytes
// copies a pointer. Thread-safe: the count is atomic and the content never changes after Build.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include "server/base/check.h"

namespace etcdd::base {

class Bytes {
 public:
  Bytes() = default;
  Bytes(const Bytes& other) : block_(other.block_) { Ref(); }
  Bytes(Bytes&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Bytes& operator=(const Bytes& other) {
    Bytes copy(other);
    std::swap(block_, copy.block_);
    return *this;
  }
  Bytes& operator=(Bytes&& other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Bytes() { Unref(); }

  static Bytes Copy(std::string_view content) {
    return Build(content.size(), [content](char* out) {
      if (!content.empty()) std::memcpy(out, content.data(), content.size());
    });
  }

  // Allocates `size` bytes and lets `fill(char* out)` write all of them, exactly once.
  template <typename Fill>
  static Bytes Build(size_t size, Fill&& fill) {
    Bytes result;
    if (size == 0) return result;
    ETCDD_CHECK(size <= UINT32_MAX);
    void* memory = ::operator new(sizeof(Block) + size);
    result.block_ = new (memory) Block{{1}, static_cast<uint32_t>(size)};
    fill(result.block_->data());
    return result;
  }

  std::string_view view() const {
    return block_ == nullptr ? std::string_view() : std::string_view(block_->data(), block_->size);
  }
  size_t size() const { return block_ == nullptr ? 0 : block_->size; }
  bool empty() const { return size() == 0; }

  friend bool operator==(const Bytes& a, const Bytes& b) { return a.view() == b.view(); }

 private:
  struct Block {
    std::atomic<uint32_t> references;
    uint32_t size;  // so that a block's overhead is 8 bytes
    char* data() { return reinterpret_cast<char*>(this + 1); }
  };

  void Ref() const {
    if (block_ != nullptr) block_->references.fetch_add(1, std::memory_order_relaxed);
  }
  void Unref() {
    if (block_ != nullptr && block_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      block_->~Block();
      ::operator delete(block_);
    }
  }

  Block* block_ = nullptr;
};

}  // namespace etcdd::base
