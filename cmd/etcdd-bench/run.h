#pragma once

// One function per thing the command line can ask for. Each connects, runs, and returns its report;
// an error means that there was nothing to measure. Failed operations are counted in the report.

#include "absl/status/statusor.h"
#include "cmd/etcdd-bench/options.h"
#include "cmd/etcdd-bench/report.h"

namespace etcdd::bench {

// InvalidArgument with a reason when the options do not fit together.
absl::Status CheckOptions(const Options& options);

// The op of options.op for options.seconds after a warm-up.
absl::StatusOr<Report> RunOp(const Options& options);
// Writes every key once.
absl::StatusOr<Report> RunFill(const Options& options);
// Physical compaction at the current revision.
absl::StatusOr<Report> RunCompact(const Options& options);
// Waits until a linearizable get is answered.
absl::StatusOr<Report> RunRestartProbe(const Options& options);

}  // namespace etcdd::bench
