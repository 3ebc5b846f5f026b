#include "mvcc/watch_state.h"

#include <utility>

#include "mvcc/watch_codec.h"

namespace etcdd::mvcc {

WatchState::WatchState(WatchWorld the_world, const WatchHubOptions& the_options, int64_t revision)
    : world(std::move(the_world)),
      options(the_options),
      current_revision(revision),
      ring(options.ring_revisions_max, options.ring_bytes_max) {
  ring.Reset(revision + 1);
}

std::string WatchState::HeaderField(int64_t revision) const {
  return EncodeHeaderField(world.header(revision));
}

base::Bytes WatchState::PrevKv(std::string_view key, int64_t revision) {
  auto pair = world.history->PairAt(key, revision);
  if (!pair.ok()) {
    world.on_failure(pair.status());
    return {};
  }
  return *std::move(pair);
}

}  // namespace etcdd::mvcc
