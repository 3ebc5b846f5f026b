#include "server/discovery/cluster_join.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/membership/member.h"

namespace etcdd::discovery {
namespace {

using server::InitialMember;

std::string TextOf(const InitialMember& member) {
  std::vector<std::string> urls = server::UrlTexts(member.peer_urls);
  std::sort(urls.begin(), urls.end());
  return absl::StrJoin(urls, ",", [&member](std::string* out, const std::string& url) {
    absl::StrAppend(out, member.name, "=", url);
  });
}

absl::Status InvalidPeerUrl() {
  return absl::InvalidArgumentError("discovery: invalid peer URL");
}

absl::StatusOr<InitialMember> ParseRegistration(const std::string& text) {
  auto members = server::ParseInitialCluster(text);
  if (!members.ok() || members->size() != 1 || members->front().name.empty()) {
    return InvalidPeerUrl();
  }
  return std::move(members->front());
}

// Nobody twice under one name, no URL twice.
absl::Status CheckDistinct(const std::vector<InitialMember>& members) {
  std::string listed;
  std::set<std::string> names;
  std::set<std::string> urls;
  const char* duplicate = nullptr;
  for (const InitialMember& member : members) {
    absl::StrAppend(&listed, listed.empty() ? "" : ",", TextOf(member));
    if (!names.insert(member.name).second) duplicate = "name";
    for (const server::Url& url : member.peer_urls) {
      if (!urls.insert(url.ToString()).second) duplicate = "url";
    }
  }
  if (duplicate == nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("discovery cluster ", listed, " has duplicate ", duplicate));
}

class Joiner {
 public:
  Joiner(Registry& registry, const JoinOptions& options)
      : registry_(registry),
        options_(options),
        self_id_(base::LogId(membership::MakeMemberId(server::UrlTexts(options.self.peer_urls),
                                                      options.cluster_token))) {
    ETCDD_CHECK(options.wait != nullptr);
  }

  absl::StatusOr<std::vector<InitialMember>> Run() {
    const std::string own_text = TextOf(options_.self);
    const auto own = ParseRegistration(own_text);
    if (!own.ok() || TextOf(*own) != own_text) return InvalidPeerUrl();
    for (;;) {
      ETCDD_ASSIGN_OR_RETURN(const std::optional<State> state, Look());
      if (!state.has_value()) {
        ETCDD_RETURN_IF_ERROR(PauseForRetry("cluster status check"));
        continue;
      }
      const auto first = state->members.begin();
      const auto last = first + static_cast<ptrdiff_t>(
                                    std::min(state->size, state->members.size()));
      const bool among_first = std::any_of(
          first, last, [this](const auto& each) { return each.member_id == self_id_; });
      const bool full = state->members.size() >= state->size;
      if (full && !among_first) {
        return absl::FailedPreconditionError("discovery: cluster is full");
      }
      if (!among_first) {
        ETCDD_RETURN_IF_ERROR(RegisterSelf(own_text));
        continue;  // to see who came first
      }
      retries_ = 0;
      if (full) {
        ETCDD_LOG(kInfo, "found all needed peers from discovery service",
                  {{"cluster-size", static_cast<uint64_t>(state->size)}});
        return Answer({first, last});
      }
      ReportWaiting(*state);
      ETCDD_RETURN_IF_ERROR(Pause(options_.poll_interval));
    }
  }

 private:
  struct State {
    size_t size = 0;
    std::vector<Registration> members;  // by create revision
  };

  // nullopt: try again later.
  absl::StatusOr<std::optional<State>> Look() {
    State state;
    const auto size_text = registry_.ReadSize();
    if (!size_text.ok()) {
      return LaterOrNever("failed to get cluster size from discovery service",
                          size_text.status());
    }
    if (!size_text->has_value()) {
      return absl::NotFoundError("discovery: size key not found");
    }
    const std::string& text = **size_text;
    const bool digits = std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
    if (!digits || !absl::SimpleAtoi(text, &state.size) || state.size == 0) {
      return absl::InvalidArgumentError("discovery: size key is bad");
    }
    auto members = registry_.ListMembers();
    if (!members.ok()) {
      return LaterOrNever("failed to get cluster members from discovery service",
                          members.status());
    }
    state.members = *std::move(members);
    std::sort(state.members.begin(), state.members.end(), [](const auto& a, const auto& b) {
      return std::pair(a.create_revision, a.member_id) < std::pair(b.create_revision, b.member_id);
    });
    return state;
  }

  absl::Status RegisterSelf(const std::string& own_text) {
    const absl::Status status = registry_.Register(self_id_, own_text);
    if (status.ok()) {
      ETCDD_LOG(kInfo, "register member itself successfully",
                {{"member-id", self_id_}, {"text", own_text}});
      retries_ = 0;
      return status;
    }
    ETCDD_RETURN_IF_ERROR(
        LaterOrNever("failed to register member itself to the discovery service", status)
            .status());
    return PauseForRetry("register member itself");
  }

  // A lasting failure is the end, any other one is logged.
  absl::StatusOr<std::optional<State>> LaterOrNever(const char* what, const absl::Status& status) {
    if (IsLasting(status)) return status;
    ETCDD_LOG(kWarn, what, {base::LogField(status)});
    return std::nullopt;
  }

  absl::Status PauseForRetry(const char* step) {
    if (retries_ >= options_.retries_max) {
      return absl::UnavailableError("discovery: too many retries");
    }
    ++retries_;
    const absl::Duration pause =
        absl::Seconds(int64_t{1} << std::min(retries_, kRetryExponentMax));
    ETCDD_LOG(kInfo, "retry connecting to discovery service",
              {{"reason", step}, {"backoff", base::LogDuration(pause)}});
    return Pause(pause);
  }

  absl::Status Pause(absl::Duration pause) {
    if (!options_.wait(pause)) return absl::OkStatus();
    return absl::CancelledError("discovery: stopped while waiting");
  }

  void ReportWaiting(const State& state) {
    if (reported_ == state.members.size()) return;
    reported_ = state.members.size();
    ETCDD_LOG(kInfo, "waiting for peers from discovery service",
              {{"cluster-size", static_cast<uint64_t>(state.size)},
               {"found-peers", static_cast<uint64_t>(state.members.size())}});
  }

  static absl::StatusOr<std::vector<InitialMember>> Answer(
      const std::vector<Registration>& registrations) {
    std::vector<InitialMember> members;
    for (const Registration& registration : registrations) {
      ETCDD_ASSIGN_OR_RETURN(InitialMember member, ParseRegistration(registration.text));
      members.push_back(std::move(member));
    }
    std::sort(members.begin(), members.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    ETCDD_RETURN_IF_ERROR(CheckDistinct(members));
    return members;
  }

  Registry& registry_;
  const JoinOptions& options_;
  const std::string self_id_;
  uint32_t retries_ = 0;  // failures in a row
  size_t reported_ = 0;   // members in the last line about waiting
};

}  // namespace

bool IsLasting(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kUnimplemented:
      return true;
    default:
      return false;
  }
}

absl::StatusOr<std::vector<InitialMember>> JoinCluster(Registry& registry,
                                                       const JoinOptions& options) {
  return Joiner(registry, options).Run();
}

}  // namespace etcdd::discovery
