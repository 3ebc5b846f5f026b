#include "tests/support/memory_file.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "server/base/check.h"

namespace etcdd::testing {

std::string MemoryFile::Read(uint64_t offset, size_t size) const {
  if (offset >= size_) return "";
  std::string out(static_cast<size_t>(std::min<uint64_t>(size, size_ - offset)), '\0');
  size_t done = 0;
  while (done < out.size()) {
    const uint64_t position = offset + done;
    const size_t within = position % kPageBytes;
    const size_t count = std::min(out.size() - done, kPageBytes - within);
    const auto& page = pages_[position / kPageBytes];
    if (page != nullptr) std::memcpy(out.data() + done, page->data() + within, count);
    done += count;
  }
  return out;
}

void MemoryFile::Write(uint64_t offset, std::string_view data) {
  if (data.empty()) return;
  const uint64_t end = offset + data.size();
  for (uint64_t sector = offset / kSectorBytes; sector * kSectorBytes < end; ++sector) {
    Remember(sector);
  }
  if (end > size_) SetSize(end);
  Put(offset, data.data(), data.size());
}

void MemoryFile::Resize(uint64_t size) {
  if (size < size_) {
    shrunk_ = true;
    for (uint64_t sector = size / kSectorBytes; sector * kSectorBytes < size_; ++sector) {
      // An absent page holds zeros before and after.
      if (pages_[sector * kSectorBytes / kPageBytes] != nullptr) Remember(sector);
    }
  }
  SetSize(size);
}

void MemoryFile::Sync() {
  unsynced_.clear();
  synced_size_ = size_;
  shrunk_ = false;
}

void MemoryFile::FailSync() {
  lost_.merge(unsynced_);
  unsynced_.clear();
}

bool MemoryFile::HasUnsynced() const {
  return size_ != synced_size_ || !unsynced_.empty() || !lost_.empty();
}

void MemoryFile::Crash() {
  // Room for all old sectors first; the old size then cuts what the disk never had.
  const uint64_t synced_size = synced_size_;
  SetSize(std::max(size_, synced_size));
  for (const SectorMap* map : {&unsynced_, &lost_}) {
    for (const auto& [sector, content] : *map) {
      const uint64_t offset = sector * kSectorBytes;
      if (offset >= size_) continue;
      Put(offset, content.data(), static_cast<size_t>(std::min<uint64_t>(kSectorBytes,
                                                                         size_ - offset)));
    }
  }
  SetSize(synced_size);
  unsynced_.clear();
  lost_.clear();
  shrunk_ = false;
}

void MemoryFile::CrashAtRandom(base::Random& random) {
  if (shrunk_) {
    // A file system frees blocks and changes the size in one step, so old content cannot come back
    // under the new size, nor zeros under the old one: all or nothing.
    if (random.Uniform(2) == 0 && lost_.empty()) Sync();
    Crash();
    return;
  }
  for (SectorMap* map : {&unsynced_, &lost_}) {
    for (auto it = map->begin(); it != map->end();) {
      it = random.Uniform(2) == 0 ? map->erase(it) : std::next(it);
    }
  }
  if (random.Uniform(2) == 0) synced_size_ = size_;
  Crash();
}

void MemoryFile::Corrupt(uint64_t offset, uint8_t xor_mask) {
  ETCDD_CHECK(offset < size_);
  const auto flip = [xor_mask](char c) {
    return static_cast<char>(static_cast<uint8_t>(c) ^ xor_mask);
  };
  const char changed = flip(Read(offset, 1)[0]);
  Put(offset, &changed, 1);
  for (SectorMap* map : {&unsynced_, &lost_}) {
    const auto found = map->find(offset / kSectorBytes);
    if (found == map->end()) continue;
    char& old = found->second[offset % kSectorBytes];
    old = flip(old);
  }
}

// Requires: the range lies inside the file.
void MemoryFile::Put(uint64_t offset, const char* data, size_t size) {
  size_t done = 0;
  while (done < size) {
    const uint64_t position = offset + done;
    const size_t within = position % kPageBytes;
    const size_t count = std::min(size - done, kPageBytes - within);
    auto& page = pages_[position / kPageBytes];
    if (page == nullptr) page = std::make_unique<Page>();
    std::memcpy(page->data() + within, data + done, count);
    done += count;
  }
}

// Keeps what the disk holds of this sector, before it changes.
void MemoryFile::Remember(uint64_t sector) {
  const auto lost = lost_.find(sector);
  if (lost != lost_.end()) {
    unsynced_.insert_or_assign(sector, lost->second);
    lost_.erase(lost);
  } else if (unsynced_.find(sector) == unsynced_.end()) {
    unsynced_.emplace(sector, ReadSector(sector));
  }
}

MemoryFile::Sector MemoryFile::ReadSector(uint64_t sector) const {
  Sector content{};
  const std::string bytes = Read(sector * kSectorBytes, kSectorBytes);
  std::memcpy(content.data(), bytes.data(), bytes.size());
  return content;
}

// Changes the size alone; bytes cut off are zeroed, so that they read as zero if the file grows.
void MemoryFile::SetSize(uint64_t size) {
  pages_.resize(static_cast<size_t>((size + kPageBytes - 1) / kPageBytes));
  const size_t within = size % kPageBytes;
  if (size < size_ && within != 0 && pages_.back() != nullptr) {
    std::fill(pages_.back()->begin() + static_cast<ptrdiff_t>(within), pages_.back()->end(), '\0');
  }
  size_ = size;
}

}  // namespace etcdd::testing
