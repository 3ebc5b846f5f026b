#include "wal/prewriter.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace etcdd::wal {
namespace {

constexpr uint64_t kPageBytes = 4096;
// When appends have caught up, go on this many steps ahead of them instead of in their way.
constexpr uint64_t kLeadSteps = 16;
constexpr char kZeros[64 * 1024] = {};

uint64_t RoundUpToPage(uint64_t offset) {
  return (offset + kPageBytes - 1) / kPageBytes * kPageBytes;
}

}  // namespace

Prewriter::Prewriter(std::unique_ptr<base::File> file, base::Strand& strand,
                     PrewriteOptions options, uint64_t begin, uint64_t end)
    : strand_(strand),
      options_(options),
      end_(end),
      file_(std::move(file)),
      claimed_(begin),
      next_(RoundUpToPage(begin)) {}

void Prewriter::Start() {
  {
    absl::MutexLock lock(&mutex_);
    if (started_ || stopped_ || options_.chunk_bytes == 0) return;
    started_ = true;
  }
  strand_.Post([self = shared_from_this()] { self->Step(); });
}

absl::Status Prewriter::Claim(uint64_t end) {
  absl::MutexLock lock(&mutex_);
  ETCDD_CHECK(!stopped_);
  claimed_ = std::max(claimed_, end);
  const auto clear = [this, end]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !step_ || end <= step_->begin;
  };
  mutex_.Await(absl::Condition(&clear));
  if (resting_ && (next_ <= claimed_ || next_ - claimed_ < options_.ahead_bytes / 2)) {
    resting_ = false;
    strand_.Post([self = shared_from_this()] { self->Step(); });
  }
  return failed_;
}

absl::Status Prewriter::Stop() {
  absl::MutexLock lock(&mutex_);
  stopped_ = true;
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !step_; };
  mutex_.Await(absl::Condition(&idle));
  file_.reset();
  return failed_;
}

std::optional<Prewriter::Range> Prewriter::BeginStep() {
  absl::MutexLock lock(&mutex_);
  if (stopped_ || !failed_.ok()) return std::nullopt;
  if (claimed_ > next_) next_ = RoundUpToPage(claimed_ + kLeadSteps * options_.chunk_bytes);
  if (next_ >= end_) return std::nullopt;
  if (next_ - claimed_ >= options_.ahead_bytes) {
    resting_ = true;
    return std::nullopt;
  }
  step_ = Range{next_, std::min(next_ + options_.chunk_bytes, end_)};
  ETCDD_CHECK(step_->begin >= claimed_);
  return step_;
}

absl::Status Prewriter::WriteZeros(const Range& range) {
  std::vector<std::string_view> pieces;
  for (uint64_t left = range.end - range.begin; left > 0;) {
    const uint64_t size = std::min<uint64_t>(left, sizeof kZeros);
    pieces.emplace_back(kZeros, static_cast<size_t>(size));
    left -= size;
  }
  ETCDD_RETURN_IF_ERROR(file_->WriteAt(range.begin, pieces));
  // Its own sync, so that nobody else's has to carry these pages.
  return file_->Sync();
}

void Prewriter::Step() {
  const std::optional<Range> range = BeginStep();
  if (!range) return;
  absl::Status status = WriteZeros(*range);
  {
    absl::MutexLock lock(&mutex_);
    next_ = range->end;
    step_.reset();
    if (!status.ok()) failed_ = std::move(status);
  }
  strand_.PostAfter(options_.pause, [self = shared_from_this()] { self->Step(); });
}

}  // namespace etcdd::wal
