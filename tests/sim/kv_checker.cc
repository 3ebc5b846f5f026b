#include "tests/sim/kv_checker.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace etcdd::sim {
namespace {

constexpr size_t kTextsMax = 20;

// The answer without headers, which carry ids and terms.
etcdserverpb::TxnResponse Bare(etcdserverpb::TxnResponse response) {
  response.clear_header();
  for (auto& op : *response.mutable_responses()) {
    if (op.has_response_range()) op.mutable_response_range()->clear_header();
    if (op.has_response_put()) op.mutable_response_put()->clear_header();
    if (op.has_response_delete_range()) op.mutable_response_delete_range()->clear_header();
  }
  return response;
}

// A read of one range at an explicit old revision; 0: none.
int64_t OldRevision(const Operation& operation) {
  for (const auto& op : operation.request.success()) {
    if (op.has_request_range()) return op.request_range().revision();
  }
  return 0;
}

class Checker {
 public:
  Checker(const History& history, const EventLog& log, KvFacts* facts)
      : history_(history), log_(log), facts_(facts) {}

  std::vector<std::string> Run() {
    if (log_.HasGap()) Fail("revisions are missing from the event log");
    CheckAnswers();
    MatchRest();
    CheckRealTime();
    CheckMembers();
    CheckRefusals();
    return std::move(texts_);
  }

 private:
  void Fail(std::string text) {
    if (texts_.size() < kTextsMax) texts_.push_back(std::move(text));
  }
  void Fail(const Operation& operation, const std::string& what) {
    Fail(absl::StrCat(what, ": ", operation.Describe()));
  }
  static bool IsKv(const Operation& operation) { return operation.kind == OperationKind::kKv; }

  void CheckAnswers() {
    for (const Operation& operation : history_.operations) {
      if (!IsKv(operation) || operation.result != Result::kOk) continue;
      const bool changed = operation.Changed();
      if (operation.revision < Model::kFirstRevision || operation.revision > log_.revision()) {
        Fail(operation, "an answer with a revision nobody has seen");
        continue;
      }
      if (changed && operation.revision == Model::kFirstRevision) {
        Fail(operation, "a change at the first revision");
        continue;
      }
      const int64_t base = changed ? operation.revision - 1 : operation.revision;
      const Model::Outcome wanted = log_.model().Run(operation.request, base);
      if (Bare(operation.response).SerializeAsString() != wanted.response.SerializeAsString()) {
        Fail(operation, absl::StrCat("the answer should be {", wanted.response.ShortDebugString(),
                                     "}"));
        continue;
      }
      if (changed) Claim(operation, wanted.events);
    }
  }

  void Claim(const Operation& operation, const Events& events) {
    const Events& actual = log_.model().events(operation.revision);
    if (Fingerprint(actual) != Fingerprint(events)) {
      Fail(operation, absl::StrCat("revision ", operation.revision, " is ", Describe(actual)));
      return;
    }
    if (!claimed_.emplace(operation.revision, &operation).second) {
      Fail(operation, absl::StrCat("revision ", operation.revision, " was also given to #",
                                   claimed_[operation.revision]->id));
    }
  }

  // --- Revisions without an acknowledged owner: a bipartite matching with open requests. ---

  struct Orphan {
    int64_t revision;
    std::vector<size_t> candidates;  // indices into open_
  };

  // All attached keys of one lease: its revocation, or its end by time.
  bool IsLeaseEnd(int64_t revision) const {
    const Events& events = log_.model().events(revision);
    if (events[0].type() != mvccpb::Event::DELETE) return false;
    const mvccpb::KeyValue* before = log_.model().Get(events[0].kv().key(), revision - 1);
    if (before == nullptr || before->lease() == 0) return false;
    std::vector<std::string> deleted;
    for (const auto& event : events) {
      if (event.type() != mvccpb::Event::DELETE) return false;
      deleted.push_back(event.kv().key());
    }
    return deleted == log_.model().LeaseKeys(before->lease(), revision - 1);
  }

  void MatchRest() {
    for (const Operation& operation : history_.operations) {
      if (!IsKv(operation) || operation.read_only) continue;
      if (operation.result == Result::kOk || operation.result == Result::kRefused) continue;
      open_.push_back(&operation);
    }
    std::vector<Orphan> orphans;
    for (int64_t rev = Model::kFirstRevision + 1; rev <= log_.revision(); ++rev) {
      if (claimed_.contains(rev)) continue;
      Orphan orphan{rev, {}};
      const std::string events = Fingerprint(log_.model().events(rev));
      for (size_t i = 0; i < open_.size(); ++i) {
        if (open_[i]->call >= log_.first_seen(rev)) continue;
        if (Fingerprint(log_.model().Run(open_[i]->request, rev - 1).events) == events) {
          orphan.candidates.push_back(i);
        }
      }
      if (orphan.candidates.empty()) {
        if (IsLeaseEnd(rev)) continue;
        Fail(absl::StrCat("nobody asked for revision ", rev, ": ",
                          Describe(log_.model().events(rev))));
        continue;
      }
      orphans.push_back(std::move(orphan));
    }
    owner_.assign(open_.size(), SIZE_MAX);
    for (size_t i = 0; i < orphans.size(); ++i) {
      std::set<size_t> tried;
      if (Augment(orphans, i, &tried) || IsLeaseEnd(orphans[i].revision)) continue;
      const int64_t rev = orphans[i].revision;
      Fail(absl::StrCat("revision ", rev, " happened though all who may have asked for it have "
                        "been served: ", Describe(log_.model().events(rev))));
    }
    for (size_t i = 0; i < open_.size(); ++i) {
      if (owner_[i] == SIZE_MAX) continue;
      claimed_.emplace(orphans[owner_[i]].revision, open_[i]);
      ++facts_->open_happened;
    }
  }

  // Kuhn's algorithm.
  bool Augment(const std::vector<Orphan>& orphans, size_t at, std::set<size_t>* tried) {
    for (const size_t candidate : orphans[at].candidates) {
      if (!tried->insert(candidate).second) continue;
      if (owner_[candidate] == SIZE_MAX || Augment(orphans, owner_[candidate], tried)) {
        owner_[candidate] = at;
        return true;
      }
    }
    return false;
  }

  // --- Real time ---

  // What each operation is ordered at: twice the revision, plus one for those without a change.
  struct Placed {
    const Operation* operation;
    int64_t place;
  };

  // Sweeps over begins and ends. `floor` is the place of the last operation that has ended.
  void Sweep(std::vector<Placed> placed) {
    struct Point {
      absl::Duration time;
      bool is_end;
      size_t index;
    };
    std::vector<Point> points;
    for (size_t i = 0; i < placed.size(); ++i) {
      points.push_back({placed[i].operation->call, false, i});
      if (placed[i].operation->result == Result::kOk) {
        points.push_back({placed[i].operation->end, true, i});
      }
    }
    // Of equal times the begin counts as first: the two overlap.
    std::sort(points.begin(), points.end(), [](const Point& a, const Point& b) {
      return std::tie(a.time, a.is_end, a.index) < std::tie(b.time, b.is_end, b.index);
    });
    int64_t floor = 0;
    const Operation* last = nullptr;
    for (const Point& point : points) {
      const Placed& at = placed[point.index];
      if (point.is_end) {
        if (at.place > floor) last = at.operation;
        floor = std::max(floor, at.place);
      } else if (at.place < floor) {
        Fail(*at.operation, absl::StrCat("ordered before one that had ended: ", last->Describe(),
                                         "; the later one"));
      }
    }
  }

  void CheckRealTime() {
    std::vector<Placed> placed;
    for (const auto& [revision, operation] : claimed_) {
      placed.push_back({operation, 2 * revision});
      if (operation->call >= log_.first_seen(revision)) {
        Fail(*operation, absl::StrCat("revision ", revision, " was seen before it was asked for"));
      }
    }
    for (const Operation& operation : history_.operations) {
      if (!IsKv(operation) || operation.result != Result::kOk || operation.Changed()) continue;
      if (!operation.serializable) placed.push_back({&operation, 2 * operation.revision + 1});
      if (operation.revision > Model::kFirstRevision && operation.revision <= log_.revision() &&
          claimed_.contains(operation.revision) &&
          claimed_[operation.revision]->call > operation.end) {
        Fail(operation, "read what nobody had asked for yet");
      }
    }
    Sweep(std::move(placed));
  }

  // One member does not go back either, not even for serializable reads.
  void CheckMembers() {
    std::map<std::pair<int, uint64_t>, std::vector<Placed>> lives;
    for (const Operation& operation : history_.operations) {
      if (!IsKv(operation) || operation.result != Result::kOk) continue;
      lives[{operation.member, operation.member_life}].push_back(
          {&operation, 2 * operation.revision + (operation.Changed() ? 0 : 1)});
    }
    for (auto& [life, placed] : lives) Sweep(std::move(placed));
  }

  // --- Errors about revisions ---

  void CheckRefusals() {
    // Highest revision known and highest compaction acknowledged, by when.
    std::vector<std::pair<absl::Duration, int64_t>> known;
    std::vector<const Operation*> compactions;
    for (const Operation& operation : history_.operations) {
      if (operation.kind == OperationKind::kCompact && operation.result != Result::kRefused) {
        compactions.push_back(&operation);
      }
      if (operation.result == Result::kOk && operation.revision > 0) {
        known.emplace_back(operation.end, operation.revision);
      }
    }
    std::sort(known.begin(), known.end());
    for (size_t i = 1; i < known.size(); ++i) {
      known[i].second = std::max(known[i].second, known[i - 1].second);
    }
    for (const Operation& operation : history_.operations) {
      if (!IsKv(operation) || !operation.read_only) continue;
      const int64_t wanted = OldRevision(operation);
      if (wanted <= 0) continue;
      CheckOldRead(operation, wanted, known, compactions);
    }
  }

  void CheckOldRead(const Operation& operation, int64_t wanted,
                    const std::vector<std::pair<absl::Duration, int64_t>>& known,
                    const std::vector<const Operation*>& compactions) {
    const bool compacted = absl::StrContains(operation.error, "has been compacted");
    bool may_be_compacted = false;
    bool must_be_compacted = false;
    for (const Operation* compaction : compactions) {
      if (compaction->compact_revision <= wanted) continue;
      may_be_compacted |= compaction->call < operation.end;
      must_be_compacted |= compaction->result == Result::kOk && compaction->end < operation.call;
    }
    if (compacted && !may_be_compacted) Fail(operation, "compacted though nobody asked for it");
    if (operation.result == Result::kOk && must_be_compacted && !operation.serializable) {
      Fail(operation, "read a revision that had been compacted");
    }
    if (absl::StrContains(operation.error, "future revision") && !operation.serializable) {
      auto after = std::lower_bound(known.begin(), known.end(),
                                    std::make_pair(operation.call, int64_t{0}));
      if (after != known.begin() && std::prev(after)->second >= wanted) {
        Fail(operation, "a revision that was known before is a future one");
      }
    }
    if (operation.result == Result::kOk && wanted > operation.revision) {
      Fail(operation, "read a revision behind the one it was answered at");
    }
  }

  const History& history_;
  const EventLog& log_;
  KvFacts* const facts_;
  std::vector<std::string> texts_;
  std::map<int64_t, const Operation*> claimed_;  // revision -> whose change it is
  std::vector<const Operation*> open_;
  std::vector<size_t> owner_;  // index in open_ -> orphan
};

}  // namespace

std::vector<std::string> CheckKv(const History& history, const EventLog& log, KvFacts* facts) {
  KvFacts unused;
  return Checker(history, log, facts == nullptr ? &unused : facts).Run();
}

}  // namespace etcdd::sim
