#pragma once

// One member as a process: real clock, files, threads, listeners and signals around an EtcdServer,
// and the order in which all of it starts and stops.
//
// Call from the main thread, before any other thread exists (signals are blocked for all).

#include "server/config.h"

namespace etcdd::server {

// Runs a member until SIGINT or SIGTERM, which end it in order: no new connections, running
// requests are answered, everything is on disk. Returns the process's exit code: 0 after such a
// stop, 1 when the member could not start or could not go on; the reason is in the log.
// Requires: config.Validate() is OK.
int RunDaemon(const Config& config);

}  // namespace etcdd::server
