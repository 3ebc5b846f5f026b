#include "tests/sim/history.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace etcdd::sim {
namespace {

const char* KindText(OperationKind kind) {
  switch (kind) {
    case OperationKind::kKv: return "kv";
    case OperationKind::kCompact: return "compact";
    case OperationKind::kLeaseGrant: return "lease-grant";
    case OperationKind::kLeaseRevoke: return "lease-revoke";
    case OperationKind::kLeaseRenew: return "lease-renew";
    case OperationKind::kLeaseTimeToLive: return "lease-ttl";
  }
  return "?";
}

const char* ResultText(Result result) {
  switch (result) {
    case Result::kPending: return "pending";
    case Result::kOk: return "ok";
    case Result::kRefused: return "refused";
    case Result::kUnknown: return "unknown";
  }
  return "?";
}

}  // namespace

bool Operation::Changed() const {
  for (const auto& op : response.responses()) {
    if (op.has_response_put()) return true;
    if (op.has_response_delete_range() && op.response_delete_range().deleted() > 0) {
      return true;
    }
  }
  return false;
}

std::string Operation::Describe() const {
  std::string text = absl::StrCat("#", id, " client ", client, " member ", member, "/",
                                  member_life, " ", KindText(kind), " [",
                                  absl::FormatDuration(call), ", ", absl::FormatDuration(end), "] ",
                                  ResultText(result));
  if (!error.empty()) absl::StrAppend(&text, " '", error, "'");
  if (revision != 0) absl::StrAppend(&text, " rev ", revision);
  if (kind == OperationKind::kKv) {
    absl::StrAppend(&text, serializable ? " serializable {" : " {", request.ShortDebugString(),
                    "} -> {", response.ShortDebugString(), "}");
  } else if (kind == OperationKind::kCompact) {
    absl::StrAppend(&text, " at ", compact_revision);
  } else {
    absl::StrAppend(&text, " lease ", lease, " ttl ", ttl_seconds);
  }
  return text;
}

std::optional<std::string> EventLog::Append(const Events& events, absl::Duration seen) {
  if (auto error = model_.Append(events)) return error;
  fingerprints_.push_back(Fingerprint(events));
  first_seen_.push_back(seen);
  return std::nullopt;
}

std::optional<std::string> EventLog::Add(int64_t revision, const Events& events,
                                         absl::Duration now) {
  if (revision <= Model::kFirstRevision) {
    return absl::StrCat("events at revision ", revision, ": ", Describe(events));
  }
  if (revision <= model_.revision()) {
    const size_t at = static_cast<size_t>(revision - Model::kFirstRevision - 1);
    if (fingerprints_[at] == Fingerprint(events)) {
      first_seen_[at] = std::min(first_seen_[at], now);
      return std::nullopt;
    }
    return absl::StrCat("members differ at revision ", revision, ": ",
                        Describe(model_.events(revision)), " and ", Describe(events));
  }
  if (revision > model_.revision() + 1) {
    const auto [found, added] = early_.emplace(revision, Early{events, now});
    if (!added && Fingerprint(found->second.events) != Fingerprint(events)) {
      return absl::StrCat("members differ at revision ", revision, ": ",
                          Describe(found->second.events), " and ", Describe(events));
    }
    return std::nullopt;
  }
  if (auto error = Append(events, now)) return error;
  while (!early_.empty() && early_.begin()->first <= model_.revision() + 1) {
    const auto [at, early] = *early_.begin();
    early_.erase(early_.begin());
    if (at <= model_.revision()) {
      if (auto error = Add(at, early.events, early.seen)) return error;
    } else if (auto error = Append(early.events, early.seen)) {
      return error;
    }
  }
  return std::nullopt;
}

}  // namespace etcdd::sim
