#include "server/apply/alarm_store.h"

#include <string>
#include <string_view>

#include "server/base/coding.h"

namespace etcdd::apply {
namespace {

// An alarm's record key: encoded etcdserverpb.AlarmMember; the value is empty.
std::string RecordKey(const Alarm& alarm) {
  std::string key;
  base::AppendVarintField(1, alarm.member_id, &key);
  base::AppendVarintField(2, static_cast<uint64_t>(static_cast<int64_t>(alarm.type)), &key);
  return key;
}

bool ParseRecordKey(std::string_view key, Alarm* alarm) {
  while (!key.empty()) {
    auto tag = base::TakeVarint(&key);
    auto value = tag ? base::TakeVarint(&key) : std::nullopt;
    if (!value) return false;
    if (*tag == base::VarintTag(1)) alarm->member_id = *value;
    if (*tag == base::VarintTag(2)) alarm->type = static_cast<int32_t>(*value);
  }
  return true;
}

}  // namespace

std::string_view AlarmName(int32_t type) {
  return type == kAlarmNoSpace ? "NOSPACE" : type == kAlarmCorrupt ? "CORRUPT" : "UNKNOWN";
}

std::string AlarmText(const Alarm& alarm) {
  std::string text;
  if (alarm.member_id != 0) text = "memberID:" + std::to_string(alarm.member_id) + " ";
  const bool named = alarm.type == kAlarmNoSpace || alarm.type == kAlarmCorrupt;
  return text + "alarm:" +
         (named ? std::string(AlarmName(alarm.type)) : std::to_string(alarm.type));
}

absl::Status AlarmStore::Restore(const mvcc::View& view) {
  alarms_.clear();
  absl::Status broken;
  auto status =
      view.Scan(mvcc::Bucket::kAlarm, "", "", [&](std::string_view key, std::string_view) {
        Alarm alarm;
        if (!ParseRecordKey(key, &alarm)) {
          broken = absl::DataLossError(
              "the alarm bucket holds a record that is no alarm; restore this member from a "
              "backup or from its cluster");
          return false;
        }
        alarms_.insert(alarm);
        return true;
      });
  return broken.ok() ? status : broken;
}

void AlarmStore::Activate(const Alarm& alarm, mvcc::Batch& batch) {
  if (alarm.type == kAlarmNone || !alarms_.insert(alarm).second) return;
  batch.Put(mvcc::Bucket::kAlarm, RecordKey(alarm), "");
}

bool AlarmStore::Deactivate(const Alarm& alarm, mvcc::Batch& batch) {
  if (alarms_.erase(alarm) == 0) return false;
  batch.Delete(mvcc::Bucket::kAlarm, RecordKey(alarm));
  return true;
}

bool AlarmStore::Active(int32_t type) const {
  auto first = alarms_.lower_bound({type, 0});
  return first != alarms_.end() && first->type == type;
}

std::vector<Alarm> AlarmStore::List(int32_t type) const {
  std::vector<Alarm> result;
  for (const Alarm& alarm : alarms_) {
    if (type == kAlarmNone || alarm.type == type) result.push_back(alarm);
  }
  return result;
}

}  // namespace etcdd::apply
