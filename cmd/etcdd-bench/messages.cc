#include "cmd/etcdd-bench/messages.h"

#include <cstring>
#include <random>

#include "cmd/etcdd-bench/frame.h"
#include "server/base/check.h"
#include "server/base/coding.h"

namespace etcdd::bench {
namespace {

using base::AppendBytesField;
using base::AppendVarint;
using base::AppendVarintField;
using base::TakeVarint;
using base::VarintTag;

constexpr size_t kStampBytes = 8;

std::string Framed(std::string_view message) {
  std::string framed;
  AppendGrpcMessage(message, &framed);
  return framed;
}

// One field of a protobuf message: a varint's value, or a length-delimited field's content.
struct Field {
  uint64_t number = 0;
  uint64_t varint = 0;
  std::string_view content;
};

// Takes the next field off `in`; nullopt when malformed. Requires: !in->empty().
std::optional<Field> TakeField(std::string_view* in) {
  const auto tag = TakeVarint(in);
  if (!tag.has_value()) return std::nullopt;
  const auto value = TakeVarint(in);
  if (!value.has_value()) return std::nullopt;
  Field field;
  field.number = *tag >> 3;
  if ((*tag & 7) == 0) {
    field.varint = *value;
  } else if ((*tag & 7) == 2 && *value <= in->size()) {
    field.content = in->substr(0, *value);
    in->remove_prefix(*value);
  } else {
    return std::nullopt;
  }
  return field;
}

// The content of the first occurrence of length-delimited field `number`; nullopt when absent.
std::optional<std::string_view> FindContent(std::string_view message, uint64_t number) {
  while (!message.empty()) {
    const auto field = TakeField(&message);
    if (!field.has_value()) return std::nullopt;
    if (field->number == number) return field->content;
  }
  return std::nullopt;
}

bool ParseEvent(std::string_view event, WatchEvent* out) {
  auto kv = FindContent(event, 2);
  if (!kv.has_value()) return false;
  while (!kv->empty()) {
    const auto field = TakeField(&*kv);
    if (!field.has_value()) return false;
    if (field->number == 4) out->version = static_cast<int64_t>(field->varint);
    if (field->number == 5 && field->content.size() >= kStampBytes) {
      std::memcpy(&out->stamp, field->content.data(), kStampBytes);
    }
  }
  return true;
}

// Stands for a key while a template is encoded; no digit, letter or tag looks like it.
std::string Marker(size_t key_bytes, char fill) { return std::string(key_bytes, fill); }
constexpr char kFirstKey = '\xf7';
constexpr char kEndKey = '\xfb';

}  // namespace

std::vector<std::string> MethodPaths() {
  return {"/etcdserverpb.KV/Range",         "/etcdserverpb.KV/Put",
          "/etcdserverpb.KV/Txn",           "/etcdserverpb.KV/Compact",
          "/etcdserverpb.Watch/Watch",      "/etcdserverpb.Lease/LeaseGrant",
          "/etcdserverpb.Lease/LeaseKeepAlive", "/test.Echo/Unary"};
}

void WriteKey(uint64_t index, size_t key_bytes, char* out) {
  out[0] = 'k';
  for (size_t i = key_bytes; i-- > 1; index /= 10) out[i] = static_cast<char>('0' + index % 10);
}

std::string MakeKey(uint64_t index, size_t key_bytes) {
  std::string key(key_bytes, '\0');
  WriteKey(index, key_bytes, key.data());
  return key;
}

std::string RandomText(size_t size, uint64_t seed) {
  static constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::mt19937_64 random(seed);
  std::string text(size, '\0');
  for (char& c : text) c = kAlphabet[random() % kAlphabet.size()];
  return text;
}

RequestTemplate RequestTemplate::Put(size_t key_bytes, std::string_view value) {
  const std::string key = Marker(key_bytes, kFirstKey);
  std::string message;
  AppendBytesField(1, key, &message);
  AppendBytesField(2, value, &message);
  RequestTemplate result;
  result.key_bytes_ = key_bytes;
  result.framed_ = Framed(message);
  result.FindKeys(key, 0);
  if (value.size() >= kStampBytes) result.stamp_offset_ = result.framed_.size() - value.size();
  return result;
}

RequestTemplate RequestTemplate::Range(size_t key_bytes, uint64_t keys, bool serializable) {
  const std::string first = Marker(key_bytes, kFirstKey);
  const std::string end = Marker(key_bytes, kEndKey);
  std::string message;
  AppendBytesField(1, first, &message);
  if (keys > 1) AppendBytesField(2, end, &message);
  AppendVarintField(7, serializable ? 1 : 0, &message);
  RequestTemplate result;
  result.key_bytes_ = key_bytes;
  result.framed_ = Framed(message);
  result.FindKeys(first, 0);
  if (keys > 1) result.FindKeys(end, keys);
  return result;
}

RequestTemplate RequestTemplate::Txn(size_t key_bytes, std::string_view value) {
  const std::string key = Marker(key_bytes, kFirstKey);
  std::string compare;
  AppendVarintField(1, 1, &compare);  // result: GREATER; target: VERSION is 0
  AppendBytesField(3, key, &compare);
  AppendVarint(VarintTag(4), &compare);  // version 0 is sent: a member of a oneof
  AppendVarint(0, &compare);
  std::string range;
  AppendBytesField(1, key, &range);
  std::string put;
  AppendBytesField(1, key, &put);
  AppendBytesField(2, value, &put);
  std::string failure;
  AppendBytesField(1, range, &failure);
  std::string success;
  AppendBytesField(2, put, &success);
  std::string message;
  AppendBytesField(1, compare, &message);
  AppendBytesField(3, failure, &message);
  AppendBytesField(2, success, &message);  // last, so that the value ends the message
  RequestTemplate result;
  result.key_bytes_ = key_bytes;
  result.framed_ = Framed(message);
  result.FindKeys(key, 0);
  if (value.size() >= kStampBytes) result.stamp_offset_ = result.framed_.size() - value.size();
  return result;
}

void RequestTemplate::FindKeys(std::string_view marker, uint64_t added) {
  size_t from = 0;
  while ((from = framed_.find(marker, from)) != std::string::npos) {
    keys_.push_back({from, added});
    from += marker.size();
  }
}

std::string_view RequestTemplate::Fill(uint64_t index, uint64_t stamp) {
  for (const KeyPlace& place : keys_) {
    WriteKey(index + place.added, key_bytes_, framed_.data() + place.offset);
  }
  if (stamp_offset_ != 0) std::memcpy(framed_.data() + stamp_offset_, &stamp, kStampBytes);
  return framed_;
}

std::string LeaseGrantMessage(int64_t ttl_s) {
  std::string message;
  AppendVarintField(1, static_cast<uint64_t>(ttl_s), &message);
  return Framed(message);
}

std::string LeaseKeepAliveMessage(int64_t id) {
  std::string message;
  AppendVarintField(1, static_cast<uint64_t>(id), &message);
  return Framed(message);
}

std::string CompactMessage(int64_t revision, bool physical) {
  std::string message;
  AppendVarintField(1, static_cast<uint64_t>(revision), &message);
  AppendVarintField(2, physical ? 1 : 0, &message);
  return Framed(message);
}

std::string WatchCreateMessage(std::string_view key) {
  std::string create;
  AppendBytesField(1, key, &create);
  std::string message;
  AppendBytesField(1, create, &message);
  return Framed(message);
}

bool ReplyMatches(const Expectation& expected, const ReplyScanner& reply) {
  if (reply.messages() != 1 || !reply.well_formed() || reply.incomplete()) return false;
  if (reply.occurrences(1) != 1) return false;  // the header
  switch (expected.kind) {
    case Expectation::kPutReply:
    case Expectation::kHeaderReply:
      return true;
    case Expectation::kRangeReply:
      return reply.occurrences(2) == expected.kvs && reply.varint(4) == expected.kvs;
    case Expectation::kTxnReply:
      return reply.varint(2) == 1 && reply.occurrences(3) == 1;
    case Expectation::kLeaseGrantReply:
      return reply.varint(2) != 0 && reply.varint(3) != 0;
  }
  return false;
}

std::optional<int64_t> HeaderRevision(std::string_view message) {
  auto header = FindContent(message, 1);
  if (!header.has_value()) return std::nullopt;
  int64_t revision = 0;
  while (!header->empty()) {
    const auto field = TakeField(&*header);
    if (!field.has_value()) return std::nullopt;
    if (field->number == 3) revision = static_cast<int64_t>(field->varint);
  }
  return revision;
}

std::optional<LeaseReply> ParseLeaseReply(std::string_view message) {
  LeaseReply reply;
  while (!message.empty()) {
    const auto field = TakeField(&message);
    if (!field.has_value()) return std::nullopt;
    if (field->number == 2) reply.id = static_cast<int64_t>(field->varint);
    if (field->number == 3) reply.ttl_s = static_cast<int64_t>(field->varint);
  }
  return reply;
}

bool ParseWatchReply(std::string_view message, WatchReply* reply) {
  reply->watch_id = 0;
  reply->created = false;
  reply->canceled = false;
  reply->events.clear();
  while (!message.empty()) {
    const auto field = TakeField(&message);
    if (!field.has_value()) return false;
    switch (field->number) {
      case 2:
        reply->watch_id = static_cast<int64_t>(field->varint);
        break;
      case 3:
        reply->created = field->varint != 0;
        break;
      case 4:
        reply->canceled = field->varint != 0;
        break;
      case 11:
        reply->events.emplace_back();
        if (!ParseEvent(field->content, &reply->events.back())) return false;
        break;
      default:
        break;
    }
  }
  return true;
}

}  // namespace etcdd::bench
