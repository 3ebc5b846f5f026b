#pragma once

// Text form of the library's values, for logs and for the data-driven test scripts. The formats are
// etcd's raft's, byte for byte; node ids are hexadecimal in messages and configurations, decimal
// in conf states and soft/hard states.

#include <string>
#include <string_view>

#include "absl/types/span.h"
#include "raft/conf_change.h"
#include "raft/progress.h"
#include "raft/ready.h"
#include "raft/tracker.h"
#include "raft/types.h"

namespace etcdd::raft {

std::string_view Name(MessageType type);  // "MsgApp"
std::string_view Name(StateType state);   // "StateFollower"
std::string_view Name(EntryType type);    // "EntryNormal"
std::string_view Name(ConfChangeType type);
std::string_view Name(ConfChangeTransition transition);

std::string Describe(const HardState& state);   // "Term:1 Vote:1 Commit:4"
std::string Describe(const SoftState& state);   // "Lead:1 State:StateLeader"
std::string Describe(const ConfState& state);   // "Voters:[1 2] VotersOutgoing:[] ..."
std::string Describe(const Snapshot& snapshot);
std::string Describe(const Entry& entry);       // 1/4 EntryNormal "b"
std::string Describe(const Message& message);   // no newline at the end
std::string Describe(const Ready& ready);       // "<empty Ready>", or lines
std::string Describe(const Configuration& configuration);  // "voters=(1 2)&&(1) learners=(3)"
std::string Describe(const Progress& progress);            // "StateProbe match=0 next=1"
std::string Describe(const ConfChangeV2& change);          // "transition:... changes:{...}"
// "v1 l2 r3": the operations alone.
std::string DescribeOperations(absl::Span<const ConfChangeSingle> changes);
// One line per entry.
std::string DescribeEntries(absl::Span<const Entry> entries);
// One line per member, "ID: <progress>".
std::string Describe(const ProgressMap& progress);
// A double-quoted string as Go's %q writes it.
std::string Quote(std::string_view bytes);

}  // namespace etcdd::raft
