#pragma once

// Keeps one empty segment file ready, so that a cut does not wait for the disk to make one: 0.tmp
// and 1.tmp by turns in the log's directory, locked, space reserved, and pre-written with zeros on
// request.
//
// One thread at a time calls it (the Wal's caller); the file is made on the background strand, or
// inline when there is none.

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/base/file_system.h"
#include "server/base/strand.h"
#include "wal/prewriter.h"

namespace etcdd::wal {

class SegmentPipeline {
 public:
  struct Prepared {
    std::string path;
    std::unique_ptr<base::File> file;      // locked
    std::shared_ptr<Prewriter> prewriter;  // null without a strand or when pre-writing is off
  };

  // `fs` and `strand` (may be null) must outlive the pipeline. Files in `dir` left over from an
  // earlier run are overwritten.
  SegmentPipeline(base::FileSystem& fs, std::string dir, base::Strand* strand,
                  uint64_t segment_bytes, PrewriteOptions prewrite);
  // Removes the file that was not taken.
  ~SegmentPipeline();

  // Has the next file made unless it is there. A failure is reported by Take, which tries again
  // first if the disk was full.
  void Prepare();

  // Begins to pre-write the file that is ready, if any. Cheap when begun before.
  void Prewrite();

  // Hands over the next file, waiting for it or making it now. The caller renames it away before
  // the call of Prepare after the next one.
  absl::StatusOr<Prepared> Take();

 private:
  struct State;
  absl::StatusOr<Prepared> TakeNext();

  std::shared_ptr<State> state_;  // shared with the task on the strand
};

}  // namespace etcdd::wal
