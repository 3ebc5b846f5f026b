#pragma once

// The alarms in force, replicated and durable (MAINT-001, MAINT-002). They act on the whole
// cluster whichever member they name.
//
// Confined to the server strand.

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "mvcc/backend/backend.h"

namespace etcdd::apply {

// etcdserverpb.AlarmType. Other numbers are stored and listed without effect (MAINT-001).
inline constexpr int32_t kAlarmNone = 0;
inline constexpr int32_t kAlarmNoSpace = 1;
inline constexpr int32_t kAlarmCorrupt = 2;

// "NOSPACE", "CORRUPT"; "UNKNOWN" for all others.
std::string_view AlarmName(int32_t type);

struct Alarm {
  int32_t type = kAlarmNone;
  uint64_t member_id = 0;
  friend auto operator<=>(const Alarm&, const Alarm&) = default;
};

// As Status tells it (MAINT-021): "memberID:7 alarm:NOSPACE". An id of 0 is left out; an alarm
// without a name is told by its number.
std::string AlarmText(const Alarm& alarm);

class AlarmStore {
 public:
  // Loads what the alarm bucket holds, dropping what was there.
  absl::Status Restore(const mvcc::View& view);

  // No effect when it is in force already.
  void Activate(const Alarm& alarm, mvcc::Batch& batch);
  // False when it was not in force.
  bool Deactivate(const Alarm& alarm, mvcc::Batch& batch);

  bool Active(int32_t type) const;
  // kAlarmNone: all of them. Ordered by type, then member.
  std::vector<Alarm> List(int32_t type) const;

 private:
  std::set<Alarm> alarms_;
};

}  // namespace etcdd::apply
