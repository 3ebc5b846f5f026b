#pragma once

// The network between members as the raft loop and the server see it. A member without peers has
// none. server/transport speaks etcd's peer protocol behind it; the simulator has its own.
//
// Confined to the server strand, except where said otherwise.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "raft/types.h"

namespace etcdd::consensus {

// The image of a backend on its way to another member: whoever sends it pulls it piece by piece.
// Confined to one thread at a time; may block.
class ImageSource {
 public:
  virtual ~ImageSource() = default;
  // The next piece, of at most about 1 MiB; empty at the end.
  virtual absl::StatusOr<std::string> Next() = 0;
};

// An image on its way in. Destroyed before Commit, it leaves nothing behind.
// Confined to one thread at a time; may block.
class ImageSink {
 public:
  virtual ~ImageSink() = default;
  virtual absl::Status Append(std::string_view piece) = 0;
  // All has arrived: checks it and makes it durable under its name. DataLoss: it is damaged.
  virtual absl::Status Commit() = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;

  // Sends a message to its `to`, or drops it: raft repeats what matters. Never blocks. Not for
  // MsgSnap.
  virtual void Send(raft::Message message) = 0;
  // Sends a MsgSnap followed by the image, which contains exactly the entries up to the snapshot's
  // index. The fate is told by OnSnapshotSent, once. Pieces are pulled on a strand of the
  // transport's that may block.
  virtual void SendSnapshot(raft::Message message, std::unique_ptr<ImageSource> image) = 0;

  // Members to talk to. Adding one that is there, and removing one that is not, does nothing.
  virtual void AddPeer(raft::NodeId id, std::vector<std::string> urls) = 0;
  virtual void UpdatePeer(raft::NodeId id, std::vector<std::string> urls) = 0;
  virtual void RemovePeer(raft::NodeId id) = 0;
  // A member that may be written to before the applied configuration names it: a joining member
  // knows the others only so at first.
  virtual void AddRemote(raft::NodeId id, std::vector<std::string> urls) = 0;

  // Since when (Clock::Monotonic) the peer has been reachable without a break; nullopt: it is not.
  virtual std::optional<absl::Duration> ActiveSince(raft::NodeId id) const = 0;
};

// What the network tells the server. Called on the server strand, never from within a call of
// Transport.
class TransportEvents {
 public:
  virtual ~TransportEvents() = default;

  // A message from another member of this cluster. A MsgSnap comes after its image was committed.
  virtual void OnMessage(raft::Message message) = 0;
  // An image begins to arrive for this MsgSnap. An error refuses it (too many in flight).
  virtual absl::StatusOr<std::unique_ptr<ImageSink>> OnImage(const raft::Message& message) = 0;
  virtual void OnUnreachable(raft::NodeId id) = 0;
  virtual void OnSnapshotSent(raft::NodeId id, bool ok) = 0;
  // Another member says that this one was removed from the cluster.
  virtual void OnRemovedByOthers() = 0;
  virtual bool IsRemoved(raft::NodeId id) const = 0;
};

}  // namespace etcdd::consensus
