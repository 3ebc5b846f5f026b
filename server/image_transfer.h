#pragma once

// The image of a backend on both ends of its way from member to member: read from the backend of
// one, written into the snap directory of the other.

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "mvcc/backend/backend.h"
#include "server/consensus/transport.h"
#include "snap/db_file.h"

namespace etcdd::server {

struct BackendImage {
  // It contains exactly the entries up to this index (the consistent index in it).
  uint64_t index = 0;
  // Holds the backend, and the disk space of its state, until it is destroyed.
  std::unique_ptr<consensus::ImageSource> source;
};

// The backend as it is now. Cheap; the reading is done by the source.
absl::StatusOr<BackendImage> ImageOf(std::shared_ptr<const mvcc::Backend> backend);

// Writes an image that comes in as INDEX.snap.db. Commit answers DataLoss for one that is damaged
// or does not contain exactly the entries up to `index`. `files` must outlive the sink.
absl::StatusOr<std::unique_ptr<consensus::ImageSink>> ReceiveImage(snap::DbFiles& files,
                                                                   uint64_t index);

}  // namespace etcdd::server
