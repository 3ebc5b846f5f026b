// etcdd: one member of an etcd-compatible cluster.

#include <string>
#include <vector>

#include "cmd/etcdd/flags.h"
#include "server/daemon.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv, argv + argc);
  const etcdd::cmd::ParsedFlags parsed =
      etcdd::cmd::ParseFlags(arguments, etcdd::cmd::ProcessEnvironment());
  etcdd::cmd::Report(parsed);
  if (!parsed.run) return parsed.exit_code;
  return etcdd::server::RunDaemon(parsed.config);
}
