#include "tests/raft/interaction_env.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "raft/conf_change.h"
#include "raft/describe.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "tests/raft/script_operations.h"

namespace etcdd::raft {
namespace {

constexpr int kElectionTicks = 3;
constexpr int kHeartbeatTicks = 1;
constexpr const char* kLevels[] = {"DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"};

absl::Status ScriptError(absl::string_view text) { return absl::UnknownError(text); }

NodeId ParseId(const std::string& text) {
  uint64_t id = 0;
  ETCDD_CHECK_MSG(absl::SimpleAtoi(text, &id), text);
  return id;
}

std::vector<NodeId> ParseIds(const ScriptCase& one, std::string_view key) {
  std::vector<NodeId> ids;
  if (const ScriptArgument* argument = one.Find(key); argument != nullptr) {
    for (const std::string& value : argument->values) ids.push_back(ParseId(value));
  }
  return ids;
}

bool IsThread(NodeId id) { return id == kAppendThread || id == kApplyThread; }

// Between a node and itself or its threads: never lost.
bool IsLocal(const Message& m) { return m.from == m.to || IsThread(m.from) || IsThread(m.to); }

std::optional<MessageType> ParseMessageType(std::string_view name) {
  for (int i = 0; i < kMessageTypeCount; ++i) {
    if (Name(static_cast<MessageType>(i)) == name) return static_cast<MessageType>(i);
  }
  return std::nullopt;
}

std::optional<ReadOnlyOption> ParseReadOnly(const ScriptCase& one) {
  const std::string name = one.Value("read-only", "safe");
  if (name == "safe") return ReadOnlyOption::kSafe;
  if (name == "lease-based") return ReadOnlyOption::kLeaseBased;
  return std::nullopt;
}

// Scripts never depend on the draw; any source will do.
class FixedRandom : public base::Random {
 public:
  uint64_t Next() override { return state_ = state_ * 6364136223846793005u + 1442695040888963407u; }

 private:
  uint64_t state_ = 1;
};

}  // namespace

struct InteractionEnv::Node {
  NodeId id = kNoNode;
  HistoryStorage storage;
  FixedRandom random;
  bool async = false;
  std::unique_ptr<RawNode> raft;
  std::deque<Message> append_work;
  std::deque<Message> apply_work;
};

void ScriptOutput::Log(base::LogLevel level, std::string_view line) {
  Print(kLevels[static_cast<size_t>(level)]);
  Print(" ");
  Print(line);
  Print("\n");
}

bool ScriptOutput::SetLevel(std::string_view name) {
  const std::string upper = absl::AsciiStrToUpper(absl::string_view(name.data(), name.size()));
  for (int i = 0; i <= kNone; ++i) {
    if (upper != kLevels[i]) continue;
    level_ = i;
    return true;
  }
  return false;
}

absl::Status ScriptOutput::Indented(absl::FunctionRef<absl::Status()> body) {
  std::string outer = std::exchange(text_, {});
  const absl::Status status = body();
  const std::string inner = std::exchange(text_, std::move(outer));
  size_t begin = 0;
  while (begin < inner.size()) {
    const size_t end = std::min(inner.find('\n', begin), inner.size());
    absl::StrAppend(&text_, "  ", inner.substr(begin, end - begin), "\n");
    begin = end + 1;
  }
  return status;
}

InteractionEnv::InteractionEnv() = default;
InteractionEnv::~InteractionEnv() = default;

std::string InteractionEnv::Run(const ScriptCase& one) {
  const absl::Status status = Dispatch(one);
  for (const std::unique_ptr<Node>& node : nodes_) node->raft->CheckInvariants();
  std::string text = output_.Take();
  if (!status.ok()) absl::StrAppend(&text, status.message());
  return text.empty() ? "ok" : text;
}

absl::Status InteractionEnv::Dispatch(const ScriptCase& one) {
  const std::string& command = one.command;
  if (command == "_breakpoint") return absl::OkStatus();
  if (command == "log-level") {
    if (one.arguments.size() == 1 && output_.SetLevel(one.arguments[0].key)) {
      return absl::OkStatus();
    }
    return ScriptError("log levels must be either of [DEBUG INFO WARN ERROR FATAL NONE]");
  }
  if (command == "add-nodes") return AddNodes(one);
  if (command == "propose-conf-change") return ProposeConfChange(one);
  if (command == "deliver-msgs") return DeliverMessages(one);
  if (command == "stabilize") return Stabilize(one);
  if (command == "process-ready" || command == "process-append-thread" ||
      command == "process-apply-thread") {
    return RunProcessing(one);
  }
  if (command == "raft-state") {
    RaftState();
    return absl::OkStatus();
  }
  if (command == "transfer-leadership") {
    Node* from = FindNode(one.Number("from", 0));
    from->raft->TransferLeader(one.Number("to", 0));
    return absl::OkStatus();
  }
  return RunNodeCommand(one);
}

absl::Status InteractionEnv::RunNodeCommand(const ScriptCase& one) {
  const std::string& command = one.command;
  const auto second = [&one] { return ParseId(one.arguments.at(1).key); };
  if (command == "campaign") {
    NodeOf(one, 0)->raft->Campaign();
  } else if (command == "tick-heartbeat" || command == "tick-election") {
    const int ticks = command == "tick-election" ? kElectionTicks : kHeartbeatTicks;
    for (int i = 0; i < ticks; ++i) NodeOf(one, 0)->raft->Tick();
  } else if (command == "set-randomized-election-timeout") {
    const uint64_t timeout = one.Number("timeout", 0);
    if (timeout == 0) return ScriptError("timeout must be positive");
    NodeOf(one, 0)->raft->SetRandomizedElectionTimeout(static_cast<int>(timeout));
  } else if (command == "propose") {
    return NodeOf(one, 0)->raft->Propose(base::Bytes::Copy(one.arguments.at(1).key));
  } else if (command == "status") {
    output_.Print(NodeOf(one, 0)->raft->DescribeProgress());
  } else if (command == "raft-log") {
    return RaftLog(*NodeOf(one, 0));
  } else if (command == "compact") {
    ETCDD_RETURN_IF_ERROR(NodeOf(one, 0)->storage.Compact(second()));
    return RaftLog(*NodeOf(one, 0));
  } else if (command == "report-unreachable") {
    NodeOf(one, 0)->raft->ReportUnreachable(second());
  } else if (command == "send-snapshot") {
    SendSnapshot(*NodeOf(one, 0), second());
  } else if (command == "forget-leader") {
    NodeOf(one, 0)->raft->ForgetLeader();
  } else {
    return ScriptError("unknown command");
  }
  return absl::OkStatus();
}

absl::Status InteractionEnv::RunProcessing(const ScriptCase& one) {
  struct Step {
    const char* title;
    absl::Status (InteractionEnv::*run)(Node*);
  };
  const Step step =
      one.command == "process-ready" ? Step{"handling Ready", &InteractionEnv::ProcessReady}
      : one.command == "process-append-thread"
          ? Step{"processing append thread", &InteractionEnv::ProcessAppend}
          : Step{"processing apply thread", &InteractionEnv::ProcessApply};
  const std::vector<NodeId> ids = Ids(one);
  if (ids.size() == 1) return (this->*step.run)(FindNode(ids[0]));
  for (NodeId id : ids) {
    output_.Print(absl::StrCat("> ", id, " ", step.title, "\n"));
    ETCDD_RETURN_IF_ERROR(
        output_.Indented([&] { return (this->*step.run)(FindNode(id)); }));
  }
  return absl::OkStatus();
}

// Commands ----------------------------------------------------------------------------------------

absl::Status InteractionEnv::AddNodes(const ScriptCase& one) {
  if (!ParseReadOnly(one).has_value()) {
    return ScriptError(
        absl::StrCat("invalid read-only option \"", one.Value("read-only", ""), "\""));
  }
  Snapshot snapshot;
  snapshot.conf_state.voters = ParseIds(one, "voters");
  snapshot.conf_state.learners = ParseIds(one, "learners");
  snapshot.index = one.Number("index", 0);
  snapshot.data = base::Bytes::Copy(one.Value("content", ""));
  const bool empty = snapshot == Snapshot();
  if (!empty) {
    if (snapshot.index <= 1) {
      return ScriptError("index must be specified as > 1 due to bootstrap");
    }
    snapshot.term = 1;
  }
  const auto shared = std::make_shared<const Snapshot>(std::move(snapshot));
  const uint64_t count = ParseId(one.arguments.at(0).key);
  for (uint64_t i = 0; i < count; ++i) ETCDD_RETURN_IF_ERROR(AddNode(one, shared));
  return absl::OkStatus();
}

absl::Status InteractionEnv::AddNode(const ScriptCase& one,
                                     std::shared_ptr<const Snapshot> snapshot) {
  auto node = std::make_unique<Node>();
  node->id = nodes_.size() + 1;
  node->storage.history.push_back(snapshot);
  if (!snapshot->empty()) ETCDD_RETURN_IF_ERROR(node->storage.ApplySnapshot(snapshot));

  Config config;
  config.id = node->id;
  config.election_ticks = kElectionTicks;
  config.heartbeat_ticks = kHeartbeatTicks;
  config.applied = snapshot->index;
  config.async_storage_writes = one.Bool("async-storage-writes", false);
  config.message_bytes_max = kNoLimit;
  config.committed_bytes_max = one.Number("max-committed-size-per-ready", kNoLimit);
  config.inflight_messages_max = one.Number("inflight", INT32_MAX);
  config.check_quorum = one.Bool("checkquorum", false);
  config.pre_vote = one.Bool("prevote", false);
  config.step_down_on_removal = one.Bool("step-down-on-removal", false);
  if (one.Bool("disable-conf-change-validation", false)) {
    config.conf_change_validation = ConfChangeValidation::kNone;
  }
  config.read_only = *ParseReadOnly(one);
  config.win_before_own_vote_is_durable = true;
  config.random = &node->random;
  config.logger = &output_;
  node->async = config.async_storage_writes;
  ETCDD_ASSIGN_OR_RETURN(node->raft, RawNode::Create(config, &node->storage));
  nodes_.push_back(std::move(node));
  return absl::OkStatus();
}

absl::Status InteractionEnv::ProposeConfChange(const ScriptCase& one) {
  ConfChangeV2 change;
  bool v1 = false;
  for (const ScriptArgument& argument : one.arguments) {
    if (argument.values.empty()) continue;
    const std::string& value = argument.values[0];
    if (argument.key == "v1") {
      v1 = one.Bool("v1", false);
    } else if (argument.key != "transition") {
      return ScriptError(absl::StrCat("unknown command ", argument.key));
    } else if (value == "auto") {
      change.transition = ConfChangeTransition::kAuto;
    } else if (value == "implicit") {
      change.transition = ConfChangeTransition::kJointImplicit;
    } else if (value == "explicit") {
      change.transition = ConfChangeTransition::kJointExplicit;
    } else {
      return ScriptError(absl::StrCat("unknown transition ", value));
    }
  }
  ETCDD_ASSIGN_OR_RETURN(change.changes, ParseOperations(one.input));
  RawNode* raft = NodeOf(one, 0)->raft.get();
  if (!v1) return raft->ProposeConfChange(change);
  if (change.changes.size() != 1 || change.transition != ConfChangeTransition::kAuto) {
    return ScriptError("v1 conf change can only have one operation and no transition");
  }
  ConfChange old_style;
  old_style.type = change.changes[0].type;
  old_style.node_id = change.changes[0].node_id;
  return raft->ProposeConfChange(old_style);
}

absl::Status InteractionEnv::DeliverMessages(const ScriptCase& one) {
  std::vector<Recipient> recipients;
  std::optional<MessageType> type;
  for (const ScriptArgument& argument : one.arguments) {
    if (argument.values.empty()) {
      recipients.push_back({ParseId(argument.key), false});
    } else if (argument.key == "drop") {
      for (const std::string& id : argument.values) recipients.push_back({ParseId(id), true});
    } else if (argument.key == "type") {
      type = ParseMessageType(argument.values[0]);
      if (!type.has_value()) {
        return ScriptError(absl::StrCat("unknown message type ", argument.values[0]));
      }
    }
  }
  for (const Recipient& a : recipients) {
    for (const Recipient& b : recipients) {
      ETCDD_CHECK_MSG(a.id != b.id || a.drop == b.drop, "both delivered and dropped");
    }
  }
  if (Deliver(recipients, type) == 0) output_.Print("no messages\n");
  return absl::OkStatus();
}

int InteractionEnv::Deliver(absl::Span<const Recipient> recipients,
                            std::optional<MessageType> type) {
  int count = 0;
  for (const Recipient& recipient : recipients) {
    std::deque<Message> rest;
    std::vector<Message> taken;
    for (Message& m : messages_) {
      const bool wanted = m.to == recipient.id && (!type.has_value() || m.type == *type) &&
                          !(recipient.drop && IsLocal(m));
      if (wanted) {
        taken.push_back(std::move(m));
      } else {
        rest.push_back(std::move(m));
      }
    }
    messages_ = std::move(rest);
    for (Message& m : taken) {
      ++count;
      if (recipient.drop) output_.Print("dropped: ");
      output_.Print(Describe(m));
      output_.Print("\n");
      if (recipient.drop) continue;
      Node* node = FindNode(recipient.id);
      const absl::Status status = node->raft->Step(std::move(m));
      if (!status.ok()) output_.Print(absl::StrCat(status.message(), "\n"));
      node->raft->CheckInvariants();
    }
  }
  return count;
}

bool InteractionEnv::HasMessagesFor(NodeId id) const {
  return std::any_of(messages_.begin(), messages_.end(),
                     [id](const Message& m) { return m.to == id; });
}

absl::Status InteractionEnv::Stabilize(const ScriptCase& one) {
  std::vector<NodeId> ids = Ids(one);
  if (ids.empty()) {
    for (const std::unique_ptr<Node>& node : nodes_) ids.push_back(node->id);
  }
  const int level = output_.level();
  if (one.Find("log-level") != nullptr && !output_.SetLevel(one.Value("log-level", ""))) {
    return ScriptError("log levels must be either of [DEBUG INFO WARN ERROR FATAL NONE]");
  }
  const absl::Status status = StabilizeNodes(ids);
  output_.set_level(level);
  return status;
}

absl::Status InteractionEnv::StabilizeNodes(const std::vector<NodeId>& ids) {
  for (bool busy = true; busy;) {
    busy = false;
    const auto pass = [&](NodeId id, const char* title, absl::FunctionRef<absl::Status()> body) {
      busy = true;
      output_.Print(absl::StrCat("> ", id, " ", title, "\n"));
      return output_.Indented(body);
    };
    for (NodeId id : ids) {
      Node* node = FindNode(id);
      if (!node->raft->HasReady()) continue;
      ETCDD_RETURN_IF_ERROR(pass(id, "handling Ready", [&] { return ProcessReady(node); }));
    }
    for (NodeId id : ids) {
      if (!HasMessagesFor(id)) continue;
      ETCDD_RETURN_IF_ERROR(pass(id, "receiving messages", [&] {
        const Recipient recipient{id, false};
        Deliver(absl::MakeConstSpan(&recipient, 1), std::nullopt);
        return absl::OkStatus();
      }));
    }
    for (NodeId id : ids) {
      Node* node = FindNode(id);
      if (node->append_work.empty()) continue;
      busy = true;
      output_.Print(absl::StrCat("> ", id, " processing append thread\n"));
      while (!node->append_work.empty()) {
        ETCDD_RETURN_IF_ERROR(output_.Indented([&] { return ProcessAppend(node); }));
      }
    }
    for (NodeId id : ids) {
      Node* node = FindNode(id);
      if (node->apply_work.empty()) continue;
      busy = true;
      output_.Print(absl::StrCat("> ", id, " processing apply thread\n"));
      while (!node->apply_work.empty()) {
        ETCDD_RETURN_IF_ERROR(output_.Indented([&] { return ProcessApply(node); }));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status InteractionEnv::RaftLog(const Node& node) {
  const uint64_t first = node.storage.FirstIndex();
  const uint64_t last = node.storage.LastIndex();
  if (last < first) {
    output_.Print(absl::StrCat("log is empty: first index=", first, ", last index=", last));
    return absl::OkStatus();
  }
  std::vector<Entry> entries;
  ETCDD_RETURN_IF_ERROR(node.storage.Entries(first, last + 1, kNoLimit, &entries));
  output_.Print(DescribeEntries(entries));
  return absl::OkStatus();
}

void InteractionEnv::RaftState() {
  for (const std::unique_ptr<Node>& node : nodes_) {
    const RawNode& raft = *node->raft;
    output_.Print(absl::StrFormat("%d: %s (%s) Term:%d Lead:%d\n", node->id, Name(raft.state()),
                                  raft.IsVoter() ? "Voter" : "Non-Voter", raft.term(),
                                  raft.leader()));
  }
}

void InteractionEnv::SendSnapshot(const Node& from, NodeId to) {
  Message m;
  m.type = MessageType::kSnap;
  m.from = from.id;
  m.to = to;
  m.term = from.raft->term();
  m.snapshot = from.storage.history.back();
  output_.Print(Describe(m));
  messages_.push_back(std::move(m));
}

// Steps -------------------------------------------------------------------------------------------

absl::Status InteractionEnv::ProcessReady(Node* node) {
  Ready ready = node->raft->TakeReady();
  output_.Print(Describe(ready));
  if (!node->async) {
    ETCDD_RETURN_IF_ERROR(Append(node, ready.hard_state.value_or(HardState()), ready.snapshot,
                                 ready.entries));
    ETCDD_RETURN_IF_ERROR(Apply(node, ready.committed_entries));
  }
  for (Message& m : ready.messages) messages_.push_back(std::move(m));
  if (ready.storage_append.has_value()) {
    node->append_work.push_back(*std::move(ready.storage_append));
  }
  if (ready.storage_apply.has_value()) node->apply_work.push_back(*std::move(ready.storage_apply));
  if (!node->async) node->raft->Advance();
  node->raft->CheckInvariants();
  return absl::OkStatus();
}

absl::Status InteractionEnv::ProcessAppend(Node* node) {
  if (node->append_work.empty()) {
    output_.Print("no append work to perform");
    return absl::OkStatus();
  }
  Message work = std::move(node->append_work.front());
  node->append_work.pop_front();
  std::vector<Message> responses = std::exchange(work.responses, {});
  output_.Print(absl::StrCat("Processing:\n", Describe(work), "\n"));
  ETCDD_RETURN_IF_ERROR(
      Append(node, {work.term, work.vote, work.commit}, work.snapshot, work.entries));
  output_.Print("Responses:\n");
  for (Message& m : responses) {
    output_.Print(absl::StrCat(Describe(m), "\n"));
    messages_.push_back(std::move(m));
  }
  return absl::OkStatus();
}

absl::Status InteractionEnv::ProcessApply(Node* node) {
  if (node->apply_work.empty()) {
    output_.Print("no apply work to perform");
    return absl::OkStatus();
  }
  Message work = std::move(node->apply_work.front());
  node->apply_work.pop_front();
  std::vector<Message> responses = std::exchange(work.responses, {});
  output_.Print(absl::StrCat("Processing:\n", Describe(work), "\n"));
  ETCDD_RETURN_IF_ERROR(Apply(node, work.entries));
  output_.Print("Responses:\n");
  for (Message& m : responses) {
    output_.Print(absl::StrCat(Describe(m), "\n"));
    messages_.push_back(std::move(m));
  }
  return absl::OkStatus();
}

absl::Status InteractionEnv::Append(Node* node, const HardState& hard_state,
                                    const std::shared_ptr<const Snapshot>& snapshot,
                                    absl::Span<const Entry> entries) {
  if (!hard_state.empty()) node->storage.SetHardState(hard_state);
  if (snapshot != nullptr) {
    if (!entries.empty()) {
      return ScriptError("can't apply snapshot and entries at the same time");
    }
    return node->storage.ApplySnapshot(snapshot);
  }
  node->storage.Append(entries);
  return absl::OkStatus();
}

absl::Status InteractionEnv::Apply(Node* node, absl::Span<const Entry> entries) {
  for (const Entry& entry : entries) {
    const Snapshot& last = *node->storage.history.back();
    Snapshot next;
    next.index = entry.index;
    next.term = entry.term;
    next.conf_state = last.conf_state;
    base::Bytes update = entry.data;
    if (entry.type != EntryType::kNormal) {
      ETCDD_ASSIGN_OR_RETURN(const ConfChangeV2 change, DecodeConfChangeEntry(entry));
      update = change.context;
      next.conf_state = node->raft->ApplyConfChange(change);
      node->raft->CheckInvariants();
    }
    next.data = base::Bytes::Copy(std::string(last.data.view()) + std::string(update.view()));
    node->storage.history.push_back(std::make_shared<const Snapshot>(std::move(next)));
  }
  return absl::OkStatus();
}

InteractionEnv::Node* InteractionEnv::FindNode(NodeId id) {
  ETCDD_CHECK_MSG(id >= 1 && id <= nodes_.size(), "no such node");
  return nodes_[id - 1].get();
}

InteractionEnv::Node* InteractionEnv::NodeOf(const ScriptCase& one, size_t position) {
  return FindNode(ParseId(one.arguments.at(position).key));
}

std::vector<NodeId> InteractionEnv::Ids(const ScriptCase& one) const {
  std::vector<NodeId> ids;
  for (const ScriptArgument& argument : one.arguments) {
    if (argument.values.empty()) ids.push_back(ParseId(argument.key));
  }
  return ids;
}

}  // namespace etcdd::raft
