// Feeds arbitrary bytes to the readers of the log as a segment and as single messages. Whatever
// they are, a reader returns or refuses; what it returns is what the writer would write again.
//
// Built with clang's -fsanitize=fuzzer it is driven by libFuzzer. Otherwise it has a main of its
// own that mutates a good segment: wal_record_fuzz [runs] [seed].

#include <cstdint>
#include <cstdlib>
#include <string>

#include "server/base/check.h"
#include "server/base/crc32c.h"
#include "server/base/random.h"
#include "tests/fuzz/mutate.h"
#include "tests/support/fault_file_system.h"
#include "wal/record.h"
#include "wal/segment_reader.h"

namespace etcdd::wal {
namespace {

constexpr char kPath[] = "/segment";

std::string Encoded(RecordEncoder& encoder) {
  std::string bytes;
  for (const std::string_view piece : encoder.Pieces()) bytes += piece;
  encoder.Clear();
  return bytes;
}

// A message that parses must survive being written and parsed again.
void CheckMessages(std::string_view bytes) {
  RecordEncoder encoder(0);
  const auto data_of = [&encoder](std::string* storage) {
    *storage = Encoded(encoder);
    const std::optional<Frame> frame = ParseFrame(storage->data());
    ETCDD_CHECK(frame.has_value());
    const std::optional<Record> record = ParseRecord(
        std::string_view(*storage).substr(kFrameHeaderBytes, frame->record_bytes));
    ETCDD_CHECK(record.has_value());
    return record->data;
  };
  std::string storage;
  if (const std::optional<Entry> entry = ParseEntry(bytes)) {
    const EntryView view = {entry->type, entry->term, entry->index, entry->data.view()};
    encoder.AddEntries(absl::MakeConstSpan(&view, 1));
    ETCDD_CHECK(ParseEntry(data_of(&storage)) == entry);
  }
  if (const std::optional<HardState> state = ParseHardState(bytes)) {
    encoder.AddState(*state);
    ETCDD_CHECK(ParseHardState(data_of(&storage)) == state);
  }
  if (const std::optional<SnapshotRecord> snapshot = ParseSnapshot(bytes)) {
    encoder.AddSnapshot(*snapshot);
    ETCDD_CHECK(ParseSnapshot(data_of(&storage)) == snapshot);
  }
  ParseRecord(bytes);
}

// Every record read has the right checksum, and the reader stays inside the file.
void CheckSegment(std::string_view bytes, bool is_last) {
  testing::FaultFileSystem fs;
  auto file = fs.Open(kPath, base::OpenMode::kCreate);
  ETCDD_CHECK(file.ok() && (*file)->WriteAt(0, bytes).ok());
  SegmentReader reader(**file, kPath, is_last, std::nullopt);
  ETCDD_CHECK(reader.Init().ok());
  uint32_t crc = 0;
  while (true) {
    Record record{};
    const absl::StatusOr<SegmentReader::Outcome> outcome = reader.Next(&record);
    ETCDD_CHECK(reader.valid_end() <= bytes.size() && reader.valid_end() % 8 == 0);
    if (!outcome.ok()) {
      ETCDD_CHECK(absl::IsDataLoss(outcome.status()));
      return;
    }
    if (*outcome != SegmentReader::Outcome::kRecord) {
      ETCDD_CHECK(is_last || *outcome == SegmentReader::Outcome::kEnd);
      return;
    }
    crc = record.type == RecordType::kCrc ? record.crc : base::Crc32c(crc, record.data);
    ETCDD_CHECK(crc == record.crc);
    CheckMessages(record.data);
  }
}

}  // namespace

void FuzzOne(std::string_view bytes) {
  CheckMessages(bytes);
  CheckSegment(bytes, true);
  CheckSegment(bytes, false);
}

}  // namespace etcdd::wal

#ifdef ETCDD_LIBFUZZER

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  etcdd::wal::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}

#else

namespace etcdd::wal {
namespace {

std::string GoodSegment() {
  RecordEncoder encoder(0);
  encoder.AddCrc();
  encoder.AddMetadata("metadata");
  encoder.AddSnapshot({});
  const std::string payload(700, 'p');
  const EntryView entries[] = {{0, 1, 1, ""}, {1, 1, 2, "change"}, {0, 2, 3, payload}};
  encoder.AddEntries(entries);
  encoder.AddState({2, 7, 3});
  encoder.AddSnapshot({3, 2, "conf"});
  return Encoded(encoder) + std::string(64, '\0');
}

}  // namespace
}  // namespace etcdd::wal

int main(int argc, char** argv) {
  const uint64_t runs = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100'000;
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  const auto random = etcdd::base::NewSeededRandom(seed);
  const std::string good = etcdd::wal::GoodSegment();
  etcdd::wal::FuzzOne(good);
  for (uint64_t run = 0; run < runs; ++run) {
    std::string bytes = good;
    // Also from the middle of a record on, so that the message parsers see more than tags.
    if (random->Uniform(2) == 0) bytes = bytes.substr(random->Uniform(bytes.size()));
    etcdd::testing::Mutate(*random, &bytes);
    etcdd::wal::FuzzOne(bytes);
  }
  return 0;
}

#endif
