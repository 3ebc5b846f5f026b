#pragma once

// Counts the library's log lines that only rare branches write, to prove that a run reached them.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "raft/config.h"

namespace etcdd::raft {

class Probes : public Logger {
 public:
  Probes();

  bool Enabled(base::LogLevel) const override { return true; }
  void Log(base::LogLevel level, std::string_view line) override;

  // How often each was met; those never met are in here with 0.
  const std::map<std::string, int>& counts() const { return counts_; }

 private:
  std::map<std::string, int> counts_;
};

}  // namespace etcdd::raft
