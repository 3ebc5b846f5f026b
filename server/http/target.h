#pragma once

// The parts of a request's target: "/livez?verbose&exclude=a" is the path and two parameters.
//
// Values; free functions are thread-safe.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace etcdd::http {

struct Target {
  std::string path;
  std::vector<std::pair<std::string, std::string>> parameters;  // in the order sent

  bool Has(std::string_view name) const;
  std::vector<std::string> Values(std::string_view name) const;
};

// Undoes percent and plus encoding; a parameter that is encoded wrongly is left out, as etcd does.
Target ParseTarget(std::string_view text);

}  // namespace etcdd::http
