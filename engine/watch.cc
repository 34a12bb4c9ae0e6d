#include "engine/watch.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/core.h"
#include "engine/model/views.h"
#include "engine/model/viommu_views.h"
#include "engine/watch_reader.h"

namespace viommu {
namespace {

constexpr WatchKind kAllKinds[] = {
    WatchKind::kMemoryRegion, WatchKind::kIoas,       WatchKind::kDomain,
    WatchKind::kDevice,       WatchKind::kFaultQueue, WatchKind::kViommu,
    WatchKind::kVdevice,      WatchKind::kEventQueue, WatchKind::kHardwareQueue};
// Events that are read at a time, under the lock.
constexpr size_t kPieceEvents = 256;
// Who has read everything looks again after this: changes in quick succession are read together.
constexpr absl::Duration kPause = absl::Milliseconds(2);
// When so many revisions went by without an event a sync mark tells where to resume.
constexpr uint64_t kSilentRevisions = 1024;

std::optional<WatchKind> WatchKindOf(const std::optional<ObjectKind>& kind) {
  if (!kind.has_value()) return WatchKind::kDevice;
  switch (*kind) {
    case ObjectKind::kMemoryRegion:
      return WatchKind::kMemoryRegion;
    case ObjectKind::kIoas:
      return WatchKind::kIoas;
    case ObjectKind::kDomain:
      return WatchKind::kDomain;
    case ObjectKind::kViommu:
      return WatchKind::kViommu;
    case ObjectKind::kVdevice:
      return WatchKind::kVdevice;
    case ObjectKind::kEventQueue:
      return WatchKind::kEventQueue;
    case ObjectKind::kHardwareQueue:
      return WatchKind::kHardwareQueue;
    case ObjectKind::kFaultQueue:
      return WatchKind::kFaultQueue;
    default:
      return std::nullopt;  // Not watched.
  }
}

absl::Status CanNotResume(absl::string_view reason, const std::string& why) {
  return Error(absl::StatusCode::kOutOfRange, reason,
               absl::StrCat("can not resume: ", why, "; start from a snapshot"))
      .Errno("ERANGE")
      .Field(reason == "REVISION_IN_FUTURE" ? "resume.revision" : "resume");
}

absl::Status SlowWatcher() {
  return Error(absl::StatusCode::kResourceExhausted, "SLOW_WATCHER",
               absl::StrCat("more than ", kMaxWatchBacklog,
                            " changes were not read; resume at the last revision that was"))
      .Errno("ENOBUFS")
      .Meta("limit", "max_watch_backlog")
      .Meta("value", absl::StrCat(kMaxWatchBacklog));
}

absl::Status WatchCancelled() {
  return Error(absl::StatusCode::kCancelled, "WATCH_CANCELLED", "the watch was ended")
      .Errno("ECANCELED");
}

}  // namespace

Watch::Reader::Reader(absl::Mutex* mutex, Model* model, CallContext context,
                      const WatchOptions& options, std::string boot_id,
                      std::function<void()> at_end)
    : mutex_(*mutex),
      model_(*model),
      context_(std::move(context)),
      boot_id_(std::move(boot_id)),
      at_end_(std::move(at_end)) {
  for (const WatchKind kind : options.kinds) kinds_ |= 1u << static_cast<unsigned>(kind);
  if (kinds_ != 0) return;
  for (const WatchKind kind : kAllKinds) kinds_ |= 1u << static_cast<unsigned>(kind);
}

absl::Status Watch::Reader::Start(const WatchOptions& options) {
  if (!options.resume.has_value()) {
    passed_ = told_ = model_.revision;
    return absl::OkStatus();
  }
  const uint64_t revision = options.resume->revision;
  if (options.resume->boot_id != boot_id_) {
    return CanNotResume(
        "REVISION_COMPACTED",
        absl::StrCat("revision ", revision, " is one of another boot than ", boot_id_));
  }
  if (revision > model_.revision) {
    return CanNotResume("REVISION_IN_FUTURE", absl::StrCat("revision ", revision, " is above ",
                                                           model_.revision, ", the last one"));
  }
  if (revision < model_.feed.compacted()) {
    return CanNotResume("REVISION_COMPACTED",
                        absl::StrCat("changes after revision ", revision, " up to ",
                                     model_.feed.compacted(), " are forgotten"));
  }
  passed_ = told_ = revision;
  sync_ = revision;
  section_ = std::size(kAllKinds);
  return absl::OkStatus();
}

absl::StatusOr<bool> Watch::Reader::Next(absl::Duration patience, WatchEvent* event) {
  if (cancelled_) return WatchCancelled();
  if (ready_.empty()) {
    const absl::Time deadline = absl::Now() + patience;
    absl::MutexLock lock(&mutex_);
    RETURN_IF_ERROR(Fill(deadline));
  }
  if (ready_.empty()) return false;
  *event = std::move(ready_.front());
  ready_.pop_front();
  return true;
}

void Watch::Reader::Cancel() {
  cancelled_ = true;
  absl::MutexLock lock(&mutex_);
  turn_.Signal();
}

absl::Status Watch::Reader::Fill(absl::Time deadline) {
  if (!Rest(deadline)) return absl::OkStatus();
  do {
    if (cancelled_) return WatchCancelled();
    ReadSnapshot();
    if (section_ == std::size(kAllKinds)) RETURN_IF_ERROR(ReadChanges());
    if (ready_.empty()) continue;
    if (ready_.size() < kPieceEvents) next_look_ = absl::Now() + kPause;
    return absl::OkStatus();
  } while (AwaitChange(deadline));
  return absl::OkStatus();
}

bool Watch::Reader::Rest(absl::Time deadline) {
  while (!cancelled_ && absl::Now() < next_look_) {
    if (deadline < next_look_ && absl::Now() >= deadline) return false;
    turn_.WaitWithDeadline(&mutex_, std::min(deadline, next_look_));
  }
  return true;
}

bool Watch::Reader::AwaitChange(absl::Time deadline) {
  if (section_ != std::size(kAllKinds)) return true;  // The snapshot goes on.
  model_.feed.Await(&turn_, Wants(WatchKind::kIoas));
  const bool late = turn_.WaitWithDeadline(&mutex_, deadline);
  model_.feed.Forget(&turn_);
  return !late;
}

// ---- Snapshot ----

void Watch::Reader::ReadSnapshot() {
  while (section_ < std::size(kAllKinds) && ready_.size() < kPieceEvents) {
    const WatchKind kind = kAllKinds[section_];
    if (Wants(kind)) {
      switch (kind) {
        case WatchKind::kMemoryRegion:
          ReadObjects(ObjectKind::kMemoryRegion);
          break;
        case WatchKind::kIoas:
          ReadObjects(ObjectKind::kIoas);
          break;
        case WatchKind::kDomain:
          ReadObjects(ObjectKind::kDomain);
          break;
        case WatchKind::kDevice:
          ReadDevices();
          break;
        case WatchKind::kViommu:
          ReadObjects(ObjectKind::kViommu);
          break;
        case WatchKind::kVdevice:
          ReadObjects(ObjectKind::kVdevice);
          break;
        case WatchKind::kEventQueue:
          ReadObjects(ObjectKind::kEventQueue);
          break;
        case WatchKind::kHardwareQueue:
          ReadObjects(ObjectKind::kHardwareQueue);
          break;
        case WatchKind::kFaultQueue:
          ReadObjects(ObjectKind::kFaultQueue);
          break;
      }
    }
    if (ready_.size() >= kPieceEvents) return;
    ++section_;
    after_ = {};
    if (section_ == std::size(kAllKinds)) sync_ = model_.revision;
  }
}

void Watch::Reader::ReadObjects(ObjectKind kind) {
  std::optional<std::string> only;
  if (!context_.is_operator) only = context_.principal;
  model_.objects.VisitExisting(kind, only, after_, [&](const Object& object) {
    after_ = {object.owner(), object.id()};
    // What was made since the snapshot began is shown as added.
    if (object.create_revision <= passed_) ShowObject(WatchEvent::Type::kSnapshot, 0, object);
    return ready_.size() < kPieceEvents;
  });
}

void Watch::Reader::ReadDevices() {
  while (next_device_ < model_.devices.size() && ready_.size() < kPieceEvents) {
    const Device& device = model_.devices[next_device_++];
    if (!device.present || device.plug_revision > passed_) continue;
    ShowDevice(WatchEvent::Type::kSnapshot, 0, device);
  }
}

// ---- Changes ----

absl::Status Watch::Reader::ReadChanges() {
  const ChangeFeed& feed = model_.feed;
  if (passed_ < feed.compacted()) return SlowWatcher();
  size_t next = feed.FirstAfter(passed_);
  // Who resumes, or is shown a snapshot, has all that is kept to catch up with.
  if (live_ && feed.changes().size() - next > kMaxWatchBacklog) return SlowWatcher();
  auto mapped =
      Wants(WatchKind::kIoas) ? feed.mappings().upper_bound(passed_) : feed.mappings().end();
  while (ready_.size() < kPieceEvents) {
    const bool is_change = next < feed.changes().size();
    const bool is_mapping = mapped != feed.mappings().end();
    if (!is_change && !is_mapping) {
      CatchUp();
      break;
    }
    if (is_change && (!is_mapping || feed.changes()[next].revision < mapped->first)) {
      const Change& change = feed.changes()[next++];
      Pass(change.revision);
      Show(change);
    } else {
      Pass(mapped->first);
      ShowMappings(mapped->second);
      ++mapped;
    }
  }
  return absl::OkStatus();
}

void Watch::Reader::Pass(uint64_t revision) {
  if (sync_.has_value() && *sync_ < revision) ShowSync(*sync_);
  passed_ = revision;
}

void Watch::Reader::CatchUp() {
  live_ = true;
  passed_ = model_.revision;
  const bool silent = ready_.empty() && passed_ - told_ >= kSilentRevisions;
  if (sync_.has_value() || silent) ShowSync(passed_);
}

void Watch::Reader::Show(const Change& change) {
  const std::optional<WatchKind> kind = WatchKindOf(change.kind);
  if (!kind.has_value() || !Wants(*kind)) return;
  if (change.type == Change::Type::kDeleted) return ShowDeleted(change);
  const bool added = change.type == Change::Type::kAdded;
  const WatchEvent::Type type = added ? WatchEvent::Type::kAdded : WatchEvent::Type::kModified;
  if (kind == WatchKind::kDevice) {
    const Device& device = model_.devices[change.device];
    if (!device.present || device.uid != change.uid) return;
    if (added || device.revision == change.revision) ShowDevice(type, change.revision, device);
    return;
  }
  const Object* const object = model_.objects.FindByUid(change.uid);
  if (object == nullptr || !MaySee(object->owner())) return;
  if (added || object->revision == change.revision) ShowObject(type, change.revision, *object);
}

void Watch::Reader::ShowDeleted(const Change& change) {
  const Change::Gone& gone = *change.gone;
  if (change.kind.has_value() && !MaySee(gone.owner)) return;
  Put({WatchEvent::Type::kDeleted, change.revision,
       DeletedObject{*WatchKindOf(change.kind), gone.id, gone.owner, change.uid, gone.reason}});
}

void Watch::Reader::ShowMappings(Uid uid) {
  const Ioas& ioas = *model_.Get<Ioas>(uid);
  if (!MaySee(ioas.owner())) return;
  Put({WatchEvent::Type::kMappings, ioas.mapping_revision,
       MappingSummary{ioas.id(), ioas.owner(), uid, ioas.mapping_revision, ioas.mapping_count(),
                      ioas.mapped_bytes()}});
}

void Watch::Reader::ShowObject(WatchEvent::Type type, uint64_t revision, const Object& object) {
  WatchEvent event{type, revision, {}};
  switch (object.kind()) {
    case ObjectKind::kMemoryRegion:
      event.body = ViewOf(static_cast<const MemoryRegion&>(object), context_.principal);
      break;
    case ObjectKind::kIoas:
      event.body = ViewOf(model_, static_cast<const Ioas&>(object), context_.principal);
      break;
    case ObjectKind::kDomain:
      event.body = ViewOf(model_, static_cast<const Domain&>(object), context_.principal);
      break;
    case ObjectKind::kViommu:
      event.body = ViewOf(model_, static_cast<const Viommu&>(object), context_.principal);
      break;
    case ObjectKind::kVdevice:
      event.body = ViewOf(model_, static_cast<const Vdevice&>(object), context_.principal);
      break;
    case ObjectKind::kEventQueue:
      event.body = ViewOf(model_, static_cast<const ViommuEventQueue&>(object), context_.principal);
      break;
    case ObjectKind::kHardwareQueue:
      event.body = ViewOf(model_, static_cast<const HardwareQueue&>(object), context_.principal);
      break;
    case ObjectKind::kFaultQueue:
      event.body = ViewOf(model_, static_cast<const FaultQueue&>(object), context_.principal);
      break;
    default:
      return;  // Not watched.
  }
  Put(std::move(event));
}

void Watch::Reader::ShowDevice(WatchEvent::Type type, uint64_t revision, const Device& device) {
  Put({type, revision, ViewOf(model_, device, context_)});
}

void Watch::Reader::ShowSync(uint64_t revision) {
  sync_.reset();
  Put({WatchEvent::Type::kSync, revision, SyncMark{boot_id_}});
}

void Watch::Reader::Put(WatchEvent event) {
  told_ = event.revision;
  ready_.push_back(std::move(event));
}

// ---- The face ----

Watch::Watch(std::unique_ptr<Reader> reader) : reader_(std::move(reader)) {}
Watch::~Watch() = default;
absl::StatusOr<bool> Watch::Next(absl::Duration patience, WatchEvent* event) {
  return reader_->Next(patience, event);
}
void Watch::Cancel() { reader_->Cancel(); }

absl::StatusOr<std::unique_ptr<Watch>> Engine::OpenWatch(const CallContext& context,
                                                         const WatchOptions& options) {
  ASSIGN_OR_RETURN(Account * account, core_->TakeStream(context.principal));
  auto reader = std::make_unique<Watch::Reader>(
      &core_->pipeline.mutex(), &core_->model, context, options, core_->boot_id,
      [core = core_.get(), account] { core->GiveBackStream(*account); });
  {
    absl::MutexLock lock(&core_->pipeline.mutex());
    RETURN_IF_ERROR(reader->Start(options));
  }
  return std::unique_ptr<Watch>(new Watch(std::move(reader)));
}

}  // namespace viommu
