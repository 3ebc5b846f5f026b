#include "mvcc/watch_codec.h"

#include <cstring>

#include "server/base/check.h"
#include "server/base/coding.h"

namespace etcdd::mvcc {
namespace {

constexpr uint32_t kResponseHeader = 1;
constexpr uint32_t kResponseWatchId = 2;
constexpr uint32_t kResponseCreated = 3;
constexpr uint32_t kResponseCanceled = 4;
constexpr uint32_t kResponseCompactRevision = 5;
constexpr uint32_t kResponseCancelReason = 6;
constexpr uint32_t kResponseFragment = 7;
constexpr uint32_t kResponseEvents = 11;

constexpr uint32_t kEventType = 1;
constexpr uint32_t kEventKv = 2;
constexpr uint32_t kEventPrevKv = 3;
constexpr char kTypeDelete = 1;

// All tags of the two messages are below 16 and so one byte long.
static_assert(base::BytesTag(kResponseEvents) < 0x80);

size_t BytesFieldSize(std::string_view content) {
  return 1 + base::VarintSize(content.size()) + content.size();
}

char* WriteBytesField(uint32_t field, std::string_view content, char* out) {
  *out++ = static_cast<char>(base::BytesTag(field));
  out = base::WriteVarint(content.size(), out);
  std::memcpy(out, content.data(), content.size());
  return out + content.size();
}

}  // namespace

base::Bytes EncodeWatchEvent(bool is_delete, std::string_view kv, std::string_view prev_kv) {
  ETCDD_CHECK(!kv.empty());
  size_t size = BytesFieldSize(kv);
  if (is_delete) size += 2;
  if (!prev_kv.empty()) size += BytesFieldSize(prev_kv);
  return base::Bytes::Build(1 + base::VarintSize(size) + size, [&](char* out) {
    *out++ = static_cast<char>(base::BytesTag(kResponseEvents));
    out = base::WriteVarint(size, out);
    if (is_delete) {
      *out++ = static_cast<char>(base::VarintTag(kEventType));
      *out++ = kTypeDelete;
    }
    out = WriteBytesField(kEventKv, kv, out);
    if (!prev_kv.empty()) WriteBytesField(kEventPrevKv, prev_kv, out);
  });
}

std::string EncodeHeaderField(std::string_view header) {
  std::string field;
  base::AppendBytesField(kResponseHeader, header, &field);
  return field;
}

std::string EncodeWatchHead(std::string_view header_field, const WatchHead& head) {
  // Room for the id alone, which is all that most responses have.
  constexpr size_t kIdBytesMax = 11;
  std::string out;
  out.reserve(header_field.size() + kIdBytesMax);
  out.append(header_field);
  base::AppendVarintField(kResponseWatchId, static_cast<uint64_t>(head.watch_id), &out);
  base::AppendVarintField(kResponseCreated, head.created ? 1 : 0, &out);
  base::AppendVarintField(kResponseCanceled, head.canceled ? 1 : 0, &out);
  base::AppendVarintField(kResponseCompactRevision, static_cast<uint64_t>(head.compact_revision),
                          &out);
  if (!head.cancel_reason.empty()) {
    base::AppendBytesField(kResponseCancelReason, head.cancel_reason, &out);
  }
  base::AppendVarintField(kResponseFragment, head.fragment ? 1 : 0, &out);
  return out;
}

}  // namespace etcdd::mvcc
