#include "mvcc/backend_history.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/api_error.h"
#include "server/base/status_macros.h"

namespace etcdd::mvcc {

BackendHistory::BackendHistory(BackendHistorySources sources) : sources_(std::move(sources)) {}

int64_t BackendHistory::CompactRevision() const { return sources_.compact_revision(); }

absl::Status BackendHistory::Scan(
    int64_t from, int64_t to,
    absl::FunctionRef<bool(Revision revision, bool is_delete, std::string_view record)> visit)
    const {
  const std::shared_ptr<Backend> backend = sources_.backend();
  const std::unique_ptr<View> view = backend->NewView();
  // Asked for after the view was taken: a compaction that begins later cannot reach into it.
  if (from < CompactRevision()) return base::ApiError(base::ErrorId::kCompacted);
  absl::Status broken;
  ETCDD_RETURN_IF_ERROR(view->Scan(
      Bucket::kKey, EncodeRevision({std::max<int64_t>(from, 0), 0}), EncodeRevision({to + 1, 0}),
      [&](std::string_view key, std::string_view value) {
        const std::optional<DecodedRevision> decoded = DecodeRevision(key);
        if (!decoded.has_value()) {
          broken = absl::DataLossError(
              absl::StrCat("a record near revision ", from, " has a malformed revision"));
          return false;
        }
        return visit(decoded->revision, decoded->tombstone, value);
      }));
  return broken;
}

absl::StatusOr<base::Bytes> BackendHistory::PairAt(std::string_view key, int64_t revision) const {
  auto pair = sources_.pair_at(key, revision);
  if (base::IsApiError(pair.status(), base::ErrorId::kCompacted)) return base::Bytes();
  return pair;
}

}  // namespace etcdd::mvcc
