#pragma once

// From a Config to the TLS contexts of a member: client URLs, peer URLs, and dialing peers. The
// self-signed certificates of --auto-tls and --peer-auto-tls are made here, in
// <data-dir>/fixtures/client and <data-dir>/fixtures/peer.
//
// Call at the start, once the data directory is ours.

#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/file_system.h"
#include "server/config.h"
#include "server/net/tls_context.h"

namespace etcdd::server {

// All three: null when nothing in `config` asks for TLS there. Errors: files that cannot be used,
// rules that contradict each other, unknown cipher suites. `fs` must outlive the contexts, and
// `now` is when a self-signed certificate begins.

// For --listen-client-urls and --listen-metrics-urls.
absl::StatusOr<std::unique_ptr<net::TlsServerContext>> NewClientListenerTls(
    base::FileSystem* fs, const Config& config, absl::Time now);

// For --listen-peer-urls. Callers are held to the SAN of their certificates unless
// --peer-skip-client-san-verification is set.
absl::StatusOr<std::unique_ptr<net::TlsServerContext>> NewPeerListenerTls(base::FileSystem* fs,
                                                                          const Config& config,
                                                                          absl::Time now);

// For connections to the peer URLs of other members.
absl::StatusOr<std::unique_ptr<net::TlsClientContext>> NewPeerDialerTls(base::FileSystem* fs,
                                                                        const Config& config,
                                                                        absl::Time now);

}  // namespace etcdd::server
