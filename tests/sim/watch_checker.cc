#include "tests/sim/watch_checker.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace etcdd::sim {
namespace {

using etcdserverpb::WatchCreateRequest;
using etcdserverpb::WatchResponse;

class Checker {
 public:
  Checker(const WatchRun& run, const History& history, const EventLog& log)
      : run_(run), history_(history), log_(log) {
    for (const int filter : run.request.filters()) {
      no_put_ |= filter == WatchCreateRequest::NOPUT;
      no_delete_ |= filter == WatchCreateRequest::NODELETE;
    }
  }

  std::vector<std::string> Run() {
    for (const auto& [time, response] : run_.responses) {
      if (texts_.size() > 5) break;
      if (canceled_) {
        Fail("a response after the cancel", response);
      } else if (response.created()) {
        OnCreated(response);
      } else if (next_ == 0) {
        Fail("a response before the created one", response);
      } else if (response.canceled()) {
        OnCanceled(time, response);
      } else if (response.events().empty()) {
        OnProgress(response);
      } else {
        OnEvents(time, response);
      }
    }
    if (run_.open_at_end && !canceled_ && next_ > 0) {
      const int64_t missing = FirstWanted(next_, log_.revision());
      if (missing > 0) {
        Fail(absl::StrCat("revision ", missing, " never came: ",
                          sim::Describe(log_.model().events(missing))));
      }
    }
    return std::move(texts_);
  }

 private:
  void Fail(const std::string& what) {
    texts_.push_back(absl::StrCat(what, ": ", run_.Describe()));
  }
  void Fail(const std::string& what, const WatchResponse& response) {
    Fail(absl::StrCat(what, " {", response.ShortDebugString(), "}"));
  }

  bool Wants(const mvccpb::Event& event) const {
    if (event.type() == mvccpb::Event::PUT ? no_put_ : no_delete_) return false;
    return InRange(event.kv().key(), run_.request.key(), run_.request.range_end());
  }
  Events Wanted(int64_t revision) const {
    Events events;
    for (const auto& event : log_.model().events(revision)) {
      if (Wants(event)) events.push_back(event);
    }
    return events;
  }
  // The first revision of [from, to] with events for this watch; 0: none.
  int64_t FirstWanted(int64_t from, int64_t to) const {
    from = std::max(from, Model::kFirstRevision + 1);
    for (int64_t rev = from; rev <= std::min(to, log_.revision()); ++rev) {
      for (const auto& event : log_.model().events(rev)) {
        if (Wants(event)) return rev;
      }
    }
    return 0;
  }

  void OnCreated(const WatchResponse& response) {
    if (next_ > 0) return Fail("created twice", response);
    const int64_t now = response.header().revision();
    const int64_t start = run_.request.start_revision();
    next_ = start > 0 ? start : now + 1;
    if (response.canceled()) canceled_ = true;
  }

  void OnCanceled(absl::Duration time, const WatchResponse& response) {
    canceled_ = true;
    const int64_t compact = response.compact_revision();
    if (compact == 0) return;  // asked for
    if (compact <= next_) Fail("cancelled for a compaction it is not touched by", response);
    for (const Operation& operation : history_.operations) {
      if (operation.kind == OperationKind::kCompact && operation.call < time &&
          operation.result != Result::kRefused && operation.compact_revision >= compact) {
        return;
      }
    }
    Fail("cancelled for a compaction nobody asked for", response);
  }

  void OnProgress(const WatchResponse& response) {
    const int64_t revision = response.header().revision();
    if (revision > log_.revision()) return Fail("progress nobody has seen", response);
    const int64_t missing = FirstWanted(next_, revision);
    if (missing > 0) Fail(absl::StrCat("progress passes over revision ", missing), response);
    next_ = std::max(next_, revision + 1);
  }

  void OnEvents(absl::Duration time, const WatchResponse& response) {
    for (int i = 0; i < response.events_size();) {
      const int64_t revision = response.events(i).kv().mod_revision();
      Events events;
      while (i < response.events_size() && response.events(i).kv().mod_revision() == revision) {
        events.push_back(response.events(i++));
      }
      if (revision <= Model::kFirstRevision || revision > log_.revision()) {
        return Fail(absl::StrCat("revision ", revision, " nobody has seen"), response);
      }
      if (revision < next_) {
        return Fail(absl::StrCat("revision ", revision, " came although ", next_,
                                 " is the next one"), response);
      }
      if (const int64_t missing = FirstWanted(next_, revision - 1); missing > 0) {
        Fail(absl::StrCat("revision ", missing, " is missing before ", revision), response);
      }
      const Events wanted = Wanted(revision);
      if (Fingerprint(wanted) != Fingerprint(events)) {
        Fail(absl::StrCat("revision ", revision, " is ", sim::Describe(events), " instead of ",
                          sim::Describe(wanted)), response);
      }
      for (const auto& event : events) CheckPrevious(time, event);
      next_ = revision + 1;
    }
    if (response.header().revision() < next_ - 1) Fail("a header behind its events", response);
  }

  void CheckPrevious(absl::Duration time, const mvccpb::Event& event) {
    const int64_t before = event.kv().mod_revision() - 1;
    const mvccpb::KeyValue* previous = log_.model().Get(event.kv().key(), before);
    if (!event.has_prev_kv()) {
      if (!run_.request.prev_kv() || previous == nullptr || MayBeCompacted(before, time)) return;
      Fail(absl::StrCat("no previous pair with ", event.ShortDebugString()));
    } else if (!run_.request.prev_kv()) {
      Fail(absl::StrCat("a previous pair nobody asked for: ", event.ShortDebugString()));
    } else if (previous == nullptr ||
               previous->SerializeAsString() != event.prev_kv().SerializeAsString()) {
      Fail(absl::StrCat("another previous pair: ", event.ShortDebugString()));
    }
  }

  bool MayBeCompacted(int64_t revision, absl::Duration time) const {
    for (const Operation& operation : history_.operations) {
      if (operation.kind == OperationKind::kCompact && operation.call < time &&
          operation.result != Result::kRefused && operation.compact_revision > revision) {
        return true;
      }
    }
    return false;
  }

  const WatchRun& run_;
  const History& history_;
  const EventLog& log_;
  bool no_put_ = false;
  bool no_delete_ = false;
  int64_t next_ = 0;  // the first revision not yet accounted for; only grows
  bool canceled_ = false;
  std::vector<std::string> texts_;
};

}  // namespace

std::string WatchRun::Describe() const {
  return absl::StrCat("watch of client ", client, " at member ", member, "/", member_life,
                      " since ", absl::FormatDuration(created_at), " {",
                      request.ShortDebugString(), "}");
}

std::vector<std::string> CheckWatch(const WatchRun& run, const History& history,
                                    const EventLog& log) {
  return Checker(run, history, log).Run();
}

int64_t NextRevision(const WatchRun& run) {
  int64_t next = 0;
  for (const auto& [time, response] : run.responses) {
    if (response.created()) {
      const int64_t start = run.request.start_revision();
      next = start > 0 ? start : response.header().revision() + 1;
    } else if (response.canceled()) {
      next = std::max(next, response.compact_revision());
    } else if (response.events().empty()) {
      next = std::max(next, response.header().revision() + 1);
    } else {
      next = response.events(response.events_size() - 1).kv().mod_revision() + 1;
    }
  }
  return next;
}

}  // namespace etcdd::sim
