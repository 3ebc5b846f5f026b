#include "raft/errors.h"

#include <string>

#include "absl/strings/cord.h"

namespace etcdd::raft {
namespace {

constexpr char kReasonUrl[] = "etcdd.raft/drop-reason";

absl::Status Dropped(absl::string_view text, std::string_view reason) {
  absl::Status status = absl::AbortedError(text);
  status.SetPayload(kReasonUrl, absl::Cord(absl::string_view(reason.data(), reason.size())));
  return status;
}

}  // namespace

const absl::Status& CompactedError() {
  static const auto* const status = new absl::Status(
      absl::StatusCode::kOutOfRange, "requested index is unavailable due to compaction");
  return *status;
}

const absl::Status& UnavailableError() {
  static const auto* const status = new absl::Status(absl::StatusCode::kNotFound,
                                                     "requested entry at index is unavailable");
  return *status;
}

const absl::Status& SnapshotTemporarilyUnavailableError() {
  static const auto* const status =
      new absl::Status(absl::StatusCode::kUnavailable, "snapshot is temporarily unavailable");
  return *status;
}

const absl::Status& SnapshotOutOfDateError() {
  static const auto* const status =
      new absl::Status(absl::StatusCode::kFailedPrecondition,
                       "requested index is older than the existing snapshot");
  return *status;
}

absl::Status ProposalDroppedError(std::string_view reason) {
  return Dropped("raft proposal dropped", reason);
}

absl::Status ReadDroppedError(std::string_view reason) {
  return Dropped("raft read request dropped", reason);
}

std::string DropReason(const absl::Status& status) {
  const auto payload = status.GetPayload(kReasonUrl);
  return payload.has_value() ? std::string(*payload) : std::string();
}

const absl::Status& StepLocalMessageError() {
  static const auto* const status = new absl::Status(absl::StatusCode::kInvalidArgument,
                                                     "raft: cannot step raft local message");
  return *status;
}

const absl::Status& StepPeerNotFoundError() {
  static const auto* const status = new absl::Status(absl::StatusCode::kPermissionDenied,
                                                     "raft: cannot step as peer not found");
  return *status;
}

bool IsCompacted(const absl::Status& status) {
  return status.code() == absl::StatusCode::kOutOfRange;
}

bool IsEntryUnavailable(const absl::Status& status) {
  return status.code() == absl::StatusCode::kNotFound;
}

bool IsSnapshotTemporarilyUnavailable(const absl::Status& status) {
  return status.code() == absl::StatusCode::kUnavailable;
}

bool IsDropped(const absl::Status& status) {
  return status.code() == absl::StatusCode::kAborted;
}

}  // namespace etcdd::raft
