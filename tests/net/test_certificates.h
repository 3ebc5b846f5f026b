#pragma once

// Certificates made on the spot: an authority, what it signs, and what it revokes.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/net/openssl.h"

namespace etcdd::net {

struct CertificateRequest {
  std::string common_name = "someone";
  std::string alt_names;  // OpenSSL's notation: "DNS:localhost,IP:127.0.0.1"
  std::string usage = "serverAuth,clientAuth";
  int64_t serial = 1000;
  absl::Duration begins = -absl::Hours(24);  // from now
  absl::Duration ends = absl::Hours(24);

  // The same with one thing changed.
  CertificateRequest Name(std::string value) const { return With(&Self::common_name, value); }
  CertificateRequest AltNames(std::string value) const { return With(&Self::alt_names, value); }
  CertificateRequest Usage(std::string value) const { return With(&Self::usage, value); }
  CertificateRequest Serial(int64_t value) const { return With(&Self::serial, value); }
  CertificateRequest Begins(absl::Duration value) const { return With(&Self::begins, value); }
  CertificateRequest Ends(absl::Duration value) const { return With(&Self::ends, value); }

 private:
  using Self = CertificateRequest;
  template <typename T>
  CertificateRequest With(T Self::*field, T value) const {
    CertificateRequest changed = *this;
    changed.*field = std::move(value);
    return changed;
  }
};

struct PemPair {
  std::string certificate;
  std::string key;
};

class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name);

  PemPair Issue(const CertificateRequest& request) const;
  // An authority below this one; its Issue puts its own certificate behind the leaf's.
  TestAuthority IssueAuthority(const std::string& name, int64_t serial) const;
  // A list of revoked serial numbers; the next one was or is due at `next_update` from now.
  std::string Revoke(const std::vector<int64_t>& serials,
                     absl::Duration next_update = absl::Hours(24)) const;
  const std::string& certificate() const { return certificate_pem_; }

 private:
  TestAuthority() = default;

  KeyPtr key_;
  X509Ptr certificate_;
  std::string certificate_pem_;
  bool root_ = true;
};

}  // namespace etcdd::net
