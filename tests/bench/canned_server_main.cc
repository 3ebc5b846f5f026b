// bench-canned-server [PORT]: answers every call like a put, at once, until stdin ends. What
// etcdd-bench reaches against it is the generator's own limit on this machine.

#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/bench/canned_server.h"

int main(int argc, char** argv) {
  const auto port = static_cast<uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0);
  // A header with cluster_id and member_id of 64 bits, revision and term.
  const std::string header = "\x08\xca\xfe\xca\xfe\xca\xfe\xca\xfe\xca\x01"
                             "\x10\xca\xfe\xca\xfe\xca\xfe\xca\xfe\xca\x01\x18\xac\x02\x20\x02";
  etcdd::bench::CannedServer server(
      {.message = std::string("\x0a") + static_cast<char>(header.size()) + header}, port);
  std::printf("%s\n", server.endpoint().c_str());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}
