// Feeds arbitrary bytes to the reader of backend images: as an image, and as the payload of a frame
// whose checksums are right. Whatever they are, it takes them apart or refuses them, the same way
// in any pieces; what it accepts is what the writer would write again.
//
// Built with clang's -fsanitize=fuzzer it is driven by libFuzzer. Otherwise it has a main of its
// own that mutates good images: image_fuzz [runs] [seed].

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "mvcc/backend/image.h"
#include "mvcc/backend/mem_backend.h"
#include "server/base/check.h"
#include "server/base/coding.h"
#include "server/base/crc32c.h"
#include "server/base/random.h"
#include "tests/fuzz/mutate.h"

namespace etcdd::mvcc {
namespace {

using Record = std::tuple<Bucket, std::string, std::string>;

struct Outcome {
  absl::StatusCode code;
  std::vector<Record> records;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome Parse(std::string_view bytes, size_t step) {
  ImageParser parser;
  Outcome outcome;
  const auto on_record = [&](Bucket bucket, std::string_view key, std::string_view value) {
    outcome.records.emplace_back(bucket, key, value);
    return absl::OkStatus();
  };
  absl::Status status;
  for (size_t at = 0; status.ok() && at < bytes.size(); at += step) {
    status = parser.Append(bytes.substr(at, step), on_record);
  }
  if (status.ok()) status = parser.Finish();
  ETCDD_CHECK(parser.records() == outcome.records.size());
  outcome.code = status.code();
  return outcome;
}

std::string Image(const Backend& backend) {
  std::string image;
  ImageReader reader(backend.NewView());
  while (true) {
    const std::string piece = *reader.Next();
    if (piece.empty()) return image;
    image += piece;
  }
}

void Fill(const std::vector<Record>& records, Backend& backend) {
  const auto batch = backend.NewBatch();
  for (const auto& [bucket, key, value] : records) batch->Put(bucket, key, value);
  ETCDD_CHECK(backend.Write(*batch).ok());
}

// True when it was accepted.
bool CheckImage(std::string_view bytes) {
  const Outcome outcome = Parse(bytes, bytes.size() + 1);
  ETCDD_CHECK(Parse(bytes, 5) == outcome);
  if (outcome.code != absl::StatusCode::kOk) {
    ETCDD_CHECK(outcome.code == absl::StatusCode::kDataLoss ||
                outcome.code == absl::StatusCode::kFailedPrecondition);
    return false;
  }
  MemBackend backend;
  Fill(outcome.records, backend);
  ETCDD_CHECK(Parse(Image(backend), SIZE_MAX) == outcome);
  return true;
}

void AppendNumber(uint32_t value, std::string* out) {
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<char>(value >> shift));
}

// A frame around any payload; returns its head.
std::string AppendFrame(std::string_view payload, std::string* image) {
  std::string head;
  AppendNumber(static_cast<uint32_t>(payload.size()), &head);
  AppendNumber(base::Crc32c(0, payload), &head);
  AppendNumber(base::Crc32c(0, head), &head);
  *image += head;
  *image += payload;
  return head;
}

// The bytes as records, with a right end behind them when they are some.
bool CheckPayload(std::string_view bytes) {
  std::string image = "etcddimg";
  AppendNumber(kImageVersion, &image);
  AppendNumber(base::Crc32c(0, image), &image);
  const std::string head = AppendFrame("r" + std::string(bytes), &image);
  std::string end = "e";
  base::AppendBigEndian64(Parse(image, SIZE_MAX).records.size(), &end);
  AppendNumber(base::Crc32c(0, head), &end);
  AppendFrame(end, &image);
  return CheckImage(image);
}

}  // namespace

void FuzzOne(std::string_view bytes) {
  CheckImage(bytes);
  CheckPayload(bytes);
}

}  // namespace etcdd::mvcc

#ifdef ETCDD_LIBFUZZER

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  etcdd::mvcc::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}

#else

namespace etcdd::mvcc {
namespace {

std::string GoodImage() {
  MemBackend backend;
  Fill({{Bucket::kAuth, "", ""},
        {Bucket::kKey, std::string(17, 'k'), std::string(300, 'v')},
        {Bucket::kKey, std::string(17, 'l'), "value"},
        {Bucket::kMeta, "consistent_index", "01234567"}},
       backend);
  return Image(backend);
}

}  // namespace
}  // namespace etcdd::mvcc

int main(int argc, char** argv) {
  const uint64_t runs = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100'000;
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  const auto random = etcdd::base::NewSeededRandom(seed);
  const std::string good = etcdd::mvcc::GoodImage();
  // What is between the first frame's head and the end: the records.
  const std::string records = good.substr(16 + 12 + 1, good.size() - (16 + 12 + 1) - (12 + 13));
  ETCDD_CHECK(etcdd::mvcc::CheckImage(good));
  ETCDD_CHECK(etcdd::mvcc::CheckPayload(records));
  for (uint64_t run = 0; run < runs; ++run) {
    std::string bytes = random->Uniform(2) == 0 ? good : records;
    etcdd::testing::Mutate(*random, &bytes);
    etcdd::mvcc::FuzzOne(bytes);
  }
  return 0;
}

#endif
