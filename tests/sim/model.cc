#include "tests/sim/model.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"

namespace etcdd::sim {
namespace {

using etcdserverpb::Compare;

// The state as of a revision, with the changes of a transaction on top.
class Overlay {
 public:
  Overlay(const Model* model, int64_t base) : model_(model), base_(base) {}

  const mvccpb::KeyValue* Get(const std::string& key) const {
    const auto found = changed_.find(key);
    if (found != changed_.end()) return found->second ? &*found->second : nullptr;
    return model_->Get(key, base_);
  }

  std::vector<mvccpb::KeyValue> Range(const std::string& key, const std::string& end) const {
    std::map<std::string, mvccpb::KeyValue> pairs;
    for (auto& pair : model_->Range(key, end, base_)) pairs.emplace(pair.key(), pair);
    for (const auto& [name, pair] : changed_) {
      if (!InRange(name, key, end)) continue;
      pairs.erase(name);
      if (pair) pairs.emplace(name, *pair);
    }
    std::vector<mvccpb::KeyValue> result;
    for (auto& [name, pair] : pairs) result.push_back(std::move(pair));
    return result;
  }

  void Put(const etcdserverpb::PutRequest& put) {
    mvccpb::KeyValue pair;
    const mvccpb::KeyValue* old = Get(put.key());
    pair.set_key(put.key());
    pair.set_value(put.value());
    pair.set_lease(put.lease());
    pair.set_mod_revision(base_ + 1);
    pair.set_create_revision(old == nullptr ? base_ + 1 : old->create_revision());
    pair.set_version(old == nullptr ? 1 : old->version() + 1);
    mvccpb::Event event;
    event.set_type(mvccpb::Event::PUT);
    *event.mutable_kv() = pair;
    events_.push_back(std::move(event));
    changed_[put.key()] = std::move(pair);
  }

  void Delete(const std::string& key) {
    mvccpb::Event event;
    event.set_type(mvccpb::Event::DELETE);
    event.mutable_kv()->set_key(key);
    event.mutable_kv()->set_mod_revision(base_ + 1);
    events_.push_back(std::move(event));
    changed_[key] = std::nullopt;
  }

  Events& events() { return events_; }

 private:
  const Model* const model_;
  const int64_t base_;
  std::map<std::string, std::optional<mvccpb::KeyValue>> changed_;
  Events events_;
};

template <typename T>
bool Holds(Compare::CompareResult result, const T& actual, const T& wanted) {
  switch (result) {
    case Compare::EQUAL: return actual == wanted;
    case Compare::GREATER: return actual > wanted;
    case Compare::LESS: return actual < wanted;
    case Compare::NOT_EQUAL: return actual != wanted;
    default: return false;
  }
}

// KV-045: an absent key has version, revisions and lease 0, and no value to compare.
bool Holds(const Compare& compare, const Overlay& state) {
  static const mvccpb::KeyValue kAbsent;
  const mvccpb::KeyValue* pair = state.Get(compare.key());
  if (pair == nullptr && compare.target() == Compare::VALUE) return false;
  if (pair == nullptr) pair = &kAbsent;
  switch (compare.target()) {
    case Compare::VERSION: return Holds(compare.result(), pair->version(), compare.version());
    case Compare::CREATE:
      return Holds(compare.result(), pair->create_revision(), compare.create_revision());
    case Compare::MOD: return Holds(compare.result(), pair->mod_revision(), compare.mod_revision());
    case Compare::VALUE: return Holds(compare.result(), pair->value(), compare.value());
    case Compare::LEASE: return Holds(compare.result(), pair->lease(), compare.lease());
    default: return false;
  }
}

void RunRange(const Model& model, const Overlay& state, const etcdserverpb::RangeRequest& request,
              etcdserverpb::RangeResponse* response) {
  auto pairs = request.revision() > 0
                   ? model.Range(request.key(), request.range_end(), request.revision())
                   : state.Range(request.key(), request.range_end());
  response->set_count(static_cast<int64_t>(pairs.size()));
  if (request.count_only()) return;
  for (auto& pair : pairs) {
    if (request.limit() > 0 && response->kvs_size() == request.limit()) {
      response->set_more(true);
      break;
    }
    if (request.keys_only()) pair.clear_value();
    *response->add_kvs() = std::move(pair);
  }
}

void RunDelete(Overlay& state, const etcdserverpb::DeleteRangeRequest& request,
               etcdserverpb::DeleteRangeResponse* response) {
  const auto pairs = state.Range(request.key(), request.range_end());
  response->set_deleted(static_cast<int64_t>(pairs.size()));
  for (const auto& pair : pairs) {
    state.Delete(pair.key());
    if (request.prev_kv()) *response->add_prev_kvs() = pair;
  }
}

}  // namespace

bool InRange(std::string_view key, std::string_view begin, std::string_view range_end) {
  if (range_end.empty()) return key == begin;
  if (key < begin) return false;
  return range_end == std::string_view("\0", 1) || key < range_end;
}

std::string Fingerprint(const Events& events) {
  std::string text;
  for (mvccpb::Event event : events) {
    event.clear_prev_kv();
    const std::string bytes = event.SerializeAsString();
    absl::StrAppend(&text, bytes.size(), ":", bytes);
  }
  return text;
}

std::string Describe(const Events& events) {
  std::string text;
  for (const mvccpb::Event& event : events) {
    const bool is_put = event.type() == mvccpb::Event::PUT;
    absl::StrAppend(&text, text.empty() ? "" : " ", is_put ? "PUT " : "DELETE ", event.kv().key(),
                    is_put ? "=" : "", event.kv().value(), "@", event.kv().mod_revision());
    if (is_put) {
      absl::StrAppend(&text, "(create ", event.kv().create_revision(), " version ",
                      event.kv().version(), " lease ", event.kv().lease(), ")");
    }
  }
  return text;
}

std::optional<std::string> Model::Append(const Events& events) {
  const int64_t base = revision();
  Overlay state(this, base);
  for (const mvccpb::Event& event : events) {
    if (event.type() == mvccpb::Event::PUT) {
      etcdserverpb::PutRequest put;
      put.set_key(event.kv().key());
      put.set_value(event.kv().value());
      put.set_lease(event.kv().lease());
      state.Put(put);
    } else {
      if (state.Get(event.kv().key()) == nullptr) {
        return absl::StrCat("revision ", base + 1, " deletes an absent key: ", Describe(events));
      }
      state.Delete(event.kv().key());
    }
  }
  if (events.empty() || Fingerprint(state.events()) != Fingerprint(events)) {
    return absl::StrCat("revision ", base + 1, " should be ", Describe(state.events()), " but is ",
                        Describe(events));
  }
  for (const mvccpb::Event& event : events) {
    Version version{base + 1, std::nullopt};
    if (event.type() == mvccpb::Event::PUT) version.pair = event.kv();
    std::vector<Version>& versions = keys_[event.kv().key()];
    if (!versions.empty() && versions.back().revision == base + 1) versions.pop_back();
    versions.push_back(std::move(version));
  }
  events_.push_back(events);
  return std::nullopt;
}

const Events& Model::events(int64_t revision) const {
  ETCDD_CHECK(revision > kFirstRevision && revision <= this->revision());
  return events_[static_cast<size_t>(revision - kFirstRevision - 1)];
}

const mvccpb::KeyValue* Model::Get(const std::string& key, int64_t revision) const {
  const auto found = keys_.find(key);
  if (found == keys_.end()) return nullptr;
  const std::vector<Version>& versions = found->second;
  auto after = std::upper_bound(
      versions.begin(), versions.end(), revision,
      [](int64_t wanted, const Version& version) { return wanted < version.revision; });
  if (after == versions.begin()) return nullptr;
  --after;
  return after->pair ? &*after->pair : nullptr;
}

std::vector<mvccpb::KeyValue> Model::Range(const std::string& key, const std::string& range_end,
                                           int64_t revision) const {
  std::vector<mvccpb::KeyValue> pairs;
  for (auto it = keys_.lower_bound(key); it != keys_.end(); ++it) {
    if (!InRange(it->first, key, range_end)) break;
    const mvccpb::KeyValue* pair = Get(it->first, revision);
    if (pair != nullptr) pairs.push_back(*pair);
  }
  return pairs;
}

std::vector<std::string> Model::LeaseKeys(int64_t lease, int64_t revision) const {
  std::vector<std::string> keys;
  for (const auto& [key, versions] : keys_) {
    const mvccpb::KeyValue* pair = Get(key, revision);
    if (pair != nullptr && pair->lease() == lease) keys.push_back(key);
  }
  return keys;
}

Model::Outcome Model::Run(const etcdserverpb::TxnRequest& request, int64_t base) const {
  Outcome outcome;
  Overlay state(this, base);
  bool succeeded = true;
  for (const Compare& compare : request.compare()) succeeded &= Holds(compare, state);
  outcome.response.set_succeeded(succeeded);
  for (const auto& op : succeeded ? request.success() : request.failure()) {
    auto* response = outcome.response.add_responses();
    if (op.has_request_range()) {
      RunRange(*this, state, op.request_range(), response->mutable_response_range());
    } else if (op.has_request_put()) {
      auto* put = response->mutable_response_put();
      const mvccpb::KeyValue* old = state.Get(op.request_put().key());
      if (op.request_put().prev_kv() && old != nullptr) *put->mutable_prev_kv() = *old;
      state.Put(op.request_put());
    } else {
      RunDelete(state, op.request_delete_range(), response->mutable_response_delete_range());
    }
  }
  outcome.events = std::move(state.events());
  return outcome;
}

}  // namespace etcdd::sim
