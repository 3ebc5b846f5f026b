#include "raft/log.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "raft/logging.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace etcdd::raft {

Log::Log(Storage* storage, uint64_t applying_bytes_max, Logger* logger)
    : storage_(storage),
      logger_(logger),
      applying_bytes_max_(applying_bytes_max),
      unstable_(storage->LastIndex() + 1, logger),
      committed_(storage->FirstIndex() - 1),
      applying_(committed_),
      applied_(committed_) {}

uint64_t Log::FirstIndex() const {
  return unstable_.FirstIndex().value_or(storage_->FirstIndex());
}

uint64_t Log::LastIndex() const {
  const std::optional<uint64_t> last = unstable_.LastIndex();
  return last.has_value() ? *last : storage_->LastIndex();
}

EntryId Log::LastEntry() const {
  const uint64_t index = LastIndex();
  absl::StatusOr<uint64_t> term = Term(index);
  ETCDD_CHECK_MSG(term.ok(), absl::StrCat("no term for the last entry ", index));
  return {*term, index};
}

absl::StatusOr<uint64_t> Log::Term(uint64_t index) const {
  if (const std::optional<uint64_t> term = unstable_.Term(index); term.has_value()) return *term;
  if (index + 1 < FirstIndex()) return CompactedError();
  if (index > LastIndex()) return UnavailableError();
  return storage_->Term(index);
}

bool Log::Matches(const EntryId& id) const {
  absl::StatusOr<uint64_t> term = Term(id.index);
  return term.ok() && *term == id.term;
}

bool Log::IsUpToDate(const EntryId& last) const {
  const EntryId own = LastEntry();
  return last.term > own.term || (last.term == own.term && last.index >= own.index);
}

EntryId Log::FindConflictByTerm(uint64_t index, uint64_t term) const {
  for (; index > 0; --index) {
    absl::StatusOr<uint64_t> own_term = Term(index);
    if (!own_term.ok()) return {0, index};
    if (*own_term <= term) return {*own_term, index};
  }
  return {0, 0};
}

absl::Status Log::Entries(uint64_t low, uint64_t high, uint64_t bytes_max,
                          std::vector<Entry>* entries) const {
  if (low < FirstIndex()) return CompactedError();
  ETCDD_CHECK_MSG(low <= high && high <= LastIndex() + 1,
                  absl::StrCat("slice[", low, ",", high, ") out of bound [", FirstIndex(), ",",
                               LastIndex(), "]"));
  if (low == high) return absl::OkStatus();
  uint64_t bytes = 0;
  const size_t before = entries->size();
  if (low < unstable_.offset()) {
    const uint64_t stable_high = std::min(high, unstable_.offset());
    ETCDD_RETURN_IF_ERROR(storage_->Entries(low, stable_high, bytes_max, entries));
    const size_t got = entries->size() - before;
    ETCDD_CHECK(got > 0);
    ETCDD_CHECK((*entries)[before].index == low);
    // A storage that gives too many is cut; one that stops early ends the answer.
    if (got > stable_high - low) entries->resize(before + (stable_high - low));
    if (got < stable_high - low) return absl::OkStatus();
    if (stable_high == high) return absl::OkStatus();
    for (size_t i = before; i < entries->size(); ++i) bytes += EncodedSize((*entries)[i]);
  }
  const absl::Span<const Entry> unstable =
      unstable_.Slice(std::max(low, unstable_.offset()), high);
  const bool have_first = entries->size() > before;
  size_t count = bytes_max == kNoLimit ? unstable.size() : 0;
  for (; count < unstable.size(); ++count) {
    bytes += EncodedSize(unstable[count]);
    if (bytes > bytes_max && (have_first || count > 0)) break;
  }
  entries->insert(entries->end(), unstable.begin(),
                  unstable.begin() + static_cast<std::ptrdiff_t>(count));
  return absl::OkStatus();
}

absl::Status Log::Scan(uint64_t low, uint64_t high, uint64_t page_bytes,
                       absl::FunctionRef<bool(const Entry&)> visit) const {
  std::vector<Entry> page;
  while (low < high) {
    page.clear();
    ETCDD_RETURN_IF_ERROR(Entries(low, high, page_bytes, &page));
    ETCDD_CHECK(!page.empty());
    for (const Entry& entry : page) {
      if (!visit(entry)) return absl::OkStatus();
    }
    low += page.size();
  }
  return absl::OkStatus();
}

size_t Log::FindConflict(absl::Span<const Entry> entries) const {
  for (size_t i = 0; i < entries.size(); ++i) {
    const Entry& entry = entries[i];
    absl::StatusOr<uint64_t> term = Term(entry.index);
    if (term.ok() && *term == entry.term) continue;
    if (entry.index <= LastIndex()) {
      ETCDD_RAFT_LOG(logger_, kInfo,
                     "found conflict at index %d [existing term: %d, conflicting term: %d]",
                     entry.index, term.ok() ? *term : 0, entry.term);
    }
    return i;
  }
  return entries.size();
}

absl::StatusOr<Log::AppendResult> Log::MaybeAppend(const EntryId& previous, uint64_t commit,
                                                   absl::Span<Entry> entries) {
  if (!Matches(previous)) return AppendResult{};
  const uint64_t last_new_index = previous.index + entries.size();
  const size_t conflict = FindConflict(entries);
  if (conflict < entries.size()) {
    if (entries[conflict].index <= committed_) {
      return absl::DataLossError(absl::StrCat("entry ", entries[conflict].index,
                                              " conflict with committed entry [committed(",
                                              committed_, ")]"));
    }
    Append(entries.subspan(conflict));
  }
  CommitTo(std::min(commit, last_new_index));
  return AppendResult{true, last_new_index};
}

void Log::Append(absl::Span<Entry> entries) {
  if (entries.empty()) return;
  ETCDD_CHECK_MSG(entries.front().index > committed_,
                  absl::StrCat("after(", entries.front().index - 1,
                               ") is out of range [committed(", committed_, ")]"));
  unstable_.TruncateAndAppend(entries);
}

void Log::CommitTo(uint64_t index) {
  if (index <= committed_) return;
  ETCDD_CHECK_MSG(index <= LastIndex(),
                  absl::StrCat("tocommit(", index, ") is out of range [lastIndex(", LastIndex(),
                               ")]. Was the raft log corrupted, truncated, or lost?"));
  committed_ = index;
}

bool Log::MaybeCommit(uint64_t index, uint64_t term) {
  if (index <= committed_ || term == 0 || !Matches({term, index})) return false;
  CommitTo(index);
  return true;
}

uint64_t Log::AppliableIndex(bool allow_unstable) const {
  return allow_unstable ? committed_ : std::min(committed_, unstable_.offset() - 1);
}

bool Log::HasNextCommitted(bool allow_unstable) const {
  if (applying_paused_ || HasUnstableSnapshot()) return false;
  return applying_ < AppliableIndex(allow_unstable);
}

void Log::NextCommitted(bool allow_unstable, std::vector<Entry>* entries) const {
  if (!HasNextCommitted(allow_unstable)) return;
  ETCDD_CHECK(applying_bytes_ < applying_bytes_max_);
  const absl::Status status = Entries(applying_ + 1, AppliableIndex(allow_unstable) + 1,
                                      applying_bytes_max_ - applying_bytes_, entries);
  ETCDD_CHECK_MSG(status.ok(), absl::StrCat("unexpected error when getting unapplied entries: ",
                                            status.message()));
}

void Log::AcceptApplying(uint64_t index, uint64_t bytes, bool allow_unstable) {
  ETCDD_CHECK_MSG(applying_ <= index && index <= committed_,
                  absl::StrCat("applying(", index, ") is out of range [prevApplying(", applying_,
                               "), committed(", committed_, ")]"));
  applying_ = index;
  applying_bytes_ += bytes;
  // Also paused when the limit cut the batch: the next entry would not have fitted.
  applying_paused_ =
      applying_bytes_ >= applying_bytes_max_ || index < AppliableIndex(allow_unstable);
}

void Log::AppliedTo(uint64_t index, uint64_t bytes) {
  ETCDD_CHECK_MSG(applied_ <= index && index <= committed_,
                  absl::StrCat("applied(", index, ") is out of range [prevApplied(", applied_,
                               "), committed(", committed_, ")]"));
  applied_ = index;
  applying_ = std::max(applying_, applied_);
  applying_bytes_ -= std::min(applying_bytes_, bytes);
  applying_paused_ = applying_bytes_ >= applying_bytes_max_;
}

void Log::Restore(std::shared_ptr<const Snapshot> snapshot) {
  ETCDD_CHECK(snapshot->index > committed_);
  ETCDD_RAFT_LOG(logger_, kInfo, "log [%s] starts to restore snapshot [index: %d, term: %d]",
                 Describe(*this), snapshot->index, snapshot->term);
  committed_ = snapshot->index;
  unstable_.Restore(std::move(snapshot));
}

void Log::CheckInvariants() const {
  unstable_.CheckInvariants();
  ETCDD_CHECK(applied_ <= applying_);
  ETCDD_CHECK(applying_ <= committed_);
  ETCDD_CHECK(committed_ <= LastIndex());
  ETCDD_CHECK(FirstIndex() <= LastIndex() + 1);
  // No hole between the stable and the unstable part.
  if (!HasUnstableSnapshot()) ETCDD_CHECK(unstable_.offset() <= storage_->LastIndex() + 1);
}

std::string Describe(const Log& log) {
  return absl::StrFormat(
      "committed=%d, applied=%d, applying=%d, unstable.offset=%d, unstable.offsetInProgress=%d, "
      "len(unstable.Entries)=%d",
      log.committed(), log.applied(), log.applying(), log.unstable().offset(),
      log.unstable().offset_in_progress(), log.unstable().entries().size());
}

}  // namespace etcdd::raft
