#pragma once

// Which keys of queues are in use by requests of this member. Two requests with the same name and
// lease share a key, and one often repeats the other: a client that gave up waiting asks again. The
// first one, on its way out, must not delete what the second one now counts on.
//
// Confined to the server strand.

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

namespace etcdd::concurrency {

class Claims {
 private:
  friend class Claim;
  struct Use {
    int claims = 0;        // objects
    int live = 0;          // those still entering or waiting
    uint64_t entered = 0;  // so far; only grows
    bool granted = false;  // one of them was told that it has the key
  };
  std::unordered_map<std::string, Use> uses_;
};

class Claim {
 public:
  // Shared: a request that is on its way out may outlive the service it came through.
  Claim(std::shared_ptr<Claims> claims, std::string key);
  ~Claim();
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;

  const std::string& key() const { return key_; }
  // The request was told that it holds the key, which from now on is the client's.
  void Grant();
  // The request no longer wants the key.
  void Leave();
  // After Leave: true while nobody else has, waits for or has come for the key since.
  bool MayDelete() const;

 private:
  const std::shared_ptr<Claims> claims_;
  const std::string key_;
  Claims::Use* const use_;
  bool live_ = true;
  uint64_t entered_at_leaving_ = 0;
};

}  // namespace etcdd::concurrency
