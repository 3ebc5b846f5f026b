#pragma once

// Every bound of the peer protocol by name and unit (architecture.md D12). Values with (etcd) are
// etcd's own: members of both kinds must agree on them, or at least not be surprised.

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace etcdd::transport {

// --- streams ---
// A connection without a byte for this long is dead; both sides count (etcd).
inline constexpr absl::Duration kStreamIdleMax = absl::Seconds(5);
// Each writer sends a sign of life this often (etcd).
inline constexpr absl::Duration kLinkHeartbeatInterval = absl::Milliseconds(1667);
inline constexpr absl::Duration kDialWaitMax = absl::Seconds(5);
// Pause before a stream is dialled again: doubles from failure to failure, up to the maximum. A
// short one: a member that came back should not wait an election timeout for its first message.
inline constexpr absl::Duration kRedialWaitMin = absl::Milliseconds(100);
inline constexpr absl::Duration kRedialWaitMax = absl::Milliseconds(500);
// What waits for a stream whose connection takes no more: messages (etcd), and bytes of entries.
// Entries are shared with raft's log, so the bytes bound what keeps them from being released.
inline constexpr size_t kStreamQueueMessagesMax = 4096;
inline constexpr size_t kStreamQueueBytesMax = 64 << 20;
// Longest message, entry, and sum of entries of one message that is taken, bytes (etcd: 512 MiB for
// a message).
inline constexpr uint64_t kFrameBytesMax = 512 << 20;
inline constexpr uint64_t kFrameEntriesMax = 1 << 20;

// --- pipeline ---
inline constexpr size_t kPipelineWorkers = 4;    // (etcd)
inline constexpr size_t kPipelineQueueMax = 64;  // messages (etcd)
inline constexpr absl::Duration kPipelineWaitMax = absl::Seconds(5);
// Longest body of POST /raft and message part of POST /raft/snapshot, bytes (etcd).
inline constexpr size_t kPostedMessageBytesMax = 64 << 20;

// --- snapshots ---
inline constexpr size_t kSnapshotsOutPerPeerMax = 1;
// Images arriving at the same time, of all senders (etcd).
inline constexpr size_t kSnapshotsInMax = 16;
// Bytes of one arriving image that wait for the disk: above the first its sender is not read, until
// they are below the second.
inline constexpr size_t kSnapshotInBytesHigh = 4 << 20;
inline constexpr size_t kSnapshotInBytesLow = 1 << 20;
// Time without a byte while an image is sent, and time the receiver may take to make it durable.
inline constexpr absl::Duration kSnapshotIdleMax = absl::Seconds(30);
inline constexpr absl::Duration kSnapshotCommitWaitMax = absl::Minutes(5);

// --- probing ---
inline constexpr absl::Duration kProbeInterval = absl::Seconds(4);           // (etcd)
inline constexpr absl::Duration kProbeUnhealthyInterval = absl::Seconds(5);  // log lines (etcd)
inline constexpr absl::Duration kProbeStatusInterval = absl::Seconds(30);    // log, metric (etcd)
inline constexpr absl::Duration kClockDriftMax = absl::Seconds(1);           // (etcd)

// --- answers ---
// Of a short answer (an error text, a probe) this much is kept.
inline constexpr size_t kAnswerTextBytesMax = 4 << 10;
// Longest answer to a question of PeerClient, bytes.
inline constexpr size_t kReplyBytesMax = 64 << 20;
// Senders that are no members (yet) and are remembered by what they say of themselves.
inline constexpr size_t kRemotesMax = 64;

}  // namespace etcdd::transport
