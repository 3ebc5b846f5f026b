#pragma once

// raftpb bytes of entries and messages, for the network. Written by hand: a payload is copied once,
// from its entry to the output, with no message objects between.
//
// Scalars of value zero are left out of messages, and written in entries; readers take both forms,
// as etcd's do. Thread-safe (pure functions).

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "raft/types.h"

namespace etcdd::raft {

// Appends exactly EncodedSize(entry) bytes.
void AppendEncoded(const Entry& entry, std::string* out);

// Appends a message for another member. Requires: no responses (those never leave the node).
void AppendEncoded(const Message& message, std::string* out);

// InvalidArgument for bytes that are no such message, or that name a type this library does not
// know. Unknown fields are skipped; an empty snapshot, which older etcd members put into every
// message, is none. The result is only well-formed: RawNode::Step judges its content.
absl::StatusOr<Entry> DecodeEntry(std::string_view bytes);
absl::StatusOr<Message> DecodeMessage(std::string_view bytes);

}  // namespace etcdd::raft
