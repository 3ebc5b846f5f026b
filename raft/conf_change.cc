#include "raft/conf_change.h"

#include <string>

#include "absl/status/status.h"
#include "proto/raft.pb.h"
#include "server/base/check.h"

namespace etcdd::raft {
namespace {

base::Bytes Serialize(const google::protobuf::MessageLite& message) {
  return base::Bytes::Build(message.ByteSizeLong(), [&message](char* out) {
    message.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(out));
  });
}

absl::Status Malformed() { return absl::InvalidArgumentError("malformed configuration change"); }

template <typename Message>
bool Parse(std::string_view bytes, Message* message) {
  return message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

// Whether an enum field held a value this library does not know (proto2 keeps it aside).
template <typename Message>
bool HasUnknown(const Message& message, int field) {
  const google::protobuf::UnknownFieldSet& unknown =
      message.GetReflection()->GetUnknownFields(message);
  for (int i = 0; i < unknown.field_count(); ++i) {
    if (unknown.field(i).number() == field) return true;
  }
  return false;
}

}  // namespace

ConfChangeV2 AsV2(const ConfChange& change) {
  ConfChangeV2 v2;
  v2.changes.push_back({change.type, change.node_id});
  v2.context = change.context;
  return v2;
}

base::Bytes Encode(const ConfChange& change) {
  raftpb::ConfChange message;
  // All scalars are set, zero or not: etcd's readers before 3.6 wrote them always.
  message.set_id(change.id);
  message.set_type(static_cast<raftpb::ConfChangeType>(change.type));
  message.set_node_id(change.node_id);
  if (!change.context.empty()) message.set_context(std::string(change.context.view()));
  return Serialize(message);
}

base::Bytes Encode(const ConfChangeV2& change) {
  if (change.LeaveJoint() && change.context.empty()) return base::Bytes();
  raftpb::ConfChangeV2 message;
  message.set_transition(static_cast<raftpb::ConfChangeTransition>(change.transition));
  for (const ConfChangeSingle& single : change.changes) {
    raftpb::ConfChangeSingle* out = message.add_changes();
    out->set_type(static_cast<raftpb::ConfChangeType>(single.type));
    out->set_node_id(single.node_id);
  }
  if (!change.context.empty()) message.set_context(std::string(change.context.view()));
  return Serialize(message);
}

absl::StatusOr<ConfChange> DecodeConfChange(std::string_view bytes) {
  raftpb::ConfChange message;
  if (!Parse(bytes, &message)) return Malformed();
  if (HasUnknown(message, raftpb::ConfChange::kTypeFieldNumber)) return Malformed();
  ConfChange change;
  change.id = message.id();
  change.type = static_cast<ConfChangeType>(message.type());
  change.node_id = message.node_id();
  change.context = base::Bytes::Copy(message.context());
  return change;
}

absl::StatusOr<ConfChangeV2> DecodeConfChangeV2(std::string_view bytes) {
  raftpb::ConfChangeV2 message;
  if (!Parse(bytes, &message)) return Malformed();
  if (HasUnknown(message, raftpb::ConfChangeV2::kTransitionFieldNumber)) return Malformed();
  ConfChangeV2 change;
  change.transition = static_cast<ConfChangeTransition>(message.transition());
  for (const raftpb::ConfChangeSingle& single : message.changes()) {
    if (HasUnknown(single, raftpb::ConfChangeSingle::kTypeFieldNumber)) return Malformed();
    change.changes.push_back({static_cast<ConfChangeType>(single.type()), single.node_id()});
  }
  change.context = base::Bytes::Copy(message.context());
  return change;
}

absl::StatusOr<ConfChangeV2> DecodeConfChangeEntry(const Entry& entry) {
  switch (entry.type) {
    case EntryType::kConfChange: {
      absl::StatusOr<ConfChange> change = DecodeConfChange(entry.data.view());
      if (!change.ok()) return change.status();
      return AsV2(*change);
    }
    case EntryType::kConfChangeV2:
      return DecodeConfChangeV2(entry.data.view());
    case EntryType::kNormal:
      break;
  }
  return absl::InvalidArgumentError("entry is no configuration change");
}

}  // namespace etcdd::raft
