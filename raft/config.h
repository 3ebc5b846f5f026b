#pragma once

// Tunables of one raft node. Ticks are the only notion of time; the application decides how long
// one lasts.

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "raft/types.h"
#include "server/base/log.h"
#include "server/base/random.h"

namespace etcdd::raft {

// Receives the library's log lines (texts of etcd's raft). Called on the raft strand.
class Logger {
 public:
  virtual ~Logger() = default;
  // Lines of levels for which this is false are not even formatted.
  virtual bool Enabled(base::LogLevel level) const = 0;
  virtual void Log(base::LogLevel level, std::string_view line) = 0;
};

enum class ReadOnlyOption : uint8_t {
  kSafe,        // every read round is confirmed by a quorum
  kLeaseBased,  // answered at once while check-quorum keeps the leader in office; trusts clocks
};

// What a leader checks of a configuration change when it is proposed, against the applied
// configuration. A refused change becomes an empty normal entry in the same place.
enum class ConfChangeValidation : uint8_t {
  kFull,         // nothing unapplied pending; joint only left, non-joint never left
  kPendingOnly,  // only: nothing unapplied pending. An invalid change that is applied is fatal
  kNone,         // nothing (upstream's DisableConfChangeValidation)
};

struct Config {
  NodeId id = kNoNode;

  // A follower that hears no leader for election_ticks .. 2 * election_ticks - 1 ticks campaigns.
  int election_ticks = 10;
  int heartbeat_ticks = 1;

  // Entries <= applied are never handed out again. Pass only what is durably applied.
  uint64_t applied = 0;

  // See ready.h.
  bool async_storage_writes = false;

  // Encoded size of the entries of one append message; one entry is always sent. 0 = one entry per
  // message.
  uint64_t message_bytes_max = 1 << 20;
  // Encoded size of all handed-out, unacknowledged committed entries. 0 = message_bytes_max.
  uint64_t committed_bytes_max = 0;
  // Payload bytes in the leader's log not yet applied; proposals beyond are dropped. 0 = no limit.
  uint64_t uncommitted_bytes_max = 0;
  // Append messages, and their payload bytes, in flight to one follower. Bytes 0 = no limit; the
  // message that crosses the byte limit is still sent.
  uint64_t inflight_messages_max = 256;
  uint64_t inflight_bytes_max = 0;
  // Reads waiting for a quorum, or for the term's first commit, on the leader; more are dropped.
  uint64_t pending_reads_max = 1 << 16;

  bool check_quorum = false;  // a leader that cannot reach a quorum for election_ticks steps down
  bool pre_vote = false;      // ask before disturbing (Raft thesis 9.6)
  bool disable_proposal_forwarding = false;
  bool step_down_on_removal = false;  // a leader that applied its own removal or demotion
  // Upstream's rule: with asynchronous writes a candidate may win by the others' votes before its
  // own term and vote are durable. A crash then makes it forget that it led, and it can be elected
  // a second time in the same term, with other entries. Off: it waits for its own vote.
  bool win_before_own_vote_is_durable = false;
  ReadOnlyOption read_only = ReadOnlyOption::kSafe;
  ConfChangeValidation conf_change_validation = ConfChangeValidation::kFull;

  // Borrowed; must outlive the node. Source of election timeouts: the same seed gives the same run.
  base::Random* random = nullptr;
  // Borrowed; must outlive the node. Null = silent.
  Logger* logger = nullptr;

  // InvalidArgument naming the first field that cannot work.
  absl::Status Validate() const;
};

}  // namespace etcdd::raft
