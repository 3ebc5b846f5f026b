// Images of the whole state: sent to a member that lags behind the log, and taken in by this one
// (architecture.md section 3, BOOT-053, BOOT-054).

#include <utility>

#include "absl/strings/str_cat.h"
#include "mvcc/store_history.h"
#include "server/base/check.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/etcd_server.h"
#include "server/image_transfer.h"

namespace etcdd::server {

// What is sent is not what raft has in mind but the present state: it is newer, and its image can
// be read now. The view and the progress fit together because both change on this strand only.
void EtcdServer::SendSnapshot(raft::Message message) {
  const raft::NodeId to = message.to;
  if (transport_ == nullptr || installing_ || images_in_flight_ >= kImagesInFlightMax) {
    return RefuseSnapshot(to);
  }
  absl::StatusOr<BackendImage> image = ImageOf(backend_);
  if (!image.ok()) {
    ETCDD_LOG(kError, "failed to read the database for another member",
              {base::LogField(image.status())});
    return RefuseSnapshot(to);
  }
  ETCDD_CHECK(image->index == applied_);
  auto snapshot = std::make_shared<raft::Snapshot>();
  snapshot->index = applied_;
  snapshot->term = applied_term_;
  snapshot->conf_state = conf_state_;
  snapshot->data = base::Bytes::Copy(MembershipDocument());
  message.snapshot = std::move(snapshot);
  ++images_in_flight_;
  raft_->HoldEntries(true);
  ETCDD_LOG(kInfo, "sending merged snapshot",
            {{"from", base::LogId(identity_.member_id)},
             {"to", base::LogId(to)},
             {"snapshot-index", applied_},
             {"bytes", backend_->SizeInUseBytes()}});
  transport_->SendSnapshot(std::move(message), std::move(image->source));
}

// Raft asks again.
void EtcdServer::RefuseSnapshot(raft::NodeId to) {
  parts_.strand->Post([this, alive = alive_, to] {
    if (*alive && !stopped_) raft_->ReportSnapshot(to, false);
  });
}

void EtcdServer::OnSnapshotSent(raft::NodeId id, bool ok) {
  ETCDD_CHECK(images_in_flight_ > 0);
  if (stopped_) return;
  raft_->ReportSnapshot(id, ok);
  const auto release = [this, alive = alive_] {
    if (!*alive || stopped_) return;
    if (--images_in_flight_ == 0) raft_->HoldEntries(false);
  };
  if (!ok) return release();
  // The member takes it in before it can ask for the entries behind it.
  parts_.strand->PostAfter(kEntriesHeldAfterImage, release);
}

absl::StatusOr<std::unique_ptr<consensus::ImageSink>> EtcdServer::OnImage(
    const raft::Message& message) {
  if (stopped_ || message.snapshot == nullptr || parts_.save_image == nullptr) {
    return absl::UnavailableError("this member takes no images now");
  }
  return parts_.save_image(message.snapshot->index);
}

absl::StatusOr<EtcdServer::NewContent> EtcdServer::ReadImage(uint64_t index) const {
  NewContent fresh;
  ETCDD_ASSIGN_OR_RETURN(fresh.backend, parts_.install_image(index));
  ETCDD_ASSIGN_OR_RETURN(fresh.content, store_->ReadContent(fresh.backend));
  return fresh;
}

// The slow part runs on the background strand, behind whatever flush or compaction step is under
// way there; reads of the old state go on meanwhile.
void EtcdServer::InstallSnapshot(std::shared_ptr<const raft::Snapshot> snapshot,
                                 absl::AnyInvocable<void()> done) {
  ETCDD_LOG(kInfo, "applying snapshot",
            {{"current-applied-index", applied_},
             {"incoming-leader-snapshot-index", snapshot->index},
             {"incoming-leader-snapshot-term", snapshot->term}});
  ETCDD_CHECK_MSG(snapshot->index > applied_,
                  absl::StrCat("snapshot ", snapshot->index, " is behind ", applied_));
  installing_ = true;
  compactions_->Stop();
  parts_.background->Post([this, alive = alive_, snapshot = std::move(snapshot),
                           done = std::move(done)]() mutable {
    auto fresh = ReadImage(snapshot->index);
    parts_.strand->Post([this, alive, snapshot = std::move(snapshot), fresh = std::move(fresh),
                         done = std::move(done)]() mutable {
      if (!*alive || stopped_) return;
      absl::Status status = fresh.status();
      if (status.ok()) status = SwitchTo(*snapshot, *fresh);
      if (!status.ok()) return OnFatal(status);
      done();
    });
  });
}

// All parts change over within one turn of the strand: nobody sees a mix.
absl::Status EtcdServer::SwitchTo(const raft::Snapshot& snapshot, const NewContent& fresh) {
  const std::vector<membership::Member> former = cluster_->members();
  const std::unique_ptr<mvcc::View> view = fresh.backend->NewView();
  ETCDD_RETURN_IF_ERROR(lessor_->Restore(*view));  // before the store, which attaches keys to it
  ShowAlarms(false);
  ETCDD_RETURN_IF_ERROR(alarms_.Restore(*view));
  ShowAlarms(true);
  const std::string version = cluster_->version();
  ETCDD_RETURN_IF_ERROR(cluster_->Restore(*view));
  metrics_->SetClusterVersion(version, cluster_->version());
  store_->Restore(fresh.content);
  // The former index and backend are destroyed where that takes nobody's time.
  parts_.background->Post([content = fresh.content, old = backend_] {});
  backend_ = fresh.backend;
  quota_->SetBackend(*backend_);
  batch_ = backend_->NewBatch();
  applied_ = snapshot.index;
  applied_term_ = snapshot.term;
  conf_state_ = snapshot.conf_state;
  watch_hub_->OnRestore(store_->revision());
  auto waiting = compactions_->TakeWaiting();
  MakeCompactionRunner();
  for (auto& [revision, finished] : waiting) {
    compactions_->WhenFinished(revision, std::move(finished));
  }
  compactions_->Kick();
  snapshots_->OnInstalled(snapshot.index);
  ConnectMembers(former);
  installing_ = false;
  ETCDD_LOG(kInfo, "applied snapshot",
            {{"current-snapshot-index", snapshot.index},
             {"current-applied-index", applied_},
             {"current-rev", store_->revision()}});
  if (cluster_->IsRemoved(identity_.member_id)) OnSelfRemoved();
  parts_.background->Post([purge = parts_.purge_files] { purge(); });
  reader_->OnApplied(applied_);
  return absl::OkStatus();
}

}  // namespace etcdd::server
