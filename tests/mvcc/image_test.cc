// Images of backends: the same bytes from either kind, whole or refused.

#include "mvcc/backend/image.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mvcc/backend/mem_backend.h"
#include "mvcc/backend/rocks_backend.h"
#include "server/base/crc32c.h"
#include "server/base/random.h"
#include "tests/support/temp_dir.h"

namespace etcdd::mvcc {
namespace {

using ::testing::HasSubstr;

using Record = std::tuple<Bucket, std::string, std::string>;

std::vector<Record> Records(const Backend& backend) {
  std::vector<Record> records;
  const auto view = backend.NewView();
  for (int i = 0; i < kBucketCount; ++i) {
    const auto bucket = static_cast<Bucket>(i);
    EXPECT_TRUE(view->Scan(bucket, "", "", [&](std::string_view key, std::string_view value) {
                      records.emplace_back(bucket, key, value);
                      return true;
                    }).ok());
  }
  return records;
}

void Put(Backend& backend, Bucket bucket, std::string_view key, std::string_view value) {
  const auto batch = backend.NewBatch();
  batch->Put(bucket, key, value);
  ASSERT_TRUE(backend.Write(*batch).ok());
}

std::vector<std::string> Pieces(std::unique_ptr<const View> view) {
  std::vector<std::string> pieces;
  ImageReader reader(std::move(view));
  while (true) {
    absl::StatusOr<std::string> piece = reader.Next();
    EXPECT_TRUE(piece.ok()) << piece.status();
    if (!piece.ok() || piece->empty()) break;
    EXPECT_LE(piece->size(), kImagePieceBytesMax);
    pieces.push_back(*std::move(piece));
  }
  EXPECT_EQ(*reader.Next(), "") << "the end stays the end";
  return pieces;
}

std::string Image(const Backend& backend) {
  std::string image;
  for (const std::string& piece : Pieces(backend.NewView())) image += piece;
  return image;
}

// Hands out `image` in pieces of `step` bytes.
std::function<absl::StatusOr<std::string>()> InPieces(std::string image, size_t step) {
  return [image = std::move(image), step, at = size_t{0}]() mutable -> absl::StatusOr<std::string> {
    const std::string piece = image.substr(std::min(at, image.size()), step);
    at += piece.size();
    return piece;
  };
}

absl::Status Load(const std::string& image, Backend& into, size_t step = kImagePieceBytesMax) {
  return LoadImage(InPieces(image, step), into);
}

std::string Random(base::Random& random, uint64_t length) {
  std::string bytes;
  while (bytes.size() < length) bytes.push_back(static_cast<char>(random.Uniform(256)));
  return bytes;
}

void FillRandomly(base::Random& random, int operations, Backend& backend) {
  const auto batch = backend.NewBatch();
  for (int i = 0; i < operations; ++i) {
    const auto bucket = static_cast<Bucket>(random.Uniform(kBucketCount));
    const std::string key = Random(random, random.Uniform(3));
    if (random.Uniform(4) == 0) {
      batch->Delete(bucket, key);
    } else {
      batch->Put(bucket, key, Random(random, random.Uniform(i % 50 == 0 ? 300'000 : 200)));
    }
  }
  ASSERT_TRUE(backend.Write(*batch).ok());
}

class Mem {
 public:
  std::unique_ptr<Backend> Make() { return std::make_unique<MemBackend>(); }
};

class Rocks {
 public:
  std::unique_ptr<Backend> Make() {
    auto opened = OpenRocksBackend(directory_.Path(absl::StrCat("db", ++made_)), {});
    EXPECT_TRUE(opened.ok()) << opened.status();
    return std::move(*opened);
  }

 private:
  testing::TempDir directory_;
  int made_ = 0;
};

template <typename Kind>
class ImageTest : public ::testing::Test {
 protected:
  Kind kind_;
  const std::unique_ptr<base::Random> random_ = base::NewSeededRandom(7);
};
using Kinds = ::testing::Types<Mem, Rocks>;
TYPED_TEST_SUITE(ImageTest, Kinds);

TYPED_TEST(ImageTest, ComesBackAsItWas) {
  const auto from = this->kind_.Make();
  Put(*from, Bucket::kMeta, "consistent_index", std::string("\0\0\0\0\0\0\0\7", 8));
  Put(*from, Bucket::kKey, std::string(17, '\0'), "first");
  Put(*from, Bucket::kKey, std::string(17, '\xff'), "");
  Put(*from, Bucket::kAlarm, "", "the empty key");
  const auto into = this->kind_.Make();
  ASSERT_EQ(Load(Image(*from), *into), absl::OkStatus());
  EXPECT_EQ(Records(*into), Records(*from));
  EXPECT_EQ(Records(*into).size(), 4u);
}

TYPED_TEST(ImageTest, AnEmptyBackendHasAnImageToo) {
  const auto from = this->kind_.Make();
  const auto into = this->kind_.Make();
  const std::string image = Image(*from);
  EXPECT_EQ(image.size(), 16u + 12u + 13u);
  EXPECT_EQ(Load(image, *into), absl::OkStatus());
  EXPECT_TRUE(Records(*into).empty());
}

TYPED_TEST(ImageTest, RandomStoresComeBackWhateverThePieces) {
  for (int round = 0; round < 6; ++round) {
    const auto from = this->kind_.Make();
    FillRandomly(*this->random_, 1000, *from);
    const std::string image = Image(*from);
    const auto into = this->kind_.Make();
    const size_t step = this->random_->Uniform(100'000) + 1;
    ASSERT_EQ(Load(image, *into, step), absl::OkStatus()) << step;
    ASSERT_EQ(Records(*into), Records(*from));
    ASSERT_EQ(Image(*into), image);
  }
}

TYPED_TEST(ImageTest, IsOfTheViewNotOfLaterWrites) {
  const auto from = this->kind_.Make();
  for (int i = 0; i < 30; ++i) {
    Put(*from, Bucket::kKey, absl::StrCat("k", 10 + i), std::string(100'000, 'v'));
  }
  const std::string before = Image(*from);
  ImageReader reader(from->NewView());
  std::string image = *reader.Next();
  const auto batch = from->NewBatch();
  for (int i = 0; i < 30; ++i) batch->Delete(Bucket::kKey, absl::StrCat("k", 10 + i));
  batch->Put(Bucket::kKey, "k5", "late");
  ASSERT_TRUE(from->Write(*batch).ok());
  while (true) {
    const std::string piece = *reader.Next();
    if (piece.empty()) break;
    image += piece;
  }
  EXPECT_EQ(image, before);
}

TYPED_TEST(ImageTest, ARecordLargerThanAPieceIsCut) {
  const auto from = this->kind_.Make();
  Put(*from, Bucket::kKey, "a", "small");
  Put(*from, Bucket::kKey, "b", Random(*this->random_, 3 * kImagePieceBytesMax + 5));
  Put(*from, Bucket::kKey, "c", Random(*this->random_, kImagePieceBytesMax));
  Put(*from, Bucket::kMeta, "d", "small");
  EXPECT_EQ(Pieces(from->NewView()).size(), 1u + 4u + 2u + 1u + 1u);
  const auto into = this->kind_.Make();
  ASSERT_EQ(Load(Image(*from), *into), absl::OkStatus());
  EXPECT_EQ(Records(*into), Records(*from));
}

TYPED_TEST(ImageTest, GoesIntoAnEmptyBackendOnly) {
  const auto from = this->kind_.Make();
  const auto into = this->kind_.Make();
  Put(*into, Bucket::kLease, "k", "v");
  const absl::Status status = Load(Image(*from), *into);
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("bucket lease"));
}

TEST(Image, IsTheSameFromEitherKind) {
  const auto random = base::NewSeededRandom(3);
  MemBackend mem;
  FillRandomly(*random, 2000, mem);
  const std::string image = Image(mem);
  Rocks rocks;
  const auto other = rocks.Make();
  ASSERT_EQ(Load(image, *other), absl::OkStatus());
  EXPECT_EQ(Image(*other), image);
}

// Written by hand after the comment in image.h.
TEST(Image, BytesAreAsDocumented) {
  MemBackend mem;
  Put(mem, Bucket::kKey, "k", "vw");
  Put(mem, Bucket::kMeta, "", "");
  const auto number = [](uint32_t value) {
    return std::string{static_cast<char>(value >> 24), static_cast<char>(value >> 16),
                       static_cast<char>(value >> 8), static_cast<char>(value)};
  };
  std::string header = "etcddimg" + number(1);
  header += number(base::Crc32c(0, header));
  const auto head = [&](const std::string& payload) {
    std::string bytes =
        number(static_cast<uint32_t>(payload.size())) + number(base::Crc32c(0, payload));
    return bytes + number(base::Crc32c(0, bytes));
  };
  const std::string records = std::string("r\5\1k\2vw", 7) + std::string("\x9\0\0", 3);
  const std::string end = "e" + number(0) + number(2) + number(base::Crc32c(0, head(records)));
  EXPECT_EQ(Image(mem), header + head(records) + records + head(end) + end);
}

class DamagedImageTest : public ::testing::Test {
 protected:
  DamagedImageTest() {
    MemBackend mem;
    Put(mem, Bucket::kAuth, "user", "root");
    Put(mem, Bucket::kKey, "key", std::string(200, 'v'));
    Put(mem, Bucket::kMeta, "consistent_index", "12345678");
    image_ = Image(mem);
  }
  void ExpectRefused(const std::string& image, size_t step = kImagePieceBytesMax) {
    MemBackend into;
    const absl::Status status = Load(image, into, step);
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("backend image is damaged at byte "));
  }
  std::string image_;
};

TEST_F(DamagedImageTest, CutAnywhereItIsRefused) {
  for (size_t size = 0; size < image_.size(); ++size) {
    SCOPED_TRACE(size);
    ExpectRefused(image_.substr(0, size));
    ExpectRefused(image_.substr(0, size), 7);
  }
}

TEST_F(DamagedImageTest, FlippedAnywhereItIsRefused) {
  for (size_t i = 0; i < image_.size(); ++i) {
    for (int mask = 1; mask < 256; ++mask) {
      SCOPED_TRACE(absl::StrCat("byte ", i, " mask ", mask));
      std::string flipped = image_;
      flipped[i] = static_cast<char>(flipped[i] ^ mask);
      ExpectRefused(flipped);
    }
  }
}

TEST_F(DamagedImageTest, MoreThanAWholeOneIsRefused) {
  ExpectRefused(image_ + '\0');
  ExpectRefused(image_ + image_);
}

// Frames of a larger image, by their heads.
std::vector<std::string> Frames(const std::string& image) {
  std::vector<std::string> frames;
  for (size_t at = 16; at < image.size();) {
    size_t size = 0;
    for (size_t i = 0; i < 4; ++i) size = size << 8 | static_cast<uint8_t>(image[at + i]);
    frames.push_back(image.substr(at, 12 + size));
    at += 12 + size;
  }
  return frames;
}

TEST_F(DamagedImageTest, LostDoubledAndSwappedFramesAreRefused) {
  MemBackend mem;
  for (char c = 'a'; c < 'e'; ++c) {
    Put(mem, Bucket::kKey, std::string(1, c), std::string(kImagePieceBytesMax, c));
  }
  const std::string image = Image(mem);
  const std::string header = image.substr(0, 16);
  const std::vector<std::string> f = Frames(image);
  ASSERT_EQ(f.size(), 5u);
  MemBackend into;
  ASSERT_EQ(Load(header + f[0] + f[1] + f[2] + f[3] + f[4], into), absl::OkStatus());
  ExpectRefused(header + f[0] + f[1] + f[3] + f[4]);
  ExpectRefused(header + f[0] + f[1] + f[1] + f[2] + f[3] + f[4]);
  ExpectRefused(header + f[1] + f[0] + f[2] + f[3] + f[4]);
  ExpectRefused(header + f[4]);
  // As many records, but of another image.
  MemBackend other;
  for (char c = 'a'; c < 'e'; ++c) {
    Put(other, Bucket::kKey, std::string(1, c), std::string(kImagePieceBytesMax, 'x'));
  }
  ExpectRefused(header + f[0] + f[1] + f[2] + Frames(Image(other))[3] + f[4]);
}

TEST_F(DamagedImageTest, ALaterFormatIsNamed) {
  image_[11] = 2;
  const uint32_t crc = base::Crc32c(0, std::string_view(image_).substr(0, 12));
  for (int i = 0; i < 4; ++i) image_[12 + i] = static_cast<char>(crc >> (24 - 8 * i));
  MemBackend into;
  const absl::Status status = Load(image_, into);
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("format version 2"));
}

TEST_F(DamagedImageTest, ErrorsOfTheSourceAndOfTheBackendArePassedOn) {
  MemBackend into;
  EXPECT_EQ(LoadImage([]() -> absl::StatusOr<std::string> {
              return absl::UnavailableError("peer gone");
            }, into),
            absl::UnavailableError("peer gone"));
  into.FailWrite(1);
  EXPECT_THAT(std::string(Load(image_, into).message()), HasSubstr("injected fault"));
}

TEST_F(DamagedImageTest, AParserThatFailedStaysFailed) {
  ImageParser parser;
  const auto on_record = [](Bucket, std::string_view, std::string_view) {
    return absl::OkStatus();
  };
  ASSERT_TRUE(absl::IsDataLoss(parser.Append("etcddimG01234567", on_record)));
  EXPECT_TRUE(absl::IsDataLoss(parser.Append(image_, on_record)));
  EXPECT_TRUE(absl::IsDataLoss(parser.Finish()));
}

}  // namespace
}  // namespace etcdd::mvcc
