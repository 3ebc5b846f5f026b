#include "server/concurrency/hub_watch.h"

#include <utility>

#include "server/base/check.h"

namespace etcdd::concurrency {

HubWatch::HubWatch(mvcc::WatchHub* hub, const mvcc::WatchCreate& create, OnResponse on_response)
    : on_response_(std::move(on_response)), stream_(hub->NewStream(this)) {
  stream_->Create(create);
}

bool HubWatch::Send(std::string head, base::Bytes events) {
  head.append(events.view());
  etcdserverpb::WatchResponse response;
  ETCDD_CHECK(response.ParseFromString(head));
  if (response.events_size() == 0 && !response.canceled()) return true;
  return on_response_(response);
}

}  // namespace etcdd::concurrency
