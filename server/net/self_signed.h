#pragma once

// The certificates of --auto-tls and --peer-auto-tls: made once, signed by themselves, kept in a
// directory of their own and used again at the next start. They encrypt; they prove nothing about
// who is at the other end.
//
// Thread-safe: no state.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/file_system.h"

namespace etcdd::net {

struct SelfSignedFiles {
  std::string cert_file;
  std::string key_file;
};

// cert.pem and key.pem in `directory`; made when one of them is missing, for `hosts` ("name:port",
// names and addresses), valid from `now` on for `validity_years`. The directory is created (0700),
// the files are readable by their owner only. Errors: validity_years is 0 or beyond what a
// certificate can say, or the files cannot be written.
absl::StatusOr<SelfSignedFiles> EnsureSelfSigned(base::FileSystem& fs,
                                                 const std::string& directory,
                                                 const std::vector<std::string>& hosts,
                                                 uint64_t validity_years, absl::Time now);

}  // namespace etcdd::net
