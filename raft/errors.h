#pragma once

// The library's errors. Each is one shared absl::Status (copying allocates nothing), told apart by
// the Is... functions below, never by comparing texts. The texts are etcd's.

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace etcdd::raft {

// Storage: the index lies before the first one kept. Recovery is a snapshot.  kOutOfRange
const absl::Status& CompactedError();
// Storage: the index lies after the last one stored.                          kNotFound
const absl::Status& UnavailableError();
// Storage: no snapshot just now; the library asks again later, not fatal.      kUnavailable
const absl::Status& SnapshotTemporarilyUnavailableError();
// Storage: a snapshot older than the stored one was offered.                   kFailedPrecondition
const absl::Status& SnapshotOutOfDateError();

// The proposal was not accepted and will not be committed (see DropReason).    kAborted
// "raft proposal dropped".
absl::Status ProposalDroppedError(std::string_view reason);
// The read request was not accepted; retry when there is a leader.             kAborted
absl::Status ReadDroppedError(std::string_view reason);
// Why a proposal or read was dropped ("no leader", ...); empty for other errors. For logs.
std::string DropReason(const absl::Status& status);

// Step: a local message type that no storage thread sent.                      kInvalidArgument
const absl::Status& StepLocalMessageError();
// Step: a response from an id this node does not track.                        kPermissionDenied
const absl::Status& StepPeerNotFoundError();

bool IsCompacted(const absl::Status& status);
bool IsEntryUnavailable(const absl::Status& status);
bool IsSnapshotTemporarilyUnavailable(const absl::Status& status);
bool IsDropped(const absl::Status& status);

}  // namespace etcdd::raft
