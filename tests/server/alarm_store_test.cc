#include "server/apply/alarm_store.h"

#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mvcc/backend/mem_backend.h"

namespace etcdd::apply {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int32_t kUnnamed = 9;

class AlarmStoreTest : public ::testing::Test {
 protected:
  void Activate(const Alarm& alarm) {
    auto batch = backend_.NewBatch();
    alarms_.Activate(alarm, *batch);
    ASSERT_TRUE(backend_.Write(*batch).ok());
  }
  bool Deactivate(const Alarm& alarm) {
    auto batch = backend_.NewBatch();
    const bool was_in_force = alarms_.Deactivate(alarm, *batch);
    EXPECT_TRUE(backend_.Write(*batch).ok());
    return was_in_force;
  }
  // What a restarted member has.
  AlarmStore Restored() {
    AlarmStore restored;
    EXPECT_TRUE(restored.Restore(*backend_.NewView()).ok());
    return restored;
  }

  mvcc::MemBackend backend_;
  AlarmStore alarms_;
};

TEST_F(AlarmStoreTest, OneTypeEndsWithItsLastMember) {  // MAINT-001, MAINT-014
  Activate({kAlarmNoSpace, 7});
  Activate({kAlarmNoSpace, 8});
  Activate({kAlarmCorrupt, 7});
  EXPECT_TRUE(Deactivate({kAlarmNoSpace, 7}));
  EXPECT_FALSE(Deactivate({kAlarmNoSpace, 7}));
  EXPECT_TRUE(alarms_.Active(kAlarmNoSpace));
  EXPECT_TRUE(Deactivate({kAlarmNoSpace, 8}));
  EXPECT_FALSE(alarms_.Active(kAlarmNoSpace));
  EXPECT_TRUE(alarms_.Active(kAlarmCorrupt));
}

TEST_F(AlarmStoreTest, SurvivesARestart) {  // MAINT-002
  Activate({kAlarmNoSpace, 0});
  Activate({kAlarmCorrupt, 7});
  Activate({kUnnamed, 7});
  ASSERT_TRUE(Deactivate({kAlarmCorrupt, 7}));
  EXPECT_THAT(Restored().List(kAlarmNone),
              ElementsAre(Alarm{kAlarmNoSpace, 0}, Alarm{kUnnamed, 7}));
  EXPECT_THAT(Restored().List(kAlarmCorrupt), IsEmpty());
}

TEST_F(AlarmStoreTest, TextOfStatus) {  // MAINT-021
  EXPECT_EQ(AlarmText({kAlarmNoSpace, 7}), "memberID:7 alarm:NOSPACE");
  EXPECT_EQ(AlarmText({kAlarmCorrupt, 0}), "alarm:CORRUPT");
  EXPECT_EQ(AlarmText({kUnnamed, 7}), "memberID:7 alarm:9");
}

}  // namespace
}  // namespace etcdd::apply
