#include "server/base/bytes.h"

#include <gtest/gtest.h>

#include <thread>
#include <utility>
#include <vector>

namespace etcdd::base {
namespace {

TEST(Bytes, EmptyHasNoBlock) {
  const Bytes empty;
  EXPECT_TRUE(empty.empty());
  EXPECT_EQ(empty.view(), "");
  EXPECT_EQ(Bytes::Copy(""), empty);
}

TEST(Bytes, CopiesShareContentAndOutliveTheFirst) {
  Bytes copy;
  const char* first_data = nullptr;
  {
    const Bytes first = Bytes::Copy("payload");
    first_data = first.view().data();
    copy = first;
  }
  EXPECT_EQ(copy.view(), "payload");
  EXPECT_EQ(copy.view().data(), first_data);
}

TEST(Bytes, MoveAndAssignment) {
  Bytes a = Bytes::Copy("a");
  Bytes b = Bytes::Copy("b");
  b = std::move(a);
  EXPECT_EQ(b.view(), "a");
  const Bytes c(std::move(b));
  EXPECT_EQ(c.view(), "a");
  Bytes d = c;
  const Bytes& alias = d;
  d = alias;
  EXPECT_EQ(d.view(), "a");
}

TEST(Bytes, BuildFillsInPlace) {
  const Bytes built = Bytes::Build(3, [](char* out) {
    for (char c = 'x'; c <= 'z'; ++c) *out++ = c;
  });
  EXPECT_EQ(built.view(), "xyz");
  EXPECT_EQ(built, Bytes::Copy("xyz"));
  EXPECT_FALSE(built == Bytes::Copy("xy"));
}

TEST(Bytes, CopiesMayBeMadeAndDroppedByManyThreads) {
  const Bytes shared = Bytes::Copy("shared by all");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([copy = shared] {
      for (int n = 0; n < 10000; ++n) {
        const Bytes another = copy;
        ASSERT_EQ(another.size(), 13u);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(shared.view(), "shared by all");
}

}  // namespace
}  // namespace etcdd::base
