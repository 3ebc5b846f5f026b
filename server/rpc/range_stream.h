#pragma once

// KV.RangeStream (KV-060..067): a Range whose answer comes in chunks, all read at one revision, so
// that a long answer needs little memory on either side.
//
// Confined to the server strand.

#include <memory>

#include "server/base/strand.h"
#include "server/etcd_server.h"
#include "server/rpc/call.h"

namespace etcdd::rpc {

// Chunks begin with so many keys and then grow or shrink with the size of the messages (KV-064).
inline constexpr int64_t kFirstChunkKeysMax = 10;

void ServeRangeStream(server::EtcdServer* server, base::Strand* strand,
                      std::shared_ptr<Stream> stream);

}  // namespace etcdd::rpc
