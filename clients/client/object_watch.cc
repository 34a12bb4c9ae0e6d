#include "clients/client/object_watch.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/time/clock.h"
#include "clients/client/call_error.h"
#include "viommu/v1/device.pb.h"

namespace viommu {
namespace {

template <typename Resource>
WatchedIdentity Identity(v1::WatchKind kind, const Resource& resource) {
  return {kind, resource.name(), resource.uid(), resource.owner(), resource.revision()};
}

// Whether another call may go on where this one broke.
bool IsPassing(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:  // The server ended it.
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kCancelled:  // Not by us.
    case absl::StatusCode::kOutOfRange:
      return true;
    case absl::StatusCode::kResourceExhausted: {
      const std::string reason = ReasonOf(status);
      return reason == "SLOW_WATCHER" || reason == "SLOW_READER";
    }
    default:
      return false;
  }
}

absl::Status Cancelled() { return absl::CancelledError("the watch was cancelled"); }

}  // namespace

WatchedIdentity IdentityOf(const v1::WatchedObject& object) {
  switch (object.object_case()) {
    case v1::WatchedObject::kMemoryRegion:
      return Identity(v1::WATCH_KIND_MEMORY_REGION, object.memory_region());
    case v1::WatchedObject::kIoas:
      return Identity(v1::WATCH_KIND_IOAS, object.ioas());
    case v1::WatchedObject::kDomain:
      return Identity(v1::WATCH_KIND_DOMAIN, object.domain());
    case v1::WatchedObject::kDevice: {
      const v1::Device& device = object.device();
      return {v1::WATCH_KIND_DEVICE, device.name(), device.uid(), "", device.revision()};
    }
    case v1::WatchedObject::kViommu:
      return Identity(v1::WATCH_KIND_VIOMMU, object.viommu());
    case v1::WatchedObject::kVdevice:
      return Identity(v1::WATCH_KIND_VDEVICE, object.vdevice());
    case v1::WatchedObject::kEventQueue:
      return Identity(v1::WATCH_KIND_EVENT_QUEUE, object.event_queue());
    case v1::WatchedObject::kHardwareQueue:
      return Identity(v1::WATCH_KIND_HARDWARE_QUEUE, object.hardware_queue());
    case v1::WatchedObject::kFaultQueue:
      return Identity(v1::WATCH_KIND_FAULT_QUEUE, object.fault_queue());
    case v1::WatchedObject::OBJECT_NOT_SET:
      break;
  }
  return {};
}

ObjectWatch::ObjectWatch(Client* client, ObjectWatchOptions options)
    : client_(*client), options_(std::move(options)) {}

ObjectWatch::~ObjectWatch() {
  Cancel();
  if (reader_ != nullptr) reader_->Finish();
}

void ObjectWatch::Cancel() {
  const absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  if (context_ != nullptr) context_->TryCancel();
}

absl::StatusOr<v1::WatchResponse> ObjectWatch::Next() {
  while (ready_.empty()) {
    if (reader_ == nullptr) {
      absl::Status begun = Begin();
      if (!begun.ok()) return begun;
    }
    v1::WatchResponse message;
    if (reader_->Read(&message)) {
      broken_since_ = absl::InfiniteFuture();
      pause_ = absl::ZeroDuration();
      Take(std::move(message));
      continue;
    }
    absl::Status broken = Break();
    if (!broken.ok()) return broken;
  }
  v1::WatchResponse next = std::move(ready_.front());
  ready_.pop_front();
  return next;
}

absl::Status ObjectWatch::Begin() {
  v1::WatchRequest request;
  for (const v1::WatchKind kind : options_.kinds) request.add_kinds(kind);
  if (!fresh_) {
    request.mutable_resume()->set_boot_id(boot_id_);
    request.mutable_resume()->set_revision(revision_);
  }
  snapshot_.clear();
  const absl::MutexLock lock(&mutex_);
  if (cancelled_) return Cancelled();
  context_ = std::make_unique<grpc::ClientContext>();
  reader_ = client_.Of<v1::WatchService>().Watch(context_.get(), request);
  return absl::OkStatus();
}

absl::Status ObjectWatch::Break() {
  absl::Status status = ToStatus(reader_->Finish());
  reader_ = nullptr;
  {
    const absl::MutexLock lock(&mutex_);
    if (cancelled_) return Cancelled();
  }
  if (!IsPassing(status)) return status;
  broken_since_ = std::min(broken_since_, absl::Now());
  if (absl::Now() - broken_since_ >= options_.patience) {
    return status.ok() ? absl::UnavailableError("the server ended the watch") : status;
  }
  // What was told before the first sync is no point to resume at.
  const bool forgotten = status.code() == absl::StatusCode::kOutOfRange || boot_id_.empty();
  ++(forgotten ? restarted_ : resumed_);
  fresh_ = fresh_ || forgotten;
  // A compacted revision needs no wait the first time.
  if (status.code() != absl::StatusCode::kOutOfRange || pause_ > absl::ZeroDuration()) Pause();
  return absl::OkStatus();
}

void ObjectWatch::Pause() {
  pause_ = std::clamp(2 * pause_, client_.options().first_backoff, client_.options().max_backoff);
  const absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(&cancelled_), pause_);
}

void ObjectWatch::Take(v1::WatchResponse message) {
  if (message.revision() != 0) revision_ = message.revision();
  switch (message.event_case()) {
    case v1::WatchResponse::kSnapshot:
      snapshot_.push_back(std::move(*message.mutable_snapshot()));
      break;
    case v1::WatchResponse::kSync:
      TakeSync(std::move(message));
      break;
    case v1::WatchResponse::kChange:
      TakeChange(message);
      break;
    case v1::WatchResponse::kMappings:
      TakeMappings(std::move(message));
      break;
    case v1::WatchResponse::EVENT_NOT_SET:
      break;  // Of a newer server.
  }
}

void ObjectWatch::TakeSync(v1::WatchResponse message) {
  if (fresh_) Compare(message.sync().boot_id());
  fresh_ = false;
  boot_id_ = message.sync().boot_id();
  ready_.push_back(std::move(message));
}

void ObjectWatch::Compare(const std::string& boot_id) {
  std::set<std::string> there;
  // Another boot counts its uids anew.
  if (boot_id == boot_id_) {
    for (const v1::WatchedObject& object : snapshot_) there.insert(IdentityOf(object).uid);
  }
  std::vector<v1::DeletedObject> gone;
  for (const auto& [uid, known] : known_) {
    if (there.count(uid) == 0) gone.push_back(known.obituary);
  }
  for (const v1::DeletedObject& object : gone) TellDeleted(object, revision_);
  for (const v1::WatchedObject& object : snapshot_) {
    if (!boot_id_.empty()) {
      Tell(object, revision_);
    } else if (Learn(object)) {
      v1::WatchResponse message;
      *message.mutable_snapshot() = object;
      ready_.push_back(std::move(message));
    }
  }
  snapshot_.clear();
}

void ObjectWatch::TakeChange(const v1::WatchResponse& message) {
  const v1::WatchChange& change = message.change();
  if (!fresh_) {
    if (change.has_deleted()) return TellDeleted(change.deleted(), message.revision());
    return Tell(change.object(), message.revision());
  }
  // What changes before a snapshot is complete belongs to it.
  const std::string uid =
      change.has_deleted() ? change.deleted().uid() : IdentityOf(change.object()).uid;
  const auto is_it = [&](const v1::WatchedObject& object) { return IdentityOf(object).uid == uid; };
  snapshot_.erase(std::remove_if(snapshot_.begin(), snapshot_.end(), is_it), snapshot_.end());
  if (change.has_object()) snapshot_.push_back(change.object());
}

void ObjectWatch::TakeMappings(v1::WatchResponse message) {
  const v1::MappingSummary& mappings = message.mappings();
  if (fresh_) {
    for (v1::WatchedObject& object : snapshot_) {
      if (object.ioas().uid() != mappings.uid()) continue;
      object.mutable_ioas()->set_mapping_revision(mappings.mapping_revision());
      object.mutable_ioas()->set_mapping_count(mappings.mapping_count());
      object.mutable_ioas()->set_mapped_bytes(mappings.mapped_bytes());
    }
    return;
  }
  const auto known = known_.find(mappings.uid());
  if (known == known_.end()) return;
  if (known->second.mapping_revision >= mappings.mapping_revision()) return;
  known->second.mapping_revision = mappings.mapping_revision();
  ready_.push_back(std::move(message));
}

void ObjectWatch::Tell(const v1::WatchedObject& object, uint64_t revision) {
  const bool is_new = known_.count(IdentityOf(object).uid) == 0;
  if (!Learn(object)) return;
  v1::WatchResponse message;
  message.set_revision(revision);
  message.mutable_change()->set_type(is_new ? v1::WATCH_CHANGE_TYPE_ADDED
                                            : v1::WATCH_CHANGE_TYPE_MODIFIED);
  *message.mutable_change()->mutable_object() = object;
  ready_.push_back(std::move(message));
}

void ObjectWatch::TellDeleted(const v1::DeletedObject& object, uint64_t revision) {
  if (known_.erase(object.uid()) == 0) return;
  v1::WatchResponse message;
  message.set_revision(revision);
  message.mutable_change()->set_type(v1::WATCH_CHANGE_TYPE_DELETED);
  *message.mutable_change()->mutable_deleted() = object;
  ready_.push_back(std::move(message));
}

bool ObjectWatch::Learn(const v1::WatchedObject& object) {
  const WatchedIdentity identity = IdentityOf(object);
  const uint64_t mapping_revision = object.ioas().mapping_revision();
  const auto [it, is_new] = known_.try_emplace(identity.uid);
  Known& known = it->second;
  if (!is_new && identity.revision <= known.revision &&
      mapping_revision <= known.mapping_revision) {
    return false;
  }
  known.obituary.set_kind(identity.kind);
  known.obituary.set_name(identity.name);
  known.obituary.set_uid(identity.uid);
  known.obituary.set_owner(identity.owner);
  known.revision = identity.revision;
  known.mapping_revision = mapping_revision;
  return true;
}

}  // namespace viommu
