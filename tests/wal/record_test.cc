// One record's bytes, both ways.

#include "wal/record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/escaping.h"
#include "server/base/crc32c.h"

namespace etcdd::wal {
namespace {

std::string Unhex(std::string_view hex) {
  return absl::HexStringToBytes(absl::string_view(hex.data(), hex.size()));
}

std::string Encoded(RecordEncoder& encoder) {
  std::string bytes;
  for (const std::string_view piece : encoder.Pieces()) bytes += piece;
  return bytes;
}

TEST(Record, FirstThreeRecordsOfARealLog) {
  // Seen in a log of etcd 3.4.23.
  const std::string metadata = Unhex("0897ca939bbda2c3da2510fbaafca09d89dd92f701");
  RecordEncoder encoder(0);
  encoder.AddCrc();
  encoder.AddMetadata(metadata);
  EXPECT_EQ(encoder.crc(), 0x6e507049u);
  encoder.AddSnapshot({});
  EXPECT_EQ(encoder.crc(), 0x5aae529eu);

  std::string expected = Unhex("0400000000000084" "08041000" "00000000");
  expected += Unhex("1f00000000000081" "0801" "10c9e0c1f206" "1a15") + metadata + '\0';
  expected += Unhex("0e00000000000082" "0805" "109ea5b9d505" "1a04" "08001000" "0000");
  EXPECT_EQ(absl::BytesToHexString(Encoded(encoder)), absl::BytesToHexString(expected));
  EXPECT_EQ(encoder.bytes(), expected.size());
}

TEST(Record, LeadersNoOpEntryHasNoDataField) {
  RecordEncoder encoder(0);
  const EntryView entry = {0, 2, 2, ""};
  encoder.AddEntries(absl::MakeConstSpan(&entry, 1));
  const std::string bytes = Encoded(encoder);
  EXPECT_NE(bytes.find(Unhex("1a06" "080010021802")), std::string::npos);
}

TEST(Record, EntryStateAndSnapshotComeBackAsWritten) {
  const std::string payload = "payload";
  const EntryView entry = {1, 300, UINT64_MAX, payload};
  const HardState state = {UINT64_MAX, 1ull << 63, 5};
  const SnapshotRecord snapshot = {1 << 20, 7, std::string("\x08\x01\x00", 3)};
  RecordEncoder encoder(0);
  encoder.AddEntries(absl::MakeConstSpan(&entry, 1));
  encoder.AddState(state);
  encoder.AddSnapshot(snapshot);

  std::string bytes = Encoded(encoder);
  std::vector<Record> records;
  std::string_view left = bytes;
  while (!left.empty()) {
    const std::optional<Frame> frame = ParseFrame(left.data());
    ASSERT_TRUE(frame);
    const std::optional<Record> record = ParseRecord(left.substr(8, frame->record_bytes));
    ASSERT_TRUE(record);
    records.push_back(*record);
    left.remove_prefix(8 + frame->record_bytes + frame->padding_bytes);
  }
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].type, RecordType::kEntry);
  EXPECT_EQ(ParseEntry(records[0].data), (Entry{1, 300, UINT64_MAX, base::Bytes::Copy(payload)}));
  EXPECT_EQ(ParseHardState(records[1].data), state);
  EXPECT_EQ(ParseSnapshot(records[2].data), snapshot);
  EXPECT_EQ(records[2].crc, encoder.crc());
}

TEST(Record, EveryPayloadSizeIsPaddedToEight) {
  for (size_t size = 0; size < 64; ++size) {
    const std::string payload(size, 'x');
    const EntryView entry = {0, 1, 1, payload};
    RecordEncoder encoder(0);
    encoder.AddEntries(absl::MakeConstSpan(&entry, 1));
    const std::string bytes = Encoded(encoder);
    ASSERT_EQ(bytes.size() % 8, 0u);
    const std::optional<Frame> frame = ParseFrame(bytes.data());
    ASSERT_TRUE(frame);
    EXPECT_EQ(8 + frame->record_bytes + frame->padding_bytes, bytes.size());
    EXPECT_LT(frame->padding_bytes, 8u);
    EXPECT_EQ((static_cast<uint8_t>(bytes[7]) & 0x80) != 0, frame->padding_bytes != 0);
  }
}

TEST(Record, LargePayloadsAreHandedOnUncopied) {
  const std::string small = "small";
  const std::string large(100'000, 'L');
  const std::vector<EntryView> entries = {
      {0, 1, 1, small}, {0, 1, 2, large}, {0, 1, 3, small}, {0, 1, 4, large}};
  RecordEncoder encoder(0);
  encoder.AddEntries(entries);
  size_t uncopied = 0;
  for (const std::string_view piece : encoder.Pieces()) uncopied += piece.data() == large.data();
  EXPECT_EQ(uncopied, 2u);

  const std::string bytes = Encoded(encoder);
  EXPECT_EQ(bytes.size(), encoder.bytes());
  std::string_view left = bytes;
  uint32_t crc = 0;
  for (const EntryView& expected : entries) {
    const std::optional<Frame> frame = ParseFrame(left.data());
    ASSERT_TRUE(frame);
    const std::optional<Record> record = ParseRecord(left.substr(8, frame->record_bytes));
    ASSERT_TRUE(record);
    crc = base::Crc32c(crc, record->data);
    EXPECT_EQ(record->crc, crc);
    const std::optional<Entry> entry = ParseEntry(record->data);
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->data.view(), expected.data);
    left.remove_prefix(8 + frame->record_bytes + frame->padding_bytes);
  }
  EXPECT_TRUE(left.empty());

  encoder.Clear();
  EXPECT_EQ(encoder.bytes(), 0u);
  EXPECT_TRUE(encoder.Pieces().empty());
  EXPECT_EQ(encoder.crc(), crc) << "the checksum goes on";
}

TEST(Record, ImpossibleLengthFieldsAreRefused) {
  EXPECT_TRUE(ParseFrame(Unhex("0400000000000084").data()));
  EXPECT_TRUE(ParseFrame(Unhex("0800000000000000").data()));
  for (const char* hex : {
           "0400000000000004",  // padding without the mark
           "0400000000000000",  // padding missing
           "0400000000000083",  // wrong padding
           "0800000000000080",  // mark without padding
           "0400000000000094",  // unused bit
           "0000000000000084",  // nothing but padding
       }) {
    EXPECT_FALSE(ParseFrame(Unhex(hex).data())) << hex;
  }
}

TEST(Record, BothFormsOfAbsentNumbersAreRead) {
  // 3.7 leaves fields that are not set away, older ones write zeros.
  EXPECT_EQ(ParseSnapshot(""), SnapshotRecord());
  EXPECT_EQ(ParseSnapshot(Unhex("08001000")), SnapshotRecord());
  EXPECT_EQ(ParseEntry(Unhex("10021802")), (Entry{0, 2, 2, {}}));
  EXPECT_EQ(ParseEntry(Unhex("0800100218022200")), (Entry{0, 2, 2, {}}));
  EXPECT_EQ(ParseHardState(Unhex("0801")), (HardState{1, 0, 0}));
  const std::optional<Record> record = ParseRecord(Unhex("0804"));
  ASSERT_TRUE(record);
  EXPECT_EQ(record->type, RecordType::kCrc);
  EXPECT_EQ(record->crc, 0u);
}

TEST(Record, MalformedMessagesAreRefused) {
  for (const char* hex : {
           "08",              // no value
           "0880",            // varint cut
           "1a05616263",      // bytes cut
           "0a0101",          // type as bytes
           "1880",            // data as varint
           "10ffffffffff01",  // crc beyond 32 bits
           "0001",            // field 0
           "2001",            // unknown field
           "0b",              // group
       }) {
    EXPECT_FALSE(ParseRecord(Unhex(hex))) << hex;
  }
  EXPECT_FALSE(ParseEntry("")) << "no index";
  EXPECT_FALSE(ParseEntry(Unhex("080310021802"))) << "unknown type";
  EXPECT_FALSE(ParseEntry(Unhex("080110021802"))) << "conf change without data";
  EXPECT_FALSE(ParseEntry(Unhex("1001180120ff01"))) << "data as varint";
  EXPECT_FALSE(ParseHardState(Unhex("080010021802"))) << "a no-op entry is no state";
  EXPECT_FALSE(ParseHardState(Unhex("0801100218022201aa"))) << "an entry is no state";
  EXPECT_FALSE(ParseEntry(Unhex("080110051802"))) << "a state is no entry";
  EXPECT_FALSE(ParseSnapshot(Unhex("080110011801"))) << "a state is no snapshot";
}

TEST(Record, IntactContentIsRecognisedWhateverItsLengthField) {
  const EntryView entry = {0, 1, 1, "content"};
  RecordEncoder encoder(7);
  encoder.AddEntries(absl::MakeConstSpan(&entry, 1));
  std::string bytes = Encoded(encoder).substr(8);
  EXPECT_TRUE(StartsWithIntactRecord(bytes, 7));
  EXPECT_TRUE(StartsWithIntactRecord(bytes + "anything", 7));
  EXPECT_FALSE(StartsWithIntactRecord(bytes, 8));
  EXPECT_FALSE(StartsWithIntactRecord("", 7));
  bytes[bytes.find("content")] = 'C';
  EXPECT_FALSE(StartsWithIntactRecord(bytes, 7));
}

}  // namespace
}  // namespace etcdd::wal
