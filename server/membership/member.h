#pragma once

// One member of the cluster and its text forms. Ids are derived exactly as etcd derives them, so a
// data directory, a backup and a mixed cluster agree on who is who (CLUS-001, CLUS-002).
//
// Values; free functions are thread-safe.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace etcdd::membership {

struct Member {
  uint64_t id = 0;
  std::string name;                      // empty until the member has published itself
  std::vector<std::string> peer_urls;
  std::vector<std::string> client_urls;  // empty until the member has published itself
  bool is_learner = false;
};

// First 8 bytes, big-endian, of SHA-1 over the sorted URLs and `suffix`: the cluster token at
// bootstrap, the decimal UNIX seconds for a member added later.
uint64_t MakeMemberId(std::vector<std::string> peer_urls, std::string_view suffix);
// The same over the ascending member ids.
uint64_t MakeClusterId(std::vector<uint64_t> member_ids);

// etcd's member JSON, the value in the members bucket and the context of a conf change entry:
// {"id":1,"peerURLs":["http://..."],"isLearner":true,"name":"a","clientURLs":["http://..."]}.
std::string MemberToJson(const Member& member);
absl::StatusOr<Member> MemberFromJson(std::string_view json);
// The same for the context of a conf change, which may ask for a promotion instead of an addition.
struct MemberChange {
  Member member;
  bool is_promote = false;
};
absl::StatusOr<MemberChange> MemberChangeFromJson(std::string_view json);
std::string PromotionToJson(uint64_t id);
// A list of members, as peers serve it under /members.
std::string MembersToJson(absl::Span<const Member> members);
absl::StatusOr<std::vector<Member>> MembersFromJson(std::string_view json);

// Lower-case hex without padding (CLUS-003); nullopt-like 0 when the text is no id.
uint64_t MemberIdFromText(std::string_view text);

// etcd's conf state JSON, the value of `confState` in the meta bucket.
std::string ConfStateToJson(absl::Span<const uint64_t> voters, absl::Span<const uint64_t> learners);

}  // namespace etcdd::membership
