#pragma once

// What happened in a run, line by line with true times. Always hashed, so that two runs can be
// compared; printed or kept when asked for. And the probes: how often rare things happened.
//
// Confined to the simulator's thread.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace etcdd::sim {

class Trace {
 public:
  // Gets each line; empty: nobody.
  void set_printer(std::function<void(const std::string&)> printer) {
    printer_ = std::move(printer);
  }
  void Add(absl::Duration now, std::string_view text);
  // Of all lines so far.
  uint64_t hash() const { return hash_; }
  uint64_t lines() const { return lines_; }

  void Count(const std::string& probe, int64_t by = 1) { probes_[probe] += by; }
  const std::map<std::string, int64_t>& probes() const { return probes_; }

 private:
  std::function<void(const std::string&)> printer_;
  uint64_t hash_ = 14695981039346656037u;  // FNV-1a
  uint64_t lines_ = 0;
  std::map<std::string, int64_t> probes_;
};

}  // namespace etcdd::sim
