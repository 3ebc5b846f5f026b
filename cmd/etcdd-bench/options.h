#pragma once

// Everything a run can be told, with the defaults of the command line.

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace etcdd::bench {

struct Options {
  std::string endpoint = "127.0.0.1:2379";
  std::string op = "put";
  uint32_t connections = 8;
  uint32_t outstanding = 64;  // in all; of puts when watching
  double seconds = 2;
  double warmup_s = 0.5;
  uint64_t keys = 100000;
  uint32_t key_bytes = 16;
  uint32_t value_bytes = 256;
  uint64_t seed = 1;
  bool serializable = false;
  bool random_order = false;  // load
  pid_t server_pid = 0;       // 0: none
  pid_t stop_with_pid = 0;    // the run ends when this process does; 0: none
  bool json = false;

  uint32_t watchers = 104;
  uint32_t streams = 8;            // that carry the watchers, or the keepalives
  double puts_per_second = 0;      // watch: 0 is a closed loop
  uint64_t since_epoch_ns = 0;     // restart-probe: measure from here; 0 is its own start
  double timeout_s = 120;          // restart-probe, compact
};

}  // namespace etcdd::bench
