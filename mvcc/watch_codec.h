#pragma once

// WatchResponse on the wire, written by hand: a response is a head of its own (fields 1 to 7)
// followed by event bytes that are shared (field 11, repeated). Field numbers: proto-messages.tsv.

#include <cstdint>
#include <string>
#include <string_view>

#include "server/base/bytes.h"

namespace etcdd::mvcc {

// One element of WatchResponse.events with its tag and length: Event{type, kv, prev_kv}. An empty
// `prev_kv` is left out.
base::Bytes EncodeWatchEvent(bool is_delete, std::string_view kv, std::string_view prev_kv);

// Field 1 of a WatchResponse, made of an encoded ResponseHeader.
std::string EncodeHeaderField(std::string_view header);

// Fields 2 to 7.
struct WatchHead {
  int64_t watch_id = 0;
  bool created = false;
  bool canceled = false;
  int64_t compact_revision = 0;
  std::string_view cancel_reason;
  bool fragment = false;
};

// `header_field` is EncodeHeaderField's.
std::string EncodeWatchHead(std::string_view header_field, const WatchHead& head);

}  // namespace etcdd::mvcc
