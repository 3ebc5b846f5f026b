#include "wal/replay.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "wal/segment_reader.h"

namespace etcdd::wal {
namespace {

// Checksum and metadata.
constexpr uint64_t kHeaderRecords = 2;

absl::Status DamagedAt(const RecordPlace& place, std::string_view what) {
  return absl::DataLossError(absl::StrCat(place.path, ": ",
                                          absl::string_view(what.data(), what.size()),
                                          " at offset ", place.offset));
}

class Replayer {
 public:
  explicit Replayer(const SnapshotRecord& start) : start_(start) {}

  absl::Status Visit(const Record& record, const RecordPlace& place) {
    switch (record.type) {
      case RecordType::kMetadata:
        return VisitMetadata(record, place);
      case RecordType::kEntry:
        return VisitEntry(record, place);
      case RecordType::kState: {
        const std::optional<HardState> state = ParseHardState(record.data);
        if (!state) return DamagedAt(place, "malformed hard state");
        if (state->term < contents_.hard_state.term ||
            state->commit < contents_.hard_state.commit) {
          return DamagedAt(place, "hard state goes back");
        }
        contents_.hard_state = *state;
        return absl::OkStatus();
      }
      case RecordType::kSnapshot:
        return VisitSnapshot(record, place);
      case RecordType::kCrc:
        return absl::OkStatus();
    }
    return DamagedAt(place, absl::StrCat("unknown record type ",
                                         static_cast<int64_t>(record.type)));
  }

  bool matched() const { return matched_; }
  uint64_t last_index() const { return last_index_; }
  Contents&& TakeContents() { return std::move(contents_); }

 private:
  absl::Status VisitMetadata(const Record& record, const RecordPlace& place) {
    if (has_metadata_ && contents_.metadata != record.data) {
      return DamagedAt(place, "metadata differs from that of an earlier segment");
    }
    has_metadata_ = true;
    contents_.metadata = std::string(record.data);
    return absl::OkStatus();
  }

  absl::Status VisitEntry(const Record& record, const RecordPlace& place) {
    std::optional<Entry> entry = ParseEntry(record.data);
    if (!entry) return DamagedAt(place, "malformed entry");
    last_index_ = entry->index;
    if (entry->index <= start_.index) return absl::OkStatus();
    const uint64_t position = entry->index - start_.index - 1;
    std::vector<Entry>& entries = contents_.entries;
    if (position > entries.size()) {
      return DamagedAt(place, absl::StrCat("entry ", entry->index, " follows entry ",
                                           start_.index + entries.size()));
    }
    entries.resize(static_cast<size_t>(position));
    entries.push_back(*std::move(entry));
    return absl::OkStatus();
  }

  absl::Status VisitSnapshot(const Record& record, const RecordPlace& place) {
    std::optional<SnapshotRecord> snapshot = ParseSnapshot(record.data);
    if (!snapshot) return DamagedAt(place, "malformed snapshot mark");
    last_index_ = std::max(last_index_, snapshot->index);
    if (snapshot->index != start_.index) return absl::OkStatus();
    if (snapshot->term != start_.term) {
      return absl::FailedPreconditionError(
          absl::StrCat(place.path, ": snapshot mark ", snapshot->index, " has term ",
                       snapshot->term, ", wanted ", start_.term, ", at offset ", place.offset));
    }
    matched_ = true;
    contents_.snapshot = *std::move(snapshot);
    return absl::OkStatus();
  }

  const SnapshotRecord& start_;
  Contents contents_;
  bool has_metadata_ = false;
  bool matched_ = false;
  uint64_t last_index_ = 0;
};

}  // namespace

absl::StatusOr<LogEnd> ScanSegments(
    std::vector<Segment>& segments,
    absl::FunctionRef<absl::Status(const Record&, const RecordPlace&)> visit) {
  ETCDD_CHECK(!segments.empty());
  LogEnd end;
  std::optional<uint32_t> crc;
  for (Segment& segment : segments) {
    const bool is_last = &segment == &segments.back();
    SegmentReader reader(*segment.file, segment.path, is_last, crc);
    ETCDD_RETURN_IF_ERROR(reader.Init());
    uint64_t records = 0;
    while (true) {
      const uint64_t offset = reader.valid_end();
      Record record{};
      ETCDD_ASSIGN_OR_RETURN(const SegmentReader::Outcome outcome, reader.Next(&record));
      if (outcome != SegmentReader::Outcome::kRecord) {
        end.torn = outcome == SegmentReader::Outcome::kTorn;
        break;
      }
      const RecordType expected = records == 0 ? RecordType::kCrc : RecordType::kMetadata;
      if (records < kHeaderRecords && record.type != expected) {
        return DamagedAt({segment.path, offset}, "segment header out of order");
      }
      ++records;
      ETCDD_RETURN_IF_ERROR(visit(record, {segment.path, offset}));
    }
    if (records < kHeaderRecords) {
      return DamagedAt({segment.path, reader.valid_end()}, "segment header incomplete");
    }
    end.offset = reader.valid_end();
    crc = reader.crc();
  }
  end.crc = crc.value_or(0);
  return end;
}

absl::StatusOr<Replayed> ReplaySegments(std::vector<Segment>& segments, const std::string& dir,
                                        const SnapshotRecord& start) {
  Replayer replayer(start);
  Replayed replayed;
  ETCDD_ASSIGN_OR_RETURN(replayed.end,
                         ScanSegments(segments, [&](const Record& record, const RecordPlace& at) {
                           return replayer.Visit(record, at);
                         }));
  if (!replayer.matched()) {
    return absl::NotFoundError(absl::StrCat(dir, ": no snapshot mark at index ", start.index));
  }
  replayed.last_index = replayer.last_index();
  replayed.contents = replayer.TakeContents();
  return replayed;
}

}  // namespace etcdd::wal
