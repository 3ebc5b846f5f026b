#include "server/net/session_memory.h"

#include <cstdlib>
#include <cstring>

#include "server/net/limits.h"

namespace etcdd::net {

// Sixteen bytes, so that what follows is aligned for anything.
struct alignas(16) SessionMemory::Block {
  size_t capacity;  // bytes after the block
  Block* next;
};

struct SessionMemory::Functions {
  static void* Malloc(size_t size, void* user) {
    return static_cast<SessionMemory*>(user)->Allocate(size);
  }
  static void Free(void* memory, void* user) { static_cast<SessionMemory*>(user)->Free(memory); }
  static void* Calloc(size_t count, size_t size, void* user) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return nullptr;
    void* memory = Malloc(bytes, user);
    if (memory != nullptr) std::memset(memory, 0, bytes);
    return memory;
  }
  static void* Realloc(void* memory, size_t size, void* user) {
    if (memory == nullptr) return Malloc(size, user);
    const size_t capacity = (static_cast<Block*>(memory) - 1)->capacity;
    if (size <= capacity) return memory;
    void* grown = Malloc(size, user);
    if (grown == nullptr) return nullptr;
    std::memcpy(grown, memory, capacity);
    Free(memory, user);
    return grown;
  }
};

SessionMemory::SessionMemory()
    : functions_{this, Functions::Malloc, Functions::Free, Functions::Calloc, Functions::Realloc} {}

SessionMemory::~SessionMemory() {
  for (Block* block : free_) {
    while (block != nullptr) {
      Block* next = block->next;
      std::free(block);
      block = next;
    }
  }
}

void* SessionMemory::Allocate(size_t size) {
  const size_t index = size == 0 ? 0 : (size - 1) / kClassBytes;
  if (index < kClasses) {
    size = (index + 1) * kClassBytes;
    if (Block* block = free_[index]) {
      free_[index] = block->next;
      kept_bytes_ -= size;
      return block + 1;
    }
  }
  auto* block = static_cast<Block*>(std::malloc(sizeof(Block) + size));
  if (block == nullptr) return nullptr;
  block->capacity = size;
  return block + 1;
}

void SessionMemory::Free(void* memory) {
  if (memory == nullptr) return;
  Block* block = static_cast<Block*>(memory) - 1;
  if (block->capacity > kClasses * kClassBytes ||
      kept_bytes_ + block->capacity > kSessionMemoryKeptBytesMax) {
    std::free(block);
    return;
  }
  const size_t index = block->capacity / kClassBytes - 1;
  block->next = free_[index];
  free_[index] = block;
  kept_bytes_ += block->capacity;
}

}  // namespace etcdd::net
