#include "tests/sim/trace.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace etcdd::sim {

void Trace::Add(absl::Duration now, std::string_view text) {
  const std::string line = absl::StrCat(
      absl::StrFormat("%14.9f ", absl::ToDoubleSeconds(now)), absl::string_view(text.data(),
                                                                                text.size()));
  for (const char c : line) {
    hash_ = (hash_ ^ static_cast<unsigned char>(c)) * 1099511628211u;
  }
  ++lines_;
  if (printer_) printer_(line);
}

}  // namespace etcdd::sim
