#include "server/base/api_error.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace etcdd::base {
namespace {

const std::vector<ErrorId>& AllIds() {
  static const std::vector<ErrorId> ids = {
#define ETCDD_API_ERROR(id, code, text) ErrorId::id,
#include "server/base/api_error.inc"
#undef ETCDD_API_ERROR
  };
  return ids;
}

TEST(ApiError, KnownErrorsHaveEtcdsCodeAndText) {
  EXPECT_EQ(ApiError(ErrorId::kEmptyKey),
            absl::InvalidArgumentError("etcdserver: key is not provided"));
  EXPECT_EQ(ApiError(ErrorId::kCompacted),
            absl::OutOfRangeError("etcdserver: mvcc: required revision has been compacted"));
  EXPECT_EQ(ApiError(ErrorId::kNoSpace),
            absl::ResourceExhaustedError("etcdserver: mvcc: database space exceeded"));
  EXPECT_EQ(ApiError(ErrorId::kNoLeader), absl::UnavailableError("etcdserver: no leader"));
  EXPECT_EQ(ApiError(ErrorId::kTooManyRequests),
            absl::UnknownError("etcdserver: too many requests"));
  EXPECT_EQ(ApiError(ErrorId::kInvalidAuthToken),
            absl::UnauthenticatedError("etcdserver: invalid auth token"));
  EXPECT_EQ(ApiErrorText(ErrorId::kMemberNotFound), "etcdserver: member not found");
}

TEST(ApiError, CodesAreGrpcsNumbers) {
  EXPECT_EQ(ApiError(ErrorId::kEmptyKey).raw_code(), 3);
  EXPECT_EQ(ApiError(ErrorId::kLeaseNotFound).raw_code(), 5);
  EXPECT_EQ(ApiError(ErrorId::kFutureRev).raw_code(), 11);
  EXPECT_EQ(ApiError(ErrorId::kTimeout).raw_code(), 14);
}

TEST(ApiError, NoTwoErrorsShareAText) {
  std::set<std::string_view> texts;
  for (const ErrorId id : AllIds()) {
    EXPECT_TRUE(texts.insert(ApiErrorText(id)).second) << ApiErrorText(id);
    EXPECT_TRUE(ApiErrorText(id).starts_with("etcdserver: ") ||
                ApiErrorText(id).starts_with("auth: "))
        << ApiErrorText(id);
    EXPECT_FALSE(ApiError(id).ok());
  }
  EXPECT_GE(texts.size(), 60u);
}

TEST(ApiError, IsApiErrorComparesCodeAndText) {
  for (const ErrorId id : AllIds()) EXPECT_TRUE(IsApiError(ApiError(id), id));
  EXPECT_FALSE(IsApiError(absl::OkStatus(), ErrorId::kEmptyKey));
  EXPECT_FALSE(IsApiError(ApiError(ErrorId::kKeyNotFound), ErrorId::kEmptyKey));
  EXPECT_FALSE(IsApiError(absl::UnknownError("etcdserver: key is not provided"),
                          ErrorId::kEmptyKey));
}

}  // namespace
}  // namespace etcdd::base
