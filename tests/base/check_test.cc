#include "server/base/check.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/status_macros.h"

namespace etcdd::base {
namespace {

TEST(Check, HoldsQuietly) {
  int evaluated = 0;
  ETCDD_CHECK(++evaluated == 1);
  ETCDD_CHECK_MSG(evaluated == 1, std::to_string(++evaluated));
  EXPECT_EQ(evaluated, 1) << "the message is only made on failure";
}

TEST(CheckDeathTest, FailureNamesConditionAndPlace) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(ETCDD_CHECK(1 + 1 == 3),
               "\"level\":\"panic\".*base/check_test.cc:[0-9]+.*check failed.*1 \\+ 1 == 3");
  EXPECT_DEATH(ETCDD_CHECK_MSG(false, "term 4 went back"), "check failed.*term 4 went back");
}

absl::StatusOr<int> Half(int value) {
  if (value % 2 != 0) return absl::InvalidArgumentError("odd");
  return value / 2;
}

absl::Status TwoSteps(int value, int* result) {
  ETCDD_ASSIGN_OR_RETURN(const int half, Half(value));
  ETCDD_ASSIGN_OR_RETURN(*result, Half(half));
  ETCDD_RETURN_IF_ERROR(*result > 10 ? absl::OutOfRangeError("large") : absl::OkStatus());
  return absl::OkStatus();
}

TEST(StatusMacros, ReturnTheFirstError) {
  int result = 0;
  EXPECT_TRUE(TwoSteps(12, &result).ok());
  EXPECT_EQ(result, 3);
  EXPECT_EQ(TwoSteps(6, &result), absl::InvalidArgumentError("odd"));
  EXPECT_EQ(result, 3);
  EXPECT_EQ(TwoSteps(44, &result), absl::OutOfRangeError("large"));
}

}  // namespace
}  // namespace etcdd::base
