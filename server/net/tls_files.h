#pragma once

// The files of TLS as OpenSSL's objects: certificates, keys, revocation lists; and the question
// whether a file has changed since it was read.
//
// Thread-safe: no state.

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/file_system.h"
#include "server/net/openssl.h"

namespace etcdd::net {

// A file's identity as far as the system tells without reading it. All zero: it cannot be looked
// at, which differs from every file that can.
struct FileStamp {
  uint64_t device = 0;
  uint64_t inode = 0;
  int64_t bytes = 0;
  int64_t modified_ns = 0;
  int64_t changed_ns = 0;
  friend bool operator==(const FileStamp& a, const FileStamp& b) = default;
};

// Of the file a link leads to: orchestrators replace secrets by turning a link.
FileStamp StampOf(const std::string& path);

struct CertificateAndKey {
  X509Ptr leaf;
  std::vector<X509Ptr> intermediates;
  KeyPtr key;
};

// Errors: a file cannot be read, holds nothing of the kind, or the two do not belong together.
absl::StatusOr<CertificateAndKey> LoadCertificateAndKey(base::FileSystem& fs,
                                                        const std::string& cert_file,
                                                        const std::string& key_file);

// All certificates of a PEM bundle, at least one.
absl::StatusOr<std::vector<X509Ptr>> LoadCertificates(base::FileSystem& fs,
                                                      const std::string& path);

// The serial numbers, as bytes, which the lists in the file revoke.
using RevokedSerials = std::set<std::string, std::less<>>;
absl::StatusOr<RevokedSerials> LoadRevokedSerials(base::FileSystem& fs, const std::string& path);

// A serial number in the form of RevokedSerials.
std::string SerialBytes(const ASN1_INTEGER* serial);

}  // namespace etcdd::net
