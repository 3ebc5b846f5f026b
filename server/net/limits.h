#pragma once

// Every bound of the front door by name and unit (architecture.md D12). Bounds an operator can set
// are fields of FrontDoorOptions (front_door.h); these are ours.

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace etcdd::net {

// --- sockets ---
// One receive buffer per event loop, shared by its connections.
inline constexpr size_t kReceiveBufferBytes = 128 << 10;
// What one connection hands to the kernel in one write.
inline constexpr size_t kWriteBytesMax = 512 << 10;
// Writes of one connection per turn before others get their turn.
inline constexpr int kWritesPerTurnMax = 4;
// Pieces at least this long are sent from where they lie; shorter ones are copied together.
inline constexpr size_t kSharedPieceBytesMin = 4 << 10;
inline constexpr int kListenBacklog = 4096;
// Connections accepted per readiness event before others get their turn.
inline constexpr int kAcceptsPerTurnMax = 64;
// Pause of a listener after the process ran out of file descriptors or memory.
inline constexpr absl::Duration kAcceptPause = absl::Milliseconds(100);
inline constexpr absl::Duration kAcceptWarningInterval = absl::Seconds(10);
inline constexpr size_t kConnectionsMaxDefault = 100'000;

// --- connections ---
// Time a new connection has to show which protocol it speaks.
inline constexpr absl::Duration kPrefaceWaitMax = absl::Seconds(20);
// Time a TLS handshake may take, from accept to finish.
inline constexpr absl::Duration kTlsHandshakeMax = absl::Seconds(10);
// Steps of handshakes per turn of a loop before other connections get theirs: one costs up to a
// millisecond (an RSA signature), a request some microseconds.
inline constexpr int kTlsHandshakeStepsPerTurnMax = 8;
// Plaintext that becomes records before they are handed to the kernel together.
inline constexpr size_t kTlsBatchBytes = 256 << 10;
// Longest file of certificates, keys or revoked serials.
inline constexpr size_t kTlsFileBytesMax = 32 << 20;
// Time a closing connection waits for the client to read the last bytes and close.
inline constexpr absl::Duration kLingerMax = absl::Milliseconds(500);

// --- HTTP/2 ---
inline constexpr uint32_t kStreamWindowBytes = 1 << 20;
inline constexpr int32_t kConnectionWindowBytes = 16 << 20;
inline constexpr uint32_t kFrameBytesMax = 64 << 10;
inline constexpr uint32_t kHeaderListBytesMax = 64 << 10;
// Upper bound of SETTINGS_MAX_CONCURRENT_STREAMS whatever the operator sets.
inline constexpr uint32_t kStreamsPerConnectionMax = 100'000;
// RST_STREAM frames a client may send: a burst, then a rate per second (rapid reset attack).
inline constexpr uint64_t kStreamResetBurst = 20'000;
inline constexpr uint64_t kStreamResetPerSecond = 2'000;
// Unanswered requests plus unsent unary replies of one connection. Above the high mark the client
// gets no more window and, when it does not read at all, its socket is not read.
inline constexpr size_t kHeldBytesHigh = 16 << 20;
inline constexpr size_t kHeldBytesLow = 8 << 20;
// Longer replies are refused, as gRPC servers do (KV-084).
inline constexpr size_t kSentMessageBytesMax = 0x7fffffff;
// Request messages of one connection that are still arriving; the stream that exceeds it fails.
inline constexpr int64_t kAssemblingBytesMax = 256 << 20;
// Queued bytes of one stream above which Send says false; on_writable comes at a quarter of it.
inline constexpr size_t kStreamQueueBytesHigh = 1 << 20;
// The same once the streams of the connection together have queued kConnectionQueueBytesHigh.
inline constexpr size_t kStreamQueueBytesHighCrowded = 64 << 10;
inline constexpr size_t kConnectionQueueBytesHigh = 16 << 20;
// Pings of a client that come too early before the connection is ended (as gRPC servers do).
inline constexpr int kPingStrikesMax = 2;
// Pings of a client without open streams may come this often.
inline constexpr absl::Duration kPingWithoutStreamsMin = absl::Hours(2);
// While draining: how long new streams are still taken after the first GOAWAY.
inline constexpr absl::Duration kDrainNoticeWait = absl::Milliseconds(300);

// --- HTTP/1.1 ---
inline constexpr uint32_t kHttp1HeaderBytesMax = 64 << 10;
inline constexpr absl::Duration kHttp1RequestWaitMax = absl::Minutes(5);
// Queued bytes of a streamed answer above which Write says false.
inline constexpr size_t kHttp1QueueBytesHigh = 1 << 20;

// --- memory kept for reuse ---
// A pooled call keeps string capacity up to this.
inline constexpr size_t kPooledStringBytesMax = 4 << 10;
inline constexpr size_t kPooledCallsMax = 4096;
// Freed small blocks of nghttp2 kept per loop.
inline constexpr size_t kSessionMemoryKeptBytesMax = 8 << 20;

}  // namespace etcdd::net
