// How a Wal comes to be, and what can be learned of a log without one.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "wal/record.h"
#include "wal/repair.h"
#include "wal/replay.h"
#include "wal/segment.h"
#include "wal/wal.h"

namespace etcdd::wal {
namespace {

bool HasSuffix(const std::string& name, std::string_view suffix) {
  return name.size() >= suffix.size() &&
         name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0;
}

std::string StripSlashes(std::string dir) {
  while (dir.size() > 1 && dir.back() == '/') dir.pop_back();
  return dir;
}

std::string ParentOf(const std::string& dir) {
  const size_t slash = dir.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : dir.substr(0, slash);
}

// Creates `dir` and what is missing above it, and makes the names of the latter durable.
absl::Status CreateDirsDurably(base::FileSystem& fs, const std::string& dir) {
  std::vector<std::string> to_sync;
  for (std::string above = ParentOf(dir); !fs.Exists(above) && above != ParentOf(above);) {
    above = ParentOf(above);
    to_sync.push_back(above);
  }
  ETCDD_RETURN_IF_ERROR(fs.CreateDirs(dir));
  for (const std::string& path : to_sync) ETCDD_RETURN_IF_ERROR(fs.SyncDir(path));
  return absl::OkStatus();
}

void CheckOptions(const Options& options) {
  ETCDD_CHECK(options.clock != nullptr);
  ETCDD_CHECK(options.segment_bytes > 0);
}

// AlreadyExists for a log, FailedPrecondition for files that are not ours to remove.
absl::Status CheckVacant(base::FileSystem& fs, const std::string& dir) {
  absl::StatusOr<std::vector<std::string>> names = fs.List(dir);
  if (absl::IsNotFound(names.status())) return absl::OkStatus();
  ETCDD_RETURN_IF_ERROR(names.status());
  for (const std::string& name : *names) {
    if (HasSuffix(name, ".wal")) {
      return absl::AlreadyExistsError(absl::StrCat(dir, ": holds a log already"));
    }
    if (!HasSuffix(name, ".tmp")) {
      return absl::FailedPreconditionError(
          absl::StrCat(dir, ": cannot become a WAL directory, it holds ", name));
    }
  }
  return fs.RemoveTree(dir);
}

// The first segment as it stands in a new log.
struct FirstSegment {
  std::unique_ptr<base::File> file;
  uint64_t end;
  uint32_t crc;
};

absl::StatusOr<FirstSegment> WriteFirstSegment(base::FileSystem& fs, const Options& options,
                                               const std::string& path,
                                               std::string_view metadata) {
  FirstSegment first{};
  ETCDD_ASSIGN_OR_RETURN(first.file, CreateSegmentFile(fs, path, options.segment_bytes));
  RecordEncoder encoder(0);
  encoder.AddCrc();
  encoder.AddMetadata(metadata);
  encoder.AddSnapshot({});
  first.end = encoder.bytes();
  first.crc = encoder.crc();
  ETCDD_RETURN_IF_ERROR(first.file->WriteAt(0, encoder.Pieces()));
  if (!options.unsafe_no_fsync) ETCDD_RETURN_IF_ERROR(first.file->Sync());
  return first;
}

// Locks the segments, replays them and cuts a torn tail.
absl::StatusOr<Replayed> ReplayAndRepair(base::FileSystem& fs, const std::string& dir,
                                         const SnapshotRecord& start,
                                         std::vector<Segment>& segments) {
  ETCDD_ASSIGN_OR_RETURN(Replayed replayed, ReplaySegments(segments, dir, start));
  if (!replayed.end.torn) return replayed;
  ETCDD_RETURN_IF_ERROR(CutTornTail(fs, segments.back(), replayed.end.offset));
  ETCDD_RETURN_IF_ERROR(fs.SyncDir(dir));
  // Once: what is read back now must be whole.
  ETCDD_ASSIGN_OR_RETURN(replayed, ReplaySegments(segments, dir, start));
  if (replayed.end.torn) {
    return absl::DataLossError(
        absl::StrCat(segments.back().path, ": still torn after the repair"));
  }
  return replayed;
}

// Empties the tail behind its last record and reserves the space again: what a torn write left
// behind a zero length field must not be taken for records once the data reaches it.
absl::Status ClearTail(const Options& options, base::File& tail, uint64_t end) {
  ETCDD_RETURN_IF_ERROR(tail.Truncate(end));
  ETCDD_RETURN_IF_ERROR(tail.Preallocate(std::max(options.segment_bytes, end)));
  return options.unsafe_no_fsync ? absl::OkStatus() : tail.Sync();
}

absl::StatusOr<std::vector<Segment>> OpenFrom(base::FileSystem& fs, const std::string& dir,
                                              uint64_t index, SegmentAccess access) {
  ETCDD_ASSIGN_OR_RETURN(std::vector<SegmentName> all, ListSegments(fs, dir));
  ETCDD_ASSIGN_OR_RETURN(const std::vector<SegmentName> names,
                         SelectSegments(dir, std::move(all), index));
  return OpenSegments(fs, dir, names, access);
}

}  // namespace

bool Wal::Exists(base::FileSystem& fs, const std::string& dir) {
  const absl::StatusOr<std::vector<std::string>> names = fs.List(dir);
  if (!names.ok()) return false;
  return std::any_of(names->begin(), names->end(),
                     [](const std::string& name) { return HasSuffix(name, ".wal"); });
}

absl::StatusOr<std::unique_ptr<Wal>> Wal::Create(base::FileSystem& fs, Options options,
                                                 const std::string& wal_dir,
                                                 std::string_view metadata) {
  CheckOptions(options);
  const std::string dir = StripSlashes(wal_dir);
  ETCDD_RETURN_IF_ERROR(CheckVacant(fs, dir));
  const std::string draft = absl::StrCat(dir, ".tmp");
  ETCDD_RETURN_IF_ERROR(fs.RemoveTree(draft));
  ETCDD_RETURN_IF_ERROR(CreateDirsDurably(fs, draft));

  Position position;
  position.segments.emplace_back();
  const std::string file_name = FormatSegmentName(position.segments.back().name);
  ETCDD_ASSIGN_OR_RETURN(
      FirstSegment first,
      WriteFirstSegment(fs, options, base::JoinPath(draft, file_name), metadata));
  ETCDD_RETURN_IF_ERROR(fs.SyncDir(draft));
  ETCDD_RETURN_IF_ERROR(fs.Rename(draft, dir));

  position.segments.back().path = base::JoinPath(dir, file_name);
  position.segments.back().file = std::move(first.file);
  position.offset = first.end;
  position.crc = first.crc;
  std::unique_ptr<Wal> wal(
      new Wal(fs, std::move(options), dir, std::string(metadata), std::move(position)));
  absl::Status status = fs.SyncDir(ParentOf(dir));
  if (status.ok()) status = wal->StartBackgroundWork();
  if (status.ok()) return wal;

  // The name is there but may not be durable: out of the way, or the next start takes it for real.
  const std::string aside = absl::StrCat(
      dir, ".broken.",
      absl::FormatTime("%Y%m%d.%H%M%E6S", wal->options_.clock->Wall(), absl::UTCTimeZone()));
  wal.reset();
  if (absl::Status moved = fs.Rename(dir, aside); !moved.ok()) {
    ETCDD_LOG(kWarn, "failed to set a half-made WAL aside", {base::LogField(moved)});
  }
  return status;
}

absl::StatusOr<Wal::Opened> Wal::Open(base::FileSystem& fs, Options options,
                                      const std::string& wal_dir, const SnapshotRecord& start) {
  CheckOptions(options);
  const std::string dir = StripSlashes(wal_dir);
  Position position;
  ETCDD_ASSIGN_OR_RETURN(position.segments,
                         OpenFrom(fs, dir, start.index, SegmentAccess::kAppend));
  ETCDD_ASSIGN_OR_RETURN(Replayed replayed, ReplayAndRepair(fs, dir, start, position.segments));
  ETCDD_RETURN_IF_ERROR(
      ClearTail(options, *position.segments.back().file, replayed.end.offset));
  position.offset = replayed.end.offset;
  position.crc = replayed.end.crc;
  position.last_index = replayed.last_index;
  position.hard_state = replayed.contents.hard_state;

  Opened opened;
  opened.wal.reset(new Wal(fs, std::move(options), dir, replayed.contents.metadata,
                           std::move(position)));
  ETCDD_RETURN_IF_ERROR(opened.wal->StartBackgroundWork());
  opened.contents = std::move(replayed.contents);
  return opened;
}

absl::StatusOr<std::vector<SnapshotRecord>> ValidSnapshotRecords(base::FileSystem& fs,
                                                                 const std::string& dir) {
  ETCDD_ASSIGN_OR_RETURN(const std::vector<SegmentName> names, ListSegments(fs, dir));
  if (names.empty()) return absl::NotFoundError(absl::StrCat(dir, ": no WAL segments"));
  ETCDD_RETURN_IF_ERROR(CheckConsecutive(dir, names));
  ETCDD_ASSIGN_OR_RETURN(std::vector<Segment> segments,
                         OpenSegments(fs, dir, names, SegmentAccess::kRead));
  std::vector<SnapshotRecord> marks;
  HardState state;
  const auto collect = [&](const Record& record, const RecordPlace& at) -> absl::Status {
    if (record.type == RecordType::kSnapshot) {
      const std::optional<SnapshotRecord> mark = ParseSnapshot(record.data);
      if (!mark) return absl::DataLossError(absl::StrCat(at.path, ": malformed snapshot mark"));
      marks.push_back(*mark);
    } else if (record.type == RecordType::kState) {
      const std::optional<HardState> parsed = ParseHardState(record.data);
      if (!parsed) return absl::DataLossError(absl::StrCat(at.path, ": malformed hard state"));
      state = *parsed;
    }
    return absl::OkStatus();
  };
  ETCDD_RETURN_IF_ERROR(ScanSegments(segments, collect).status());
  marks.erase(std::remove_if(marks.begin(), marks.end(),
                             [&](const SnapshotRecord& m) { return m.index > state.commit; }),
              marks.end());
  return marks;
}

absl::StatusOr<Contents> ReadContents(base::FileSystem& fs, const std::string& dir,
                                      const SnapshotRecord& start) {
  ETCDD_ASSIGN_OR_RETURN(std::vector<Segment> segments,
                         OpenFrom(fs, dir, start.index, SegmentAccess::kRead));
  ETCDD_ASSIGN_OR_RETURN(Replayed replayed, ReplaySegments(segments, dir, start));
  return std::move(replayed.contents);
}

absl::StatusOr<std::vector<std::string>> PurgeSegments(base::FileSystem& fs,
                                                       const std::string& dir, size_t max_wals) {
  std::vector<std::string> purged;
  if (max_wals == 0) return purged;
  ETCDD_ASSIGN_OR_RETURN(const std::vector<SegmentName> names, ListSegments(fs, dir));
  for (size_t i = 0; i + max_wals < names.size(); ++i) {
    const std::string name = FormatSegmentName(names[i]);
    const std::string path = base::JoinPath(dir, name);
    ETCDD_ASSIGN_OR_RETURN(auto file, fs.Open(path, base::OpenMode::kReadWrite));
    ETCDD_ASSIGN_OR_RETURN(const bool unused, file->TryLock());
    if (!unused) break;
    ETCDD_RETURN_IF_ERROR(fs.RemoveFile(path));
    ETCDD_LOG(kInfo, "purged", {{"path", path}});
    purged.push_back(name);
  }
  if (!purged.empty()) ETCDD_RETURN_IF_ERROR(fs.SyncDir(dir));
  return purged;
}

}  // namespace etcdd::wal
