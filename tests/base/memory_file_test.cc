#include "tests/support/memory_file.h"

#include <gtest/gtest.h>

#include <string>

namespace etcdd::testing {
namespace {

constexpr size_t kSector = MemoryFile::kSectorBytes;

TEST(MemoryFile, ReadsBackWhatWasWrittenAcrossPages) {
  MemoryFile file;
  const auto random = base::NewSeededRandom(5);
  std::string model;
  for (int i = 0; i < 300; ++i) {
    const size_t offset = random->Uniform(20'000);
    if (random->Uniform(10) == 0) {
      file.Resize(offset);
      model.resize(offset, '\0');
    } else {
      const std::string data(random->Uniform(6000), static_cast<char>('a' + i % 26));
      file.Write(offset, data);
      if (!data.empty() && model.size() < offset + data.size()) {
        model.resize(offset + data.size(), '\0');
      }
      model.replace(data.empty() ? 0 : offset, data.size(), data);
    }
    ASSERT_EQ(file.size(), model.size());
    ASSERT_EQ(file.Read(0, model.size() + 10), model);
  }
}

TEST(MemoryFile, ReadIsShortAtTheEnd) {
  MemoryFile file;
  file.Write(0, "hello");
  EXPECT_EQ(file.Read(3, 10), "lo");
  EXPECT_EQ(file.Read(5, 10), "");
  EXPECT_EQ(file.Read(100, 1), "");
}

TEST(MemoryFile, CrashGoesBackToTheLastSync) {
  // Random writes, cuts and syncs: after a crash the file is what it was at the last sync.
  const auto random = base::NewSeededRandom(6);
  for (int round = 0; round < 200; ++round) {
    MemoryFile file;
    std::string synced;
    for (int i = 0; i < 20; ++i) {
      switch (random->Uniform(4)) {
        case 0:
          file.Resize(random->Uniform(10'000));
          break;
        case 1:
          file.Sync();
          synced = file.Read(0, 1 << 20);
          EXPECT_FALSE(file.HasUnsynced());
          break;
        default:
          file.Write(random->Uniform(9000),
                     std::string(random->Uniform(3000), static_cast<char>('a' + i)));
      }
    }
    file.Crash();
    ASSERT_EQ(file.Read(0, 1 << 20), synced);
    EXPECT_FALSE(file.HasUnsynced());
  }
}

TEST(MemoryFile, RandomCrashKeepsOrLosesWholeSectors) {
  bool kept_some = false;
  bool lost_some = false;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const auto random = base::NewSeededRandom(seed);
    MemoryFile file;
    file.Write(0, std::string(8 * kSector, 'a'));
    file.Sync();
    file.Write(0, std::string(8 * kSector, 'b'));
    file.CrashAtRandom(*random);
    for (size_t sector = 0; sector < 8; ++sector) {
      const std::string content = file.Read(sector * kSector, kSector);
      const bool kept = content == std::string(kSector, 'b');
      const bool lost = content == std::string(kSector, 'a');
      ASSERT_TRUE(kept || lost);
      kept_some |= kept;
      lost_some |= lost;
    }
  }
  EXPECT_TRUE(kept_some);
  EXPECT_TRUE(lost_some);
}

TEST(MemoryFile, RandomCrashOfAnAppendHasOneOfTheTwoSizes) {
  bool grew = false;
  bool stayed = false;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const auto random = base::NewSeededRandom(seed);
    MemoryFile file;
    file.Write(0, "synced");
    file.Sync();
    file.Write(6, std::string(2000, 'x'));
    file.CrashAtRandom(*random);
    ASSERT_EQ(file.Read(0, 6), "synced");
    grew |= file.size() == 2006;
    stayed |= file.size() == 6;
    ASSERT_TRUE(file.size() == 2006 || file.size() == 6) << file.size();
  }
  EXPECT_TRUE(grew);
  EXPECT_TRUE(stayed);
}

TEST(MemoryFile, ACutIsAllOrNothingInARandomCrash) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const auto random = base::NewSeededRandom(seed);
    MemoryFile file;
    const std::string old(4 * kSector, 'a');
    file.Write(0, old);
    file.Sync();
    file.Resize(kSector);
    file.Write(kSector, std::string(kSector, 'b'));
    file.CrashAtRandom(*random);
    const std::string content = file.Read(0, 1 << 20);
    ASSERT_TRUE(content == old ||
                content == std::string(kSector, 'a') + std::string(kSector, 'b'));
  }
}

TEST(MemoryFile, ASyncAfterAFailedOneDoesNotSaveWhatThatLost) {
  MemoryFile file;
  file.Write(0, std::string(3 * kSector, 'a'));
  file.Sync();
  file.Write(0, std::string(2 * kSector, 'b'));
  file.FailSync();
  file.Write(kSector, std::string(kSector, 'c'));  // this sector is written anew, and whole
  file.Sync();
  EXPECT_TRUE(file.HasUnsynced());
  file.Crash();
  EXPECT_EQ(file.Read(0, 3 * kSector),
            std::string(kSector, 'a') + std::string(kSector, 'c') + std::string(kSector, 'a'));
}

TEST(MemoryFile, CorruptionSurvivesACrash) {
  MemoryFile file;
  file.Write(0, "abc");
  file.Sync();
  file.Write(0, "xyz");
  file.Corrupt(1, 0x01);
  EXPECT_EQ(file.Read(0, 3), "xxz");
  file.Crash();
  EXPECT_EQ(file.Read(0, 3), "acc");
}

TEST(MemoryFile, LargePreallocationCostsNothing) {
  MemoryFile file;
  for (int i = 0; i < 1000; ++i) {
    file.Resize(uint64_t{64} << 20);
    file.Sync();
    file.Resize(0);
  }
  file.Resize(uint64_t{64} << 20);
  EXPECT_EQ(file.Read((uint64_t{64} << 20) - 2, 10), std::string(2, '\0'));
}

}  // namespace
}  // namespace etcdd::testing
