#include "server/image_transfer.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "mvcc/backend/image.h"
#include "server/base/coding.h"
#include "server/base/status_macros.h"
#include "server/bootstrap.h"

namespace etcdd::server {
namespace {

class BackendSource : public consensus::ImageSource {
 public:
  BackendSource(std::shared_ptr<const mvcc::Backend> backend,
                std::unique_ptr<const mvcc::View> view)
      : backend_(std::move(backend)), reader_(std::move(view)) {}

  absl::StatusOr<std::string> Next() override { return reader_.Next(); }

 private:
  const std::shared_ptr<const mvcc::Backend> backend_;  // outlives the reader's view
  mvcc::ImageReader reader_;
};

// Checks an image, and that it contains exactly the entries up to an index.
class IndexVerifier : public snap::DbVerifier {
 public:
  explicit IndexVerifier(uint64_t index) : index_(index) {}

  absl::Status Append(std::string_view piece) override {
    return parser_.Append(piece, [this](mvcc::Bucket bucket, std::string_view key,
                                        std::string_view value) {
      if (bucket == mvcc::Bucket::kMeta && key == kConsistentIndexKey && value.size() == 8) {
        contained_ = base::ReadBigEndian64(value.data());
      }
      return absl::OkStatus();
    });
  }

  absl::Status Finish() override {
    ETCDD_RETURN_IF_ERROR(parser_.Finish());
    if (contained_ == index_) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("the backend image contains entries up to index ",
                                            contained_, ", its snapshot up to ", index_));
  }

 private:
  const uint64_t index_;
  uint64_t contained_ = 0;
  mvcc::ImageParser parser_;
};

class DbFileSink : public consensus::ImageSink {
 public:
  explicit DbFileSink(std::unique_ptr<snap::DbFileWriter> writer) : writer_(std::move(writer)) {}

  absl::Status Append(std::string_view piece) override { return writer_->Append(piece); }
  absl::Status Commit() override { return writer_->Commit(); }

 private:
  const std::unique_ptr<snap::DbFileWriter> writer_;
};

}  // namespace

absl::StatusOr<BackendImage> ImageOf(std::shared_ptr<const mvcc::Backend> backend) {
  std::unique_ptr<const mvcc::View> view = backend->NewView();
  const auto bytes = view->Get(mvcc::Bucket::kMeta, kConsistentIndexKey);
  ETCDD_RETURN_IF_ERROR(bytes.status());
  if (bytes->size() != 8) {
    return absl::DataLossError("the backend's consistent_index is not 8 bytes long");
  }
  return BackendImage{base::ReadBigEndian64(bytes->data()),
                      std::make_unique<BackendSource>(std::move(backend), std::move(view))};
}

absl::StatusOr<std::unique_ptr<consensus::ImageSink>> ReceiveImage(snap::DbFiles& files,
                                                                   uint64_t index) {
  ETCDD_ASSIGN_OR_RETURN(auto writer,
                         files.Receive(index, std::make_unique<IndexVerifier>(index)));
  return std::make_unique<DbFileSink>(std::move(writer));
}

}  // namespace etcdd::server
