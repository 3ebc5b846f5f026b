#include "server/concurrency/contender.h"

#include <utility>

#include "server/base/check.h"
#include "server/concurrency/key_queue.h"

namespace etcdd::concurrency {
namespace {

constexpr char kSessionExpired[] = "mutex: session is expired";

}  // namespace

std::shared_ptr<Contender> Contender::Start(server::EtcdServer* server,
                                            std::shared_ptr<Claims> claims, Options options,
                                            Done done) {
  const int64_t lease = options.lease;
  auto contender = std::make_shared<Contender>(server, std::move(claims), std::move(options),
                                               std::move(done));
  EnsureLease(server, lease, [contender](absl::StatusOr<int64_t> ensured) {
    contender->OnLease(std::move(ensured));
  });
  return contender;
}

Contender::Contender(server::EtcdServer* server, std::shared_ptr<Claims> claims, Options options,
                     Done done)
    : server_(server),
      claims_(std::move(claims)),
      options_(std::move(options)),
      done_(std::move(done)) {}

void Contender::OnLease(absl::StatusOr<int64_t> lease) {
  if (over_) return;
  if (!lease.ok()) return Fail(lease.status());
  place_.lease = *lease;
  place_.key = QueueKey(options_.name, *lease);
  claim_ = std::make_unique<Claim>(claims_, place_.key);
  RunTxn(server_, EnterQueue({options_.name, options_.value, *lease}),
         [self = shared_from_this()](absl::StatusOr<etcdserverpb::TxnResponse> entered) {
           self->OnEntered(std::move(entered));
         });
}

void Contender::OnEntered(absl::StatusOr<etcdserverpb::TxnResponse> entered) {
  if (!entered.ok()) return Fail(entered.status());
  place_.header = entered->header();
  bool stale_value = false;
  if (entered->succeeded()) {
    place_.create_revision = entered->header().revision();
  } else {
    const auto& found = entered->responses(0).response_range();
    ETCDD_CHECK(found.kvs_size() == 1);
    place_.create_revision = found.kvs(0).create_revision();
    stale_value = found.kvs(0).value() != options_.value;
  }
  if (over_) return Withdraw(kWithdrawalsMax);  // cancelled meanwhile
  if (options_.kind == Kind::kCampaign && stale_value) return Proclaim();
  const auto& oldest = entered->responses(1).response_range();
  ETCDD_CHECK(oldest.kvs_size() == 1);
  if (oldest.kvs(0).create_revision() == place_.create_revision) return Win();
  Wait();
}

void Contender::Proclaim() {
  etcdserverpb::TxnRequest txn = IfCreatedAt(place_.key, place_.create_revision);
  auto* put = txn.add_success()->mutable_request_put();
  put->set_key(place_.key);
  put->set_value(options_.value);
  put->set_lease(place_.lease);
  RunTxn(server_, txn,
         [self = shared_from_this()](absl::StatusOr<etcdserverpb::TxnResponse> proclaimed) {
           if (self->over_) return;
           if (!proclaimed.ok()) return self->Fail(proclaimed.status());
           if (!proclaimed->succeeded()) {
             return self->Fail(absl::UnknownError("election: not leader"));
           }
           self->Wait();
         });
}

// Read from this member's own state: it has applied the entry, and no earlier key can appear after
// it. An earlier key that is gone here is gone.
void Contender::Wait() {
  etcdserverpb::RangeRequest earlier = NewestKeyBefore(options_.name, place_.create_revision);
  earlier.set_serializable(true);
  earlier.set_keys_only(true);
  ReadRange(server_, std::move(earlier),
            [self = shared_from_this()](absl::StatusOr<etcdserverpb::RangeResponse> found) {
              self->OnEarlier(std::move(found));
            });
}

void Contender::OnEarlier(absl::StatusOr<etcdserverpb::RangeResponse> earlier) {
  if (over_) return;
  if (!earlier.ok()) return Fail(earlier.status());
  if (earlier->kvs_size() > 0) {
    return WatchDeletion(earlier->kvs(0).key(), earlier->header().revision());
  }
  if (options_.kind == Kind::kLock) return Verify();
  Win();
}

// `revision` is the one at which the key was there.
void Contender::WatchDeletion(const std::string& key, int64_t revision) {
  mvcc::WatchCreate create;
  create.key = key;
  create.start_revision = revision + 1;
  create.no_put = true;
  auto again = [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self == nullptr || self->over_) return;
    self->watch_.reset();
    self->Wait();
  };
  watch_ = std::make_unique<HubWatch>(
      &server_->watch_hub(), create,
      [server = server_, again, told = false](const etcdserverpb::WatchResponse&) mutable {
        if (!std::exchange(told, true)) server->strand().Post(again);
        return true;
      });
}

// The wait may have been longer than the lease.
void Contender::Verify() {
  etcdserverpb::RangeRequest own;
  own.set_key(place_.key);
  ReadPatiently(server_, std::move(own), [self = shared_from_this()] { return !self->over_; },
                [self = shared_from_this()](absl::StatusOr<etcdserverpb::RangeResponse> found) {
                  if (!found.ok()) return self->Fail(found.status());
                  if (found->kvs_size() == 0 ||
                      found->kvs(0).create_revision() != self->place_.create_revision) {
                    self->place_.create_revision = 0;
                    return self->Fail(absl::UnknownError(kSessionExpired));
                  }
                  self->place_.header = found->header();
                  self->Win();
                });
}

void Contender::Win() {
  const auto self = shared_from_this();
  over_ = true;
  claim_->Grant();
  std::exchange(done_, nullptr)(std::move(place_));
}

void Contender::Fail(const absl::Status& status) {
  if (std::exchange(over_, true)) return;
  const auto self = shared_from_this();
  Withdraw(kWithdrawalsMax);
  std::exchange(done_, nullptr)(status);
}

void Contender::Cancel() {
  if (std::exchange(over_, true)) return;
  const auto self = shared_from_this();
  watch_.reset();
  done_ = nullptr;
  Withdraw(kWithdrawalsMax);
}

void Contender::Withdraw(int tries_left) {
  if (claim_ == nullptr) return;
  claim_->Leave();
  if (place_.create_revision == 0 || tries_left == 0 || server_->stopped()) return;
  if (!claim_->MayDelete()) return;
  etcdserverpb::TxnRequest txn = IfCreatedAt(place_.key, place_.create_revision);
  txn.add_success()->mutable_request_delete_range()->set_key(place_.key);
  RunTxn(server_, txn, [self = shared_from_this(), tries_left](
                           const absl::StatusOr<etcdserverpb::TxnResponse>& withdrawn) {
    if (withdrawn.ok() || self->server_->stopped()) return;
    self->server_->strand().PostAfter(
        kRetryInterval, [self, tries_left] { self->Withdraw(tries_left - 1); });
  });
}

}  // namespace etcdd::concurrency
