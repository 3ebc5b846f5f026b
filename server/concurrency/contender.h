#pragma once

// One request for the first place of a queue, which is a Lock or a Campaign: gets a lease if it has
// none, enters the queue, and waits until all who entered earlier have gone.
//
// Confined to the server strand.

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/concurrency/claims.h"
#include "server/concurrency/hub_watch.h"
#include "server/concurrency/store_calls.h"

namespace etcdd::concurrency {

// A key that is to leave the queue and cannot is tried again so often; then its lease ends it.
inline constexpr int kWithdrawalsMax = 100;

class Contender : public std::enable_shared_from_this<Contender> {
 public:
  enum class Kind {
    kLock,      // must find its key there at the end of the wait (LOCK-005)
    kCampaign,  // gives a key that was there already its value (ELEC-002)
  };
  struct Options {
    Kind kind = Kind::kLock;
    std::string name;
    int64_t lease = 0;  // 0: a new one (LOCK-001)
    std::string value;
  };
  struct Place {
    // Of the request that decided: of entering, or for a lock that waited, of the last look.
    etcdserverpb::ResponseHeader header;
    std::string key;
    int64_t create_revision = 0;
    int64_t lease = 0;
  };
  using Done = absl::AnyInvocable<void(absl::StatusOr<Place>)>;

  // `done` runs once the first place is reached or cannot be, unless Cancel comes first; perhaps
  // before Start returns. Errors have the code Unknown. The caller keeps the contender until then,
  // and `server` longer.
  static std::shared_ptr<Contender> Start(server::EtcdServer* server,
                                          std::shared_ptr<Claims> claims, Options options,
                                          Done done);
  Contender(server::EtcdServer* server, std::shared_ptr<Claims> claims, Options options,
            Done done);

  // Nobody waits any more: the key leaves the queue, also when it is only being entered now
  // (LOCK-005, ELEC-001).
  void Cancel();

 private:
  void OnLease(absl::StatusOr<int64_t> lease);
  void OnEntered(absl::StatusOr<etcdserverpb::TxnResponse> entered);
  void Proclaim();
  // Looks for the newest earlier key and waits for its deletion, again and again.
  void Wait();
  void OnEarlier(absl::StatusOr<etcdserverpb::RangeResponse> earlier);
  void WatchDeletion(const std::string& key, int64_t revision);
  void Verify();
  void Win();
  void Fail(const absl::Status& status);
  void Withdraw(int tries_left);

  server::EtcdServer* const server_;
  const std::shared_ptr<Claims> claims_;
  const Options options_;
  Done done_;

  std::unique_ptr<Claim> claim_;  // once the key is known
  Place place_;                   // create_revision 0: not in the queue
  bool over_ = false;             // won, failed or cancelled
  std::unique_ptr<HubWatch> watch_;
};

}  // namespace etcdd::concurrency
