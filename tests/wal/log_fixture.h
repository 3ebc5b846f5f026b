#pragma once

// The vocabulary of the log's tests: a log on a disk in memory that can crash.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fault_file_system.h"
#include "wal/wal.h"

namespace etcdd::wal {

inline constexpr char kDir[] = "/member/wal";
inline constexpr char kMemberMetadata[] = "\x08\x07\x10\x2a";
inline constexpr char kFirstSegment[] = "/member/wal/0000000000000000-0000000000000000.wal";

// The entry at (index, term): `bytes` of text that names it and holds no zero byte.
inline Entry MakeEntry(uint64_t index, uint64_t term, size_t bytes = 40) {
  std::string data = absl::StrCat("entry ", index, " of term ", term, " ");
  while (data.size() < bytes) data.push_back(static_cast<char>('a' + data.size() % 26));
  data.resize(bytes);
  return {0, term, index, base::Bytes::Copy(data)};
}

inline std::vector<Entry> MakeEntries(uint64_t first, uint64_t last, uint64_t term,
                                      size_t bytes = 40) {
  std::vector<Entry> entries;
  for (uint64_t index = first; index <= last; ++index) {
    entries.push_back(MakeEntry(index, term, bytes));
  }
  return entries;
}

// Views of `entries`, which must outlive them.
inline std::vector<EntryView> Views(const std::vector<Entry>& entries) {
  std::vector<EntryView> views;
  for (const Entry& entry : entries) {
    views.push_back({entry.type, entry.term, entry.index, entry.data.view()});
  }
  return views;
}

inline std::vector<Entry> Prefix(const std::vector<Entry>& entries, size_t size) {
  return {entries.begin(),
          entries.begin() + static_cast<ptrdiff_t>(std::min(size, entries.size()))};
}

class LogTest : public ::testing::Test {
 protected:
  // Thousands of repairs are expected here and worth no line.
  LogTest() { base::SetLogLevel(base::LogLevel::kError); }

  virtual Options options() {
    Options options;
    options.clock = &clock_;
    options.segment_bytes = segment_bytes_;
    return options;
  }

  void Create() {
    absl::StatusOr<std::unique_ptr<Wal>> wal = Wal::Create(fs_, options(), kDir, kMemberMetadata);
    ASSERT_TRUE(wal.ok()) << wal.status();
    wal_ = *std::move(wal);
  }

  // Opens the log behind `start` and keeps it open; its contents are in contents_.
  absl::Status Reopen(const SnapshotRecord& start = {}) {
    wal_.reset();
    absl::StatusOr<Wal::Opened> opened = Wal::Open(fs_, options(), kDir, start);
    if (!opened.ok()) return opened.status();
    wal_ = std::move(opened->wal);
    contents_ = std::move(opened->contents);
    return absl::OkStatus();
  }

  absl::StatusOr<bool> Save(const HardState& state, const std::vector<Entry>& entries) {
    return wal_->Save(state, Views(entries));
  }

  void SaveAndSync(const HardState& state, const std::vector<Entry>& entries) {
    ASSERT_EQ(Save(state, entries).status(), absl::OkStatus());
    ASSERT_EQ(wal_->Sync(), absl::OkStatus());
  }

  // The power goes; what was not synced is lost.
  void Crash() {
    fs_.Crash();
    wal_.reset();
  }

  std::vector<std::string> Segments() {
    std::vector<std::string> names = fs_.List(kDir).value_or(std::vector<std::string>());
    names.erase(std::remove_if(names.begin(), names.end(),
                               [](const std::string& name) {
                                 return !name.ends_with(".wal") && !name.ends_with(".broken");
                               }),
                names.end());
    return names;
  }

  // The tail's bytes up to the end of its data.
  std::string ReadTail(const std::string& path = kFirstSegment) {
    std::string content = base::ReadFile(fs_, path).value_or("");
    content.resize(content.find_last_not_of('\0') + 1);
    content.resize((content.size() + 7) / 8 * 8);
    return content;
  }

  void WriteFile(const std::string& path, const std::string& content) {
    auto file = fs_.Open(path, base::OpenMode::kTruncate);
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_EQ((*file)->WriteAt(0, content), absl::OkStatus());
    fs_.SyncAll();
  }

  testing::FakeClock clock_;
  testing::FaultFileSystem fs_;
  uint64_t segment_bytes_ = 64 * 1024;
  std::unique_ptr<Wal> wal_;
  Contents contents_;
};

}  // namespace etcdd::wal
