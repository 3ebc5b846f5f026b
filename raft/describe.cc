#include "raft/describe.h"

#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "server/base/check.h"

namespace etcdd::raft {
namespace {

std::string Hex(uint64_t id) { return absl::StrFormat("%x", id); }

std::string HexIds(const IdSet& ids) {
  return absl::StrJoin(ids, " ", [](std::string* out, NodeId id) { out->append(Hex(id)); });
}

std::string DecimalIds(const std::vector<NodeId>& ids) {
  return absl::StrCat("[", absl::StrJoin(IdSet(ids), " "), "]");
}

std::string Target(NodeId id) {
  switch (id) {
    case kNoNode:
      return "None";
    case kAppendThread:
      return "AppendThread";
    case kApplyThread:
      return "ApplyThread";
    default:
      return Hex(id);
  }
}

// One code point at the start of `bytes`: its length, or 0 if it is not valid UTF-8.
size_t DecodeUtf8(std::string_view bytes, uint32_t* code_point) {
  const auto byte = [&bytes](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char first = byte(0);
  const size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2
                        : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length == 0 || length > bytes.size()) return 0;
  if (length == 1) {
    *code_point = first;
    return 1;
  }
  uint32_t value = first & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0u) != 0x80u) return 0;
    value = (value << 6) | (byte(i) & 0x3fu);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kSmallest[length] || value > 0x10ffff) return 0;
  if (value >= 0xd800 && value < 0xe000) return 0;
  *code_point = value;
  return length;
}

// Code points beyond ASCII that Go's strconv would escape: controls, blanks other than the ASCII
// one, the byte order mark and its like, surrogates' and private areas.
bool IsPrintable(uint32_t c) {
  if (c < 0xa1 || c == 0xad || c == 0x1680 || c == 0x3000 || c == 0xfeff) return false;
  if ((c >= 0x2000 && c <= 0x200f) || (c >= 0x2028 && c <= 0x202f)) return false;
  if (c >= 0x205f && c <= 0x206f) return false;
  if ((c >= 0xe000 && c <= 0xf8ff) || c >= 0xe0000) return false;
  return (c & 0xfffe) != 0xfffe;
}

void AppendEntryText(const Entry& entry, std::string* out) {
  absl::StrAppend(out, entry.term, "/", entry.index, " ",
                  absl::string_view(Name(entry.type).data(), Name(entry.type).size()));
  if (entry.type == EntryType::kNormal) {
    absl::StrAppend(out, " ", Quote(entry.data.view()));
    return;
  }
  const auto change = DecodeConfChangeEntry(entry);
  if (!change.ok()) {
    absl::StrAppend(out, " ", change.status().message());
  } else if (!change->changes.empty()) {
    absl::StrAppend(out, " ", DescribeOperations(change->changes));
  }
}

void AppendMessage(const Message& m, const std::string& indent, std::string* out) {
  const std::string_view name = Name(m.type);
  absl::StrAppend(out, indent, Target(m.from), "->", Target(m.to), " ",
                  absl::string_view(name.data(), name.size()), " Term:", m.term,
                  " Log:", m.log_term, "/", m.index);
  if (m.reject) absl::StrAppend(out, " Rejected (Hint: ", m.reject_hint, ")");
  if (m.commit != 0) absl::StrAppend(out, " Commit:", m.commit);
  if (m.vote != kNoNode) absl::StrAppend(out, " Vote:", m.vote);
  if (m.entries.size() == 1) {
    absl::StrAppend(out, " Entries:[", Describe(m.entries[0]), "]");
  } else if (m.entries.size() > 1) {
    out->append(" Entries:[");
    for (const Entry& entry : m.entries) {
      absl::StrAppend(out, "\n", indent, "  ", Describe(entry));
    }
    absl::StrAppend(out, "\n", indent, "]");
  }
  if (m.snapshot != nullptr && !m.snapshot->empty()) {
    absl::StrAppend(out, "\n", indent, "  Snapshot: ", Describe(*m.snapshot));
  }
  if (!m.responses.empty()) {
    out->append(" Responses:[");
    for (const Message& response : m.responses) {
      out->append("\n");
      AppendMessage(response, indent + "  ", out);
    }
    absl::StrAppend(out, "\n", indent, "]");
  }
}

void AppendReadStates(const std::vector<ReadState>& states, std::string* out) {
  out->append("ReadStates [");
  for (size_t i = 0; i < states.size(); ++i) {
    absl::StrAppend(out, i == 0 ? "{" : " {", states[i].index, " [");
    const std::string_view context = states[i].context.view();
    for (size_t j = 0; j < context.size(); ++j) {
      absl::StrAppend(out, j == 0 ? "" : " ", static_cast<unsigned char>(context[j]));
    }
    out->append("]}");
  }
  out->append("]\n");
}

}  // namespace

std::string_view Name(MessageType type) {
  static constexpr std::string_view kNames[kMessageTypeCount] = {
      "MsgHup",           "MsgBeat",           "MsgProp",
      "MsgApp",           "MsgAppResp",        "MsgVote",
      "MsgVoteResp",      "MsgSnap",           "MsgHeartbeat",
      "MsgHeartbeatResp", "MsgUnreachable",    "MsgSnapStatus",
      "MsgCheckQuorum",   "MsgTransferLeader", "MsgTimeoutNow",
      "MsgReadIndex",     "MsgReadIndexResp",  "MsgPreVote",
      "MsgPreVoteResp",   "MsgStorageAppend",  "MsgStorageAppendResp",
      "MsgStorageApply",  "MsgStorageApplyResp", "MsgForgetLeader"};
  const auto value = static_cast<size_t>(type);
  return value < static_cast<size_t>(kMessageTypeCount) ? kNames[value] : "MsgUnknown";
}

std::string_view Name(StateType state) {
  static constexpr std::string_view kNames[] = {"StateFollower", "StateCandidate", "StateLeader",
                                                "StatePreCandidate"};
  return kNames[static_cast<size_t>(state)];
}

std::string_view Name(EntryType type) {
  static constexpr std::string_view kNames[] = {"EntryNormal", "EntryConfChange",
                                                "EntryConfChangeV2"};
  return kNames[static_cast<size_t>(type)];
}

std::string_view Name(ConfChangeType type) {
  static constexpr std::string_view kNames[] = {"ConfChangeAddNode", "ConfChangeRemoveNode",
                                                "ConfChangeUpdateNode",
                                                "ConfChangeAddLearnerNode"};
  return kNames[static_cast<size_t>(type)];
}

std::string_view Name(ConfChangeTransition transition) {
  static constexpr std::string_view kNames[] = {"ConfChangeTransitionAuto",
                                                "ConfChangeTransitionJointImplicit",
                                                "ConfChangeTransitionJointExplicit"};
  return kNames[static_cast<size_t>(transition)];
}

std::string Describe(const HardState& state) {
  std::string out = absl::StrCat("Term:", state.term);
  if (state.vote != kNoNode) absl::StrAppend(&out, " Vote:", state.vote);
  absl::StrAppend(&out, " Commit:", state.commit);
  return out;
}

std::string Describe(const SoftState& state) {
  return absl::StrFormat("Lead:%d State:%s", state.leader, Name(state.state));
}

std::string Describe(const ConfState& state) {
  return absl::StrFormat("Voters:%s VotersOutgoing:%s Learners:%s LearnersNext:%s AutoLeave:%s",
                         DecimalIds(state.voters), DecimalIds(state.voters_outgoing),
                         DecimalIds(state.learners), DecimalIds(state.learners_next),
                         state.auto_leave ? "true" : "false");
}

std::string Describe(const Snapshot& snapshot) {
  return absl::StrFormat("Index:%d Term:%d ConfState:%s", snapshot.index, snapshot.term,
                         Describe(snapshot.conf_state));
}

std::string Describe(const Entry& entry) {
  std::string out;
  AppendEntryText(entry, &out);
  return out;
}

std::string Describe(const Message& message) {
  std::string out;
  AppendMessage(message, "", &out);
  return out;
}

std::string Describe(const Ready& ready) {
  std::string body;
  if (ready.soft_state.has_value()) absl::StrAppend(&body, Describe(*ready.soft_state), "\n");
  if (ready.hard_state.has_value()) {
    absl::StrAppend(&body, "HardState ", Describe(*ready.hard_state), "\n");
  }
  if (!ready.read_states.empty()) AppendReadStates(ready.read_states, &body);
  if (!ready.EntriesToPersist().empty()) {
    absl::StrAppend(&body, "Entries:\n", DescribeEntries(ready.EntriesToPersist()));
  }
  if (const Snapshot* snapshot = ready.SnapshotToPersist(); snapshot != nullptr) {
    absl::StrAppend(&body, "Snapshot ", Describe(*snapshot), "\n");
  }
  if (!ready.EntriesToApply().empty()) {
    absl::StrAppend(&body, "CommittedEntries:\n", DescribeEntries(ready.EntriesToApply()));
  }
  if (!ready.messages.empty() || ready.storage_append.has_value() ||
      ready.storage_apply.has_value()) {
    body.append("Messages:\n");
    for (const Message& message : ready.messages) absl::StrAppend(&body, Describe(message), "\n");
    if (ready.storage_append) absl::StrAppend(&body, Describe(*ready.storage_append), "\n");
    if (ready.storage_apply) absl::StrAppend(&body, Describe(*ready.storage_apply), "\n");
  }
  if (body.empty()) return "<empty Ready>";
  return absl::StrCat("Ready MustSync=", ready.must_sync ? "true" : "false", ":\n", body);
}

std::string Describe(const Configuration& c) {
  std::string out = absl::StrCat("voters=(", HexIds(c.voters.incoming), ")");
  if (!c.voters.outgoing.empty()) {
    absl::StrAppend(&out, "&&(", HexIds(c.voters.outgoing), ")");
  }
  if (!c.learners.empty()) absl::StrAppend(&out, " learners=(", HexIds(c.learners), ")");
  if (!c.learners_next.empty()) {
    absl::StrAppend(&out, " learners_next=(", HexIds(c.learners_next), ")");
  }
  if (c.auto_leave) out.append(" autoleave");
  return out;
}

std::string Describe(const Progress& progress) {
  static constexpr std::string_view kStates[] = {"StateProbe", "StateReplicate", "StateSnapshot"};
  std::string out =
      absl::StrFormat("%s match=%d next=%d", kStates[static_cast<size_t>(progress.state())],
                      progress.match(), progress.next());
  if (progress.learner()) out.append(" learner");
  if (progress.IsPaused()) out.append(" paused");
  if (progress.pending_snapshot() > 0) {
    absl::StrAppend(&out, " pendingSnap=", progress.pending_snapshot());
  }
  if (!progress.recently_active()) out.append(" inactive");
  if (progress.inflights().count() > 0) {
    absl::StrAppend(&out, " inflight=", progress.inflights().count());
    if (progress.inflights().Full()) out.append("[full]");
  }
  return out;
}

std::string Describe(const ConfChangeV2& change) {
  std::string out = absl::StrFormat("transition:%s", Name(change.transition));
  for (const ConfChangeSingle& single : change.changes) {
    absl::StrAppend(&out, absl::StrFormat(" changes:{type:%s node_id:%d}", Name(single.type),
                                          single.node_id));
  }
  if (!change.context.empty()) absl::StrAppend(&out, " context:", Quote(change.context.view()));
  return out;
}

std::string DescribeOperations(absl::Span<const ConfChangeSingle> changes) {
  return absl::StrJoin(changes, " ", [](std::string* out, const ConfChangeSingle& change) {
    constexpr char kLetters[] = {'v', 'r', 'u', 'l'};
    out->push_back(kLetters[static_cast<size_t>(change.type)]);
    absl::StrAppend(out, change.node_id);
  });
}

std::string DescribeEntries(absl::Span<const Entry> entries) {
  std::string out;
  for (const Entry& entry : entries) {
    AppendEntryText(entry, &out);
    out.push_back('\n');
  }
  return out;
}

std::string Describe(const ProgressMap& progress) {
  std::string out;
  for (const auto& [id, one] : progress) absl::StrAppend(&out, id, ": ", Describe(one), "\n");
  return out;
}

std::string Quote(std::string_view bytes) {
  std::string out = "\"";
  while (!bytes.empty()) {
    uint32_t c = 0;
    const size_t length = DecodeUtf8(bytes, &c);
    if (length == 0) {
      absl::StrAppend(&out, absl::StrFormat("\\x%02x", static_cast<unsigned char>(bytes[0])));
      bytes.remove_prefix(1);
      continue;
    }
    constexpr std::string_view kEscaped = "\a\b\f\n\r\t\v\"\\";
    constexpr std::string_view kLetters = "abfnrtv\"\\";
    const size_t escape =
        length == 1 ? kEscaped.find(static_cast<char>(c)) : std::string_view::npos;
    if (escape != std::string_view::npos) {
      out.push_back('\\');
      out.push_back(kLetters[escape]);
    } else if (c < 0x20 || c == 0x7f) {
      absl::StrAppend(&out, absl::StrFormat("\\x%02x", c));
    } else if (c < 0x7f || IsPrintable(c)) {
      out.append(bytes.substr(0, length));
    } else {
      absl::StrAppend(&out, c < 0x10000 ? absl::StrFormat("\\u%04x", c)
                                        : absl::StrFormat("\\U%08x", c));
    }
    bytes.remove_prefix(length);
  }
  out.push_back('"');
  return out;
}

}  // namespace etcdd::raft
