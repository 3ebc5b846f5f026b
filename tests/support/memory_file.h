#pragma once

// The bytes of one file of the in-memory disk, and which of them would survive a crash.
//
// Content is kept in pages, absent ones read as zero, so a preallocated segment of 64 MB costs
// nothing. For every 512-byte sector changed since the last sync the old content is remembered: a
// crash puts it back, a sync forgets it. A failed sync is as on Linux: the sectors count as clean
// but never reached the disk, and a later successful sync does not bring them there.
//
// Not thread-safe: its file system holds a lock.

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/base/random.h"

namespace etcdd::testing {

class MemoryFile {
 public:
  static constexpr size_t kSectorBytes = 512;

  uint64_t size() const { return size_; }
  // Up to `size` bytes at `offset`, fewer at the end of the file.
  std::string Read(uint64_t offset, size_t size) const;
  void Write(uint64_t offset, std::string_view data);
  // Cuts or extends with zeros.
  void Resize(uint64_t size);

  void Sync();
  void FailSync();
  // Some byte of content or the size would not survive a crash.
  bool HasUnsynced() const;

  // Forgets everything since the last sync.
  void Crash();
  // Each unsynced sector survives or not by the toss of a coin; so does the new size (when it does
  // not, what lies behind the old size is lost in any case).
  void CrashAtRandom(base::Random& random);

  // Changes a byte on the disk itself, as a failing medium does: also what a crash would keep.
  // Requires: offset < size().
  void Corrupt(uint64_t offset, uint8_t xor_mask);

 private:
  static constexpr size_t kPageBytes = 4096;
  using Page = std::array<char, kPageBytes>;
  using Sector = std::array<char, kSectorBytes>;
  using SectorMap = std::map<uint64_t, Sector>;

  void Put(uint64_t offset, const char* data, size_t size);
  void Remember(uint64_t sector);
  Sector ReadSector(uint64_t sector) const;
  void SetSize(uint64_t size);

  uint64_t size_ = 0;
  std::vector<std::unique_ptr<Page>> pages_;  // nullptr: zeros. Bytes behind size_ are zero.

  uint64_t synced_size_ = 0;
  bool shrunk_ = false;  // the file was cut since the last sync
  SectorMap unsynced_;  // sector -> its content on the disk
  SectorMap lost_;      // the same, for sectors whose sync failed
};

}  // namespace etcdd::testing
