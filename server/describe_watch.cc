#include "server/describe_watch.h"

#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "server/describe.h"
#include "server/describe_viommu.h"
#include "server/names.h"

namespace viommu {
namespace {

v1::WatchKind ToProto(WatchKind kind) {
  switch (kind) {
    case WatchKind::kMemoryRegion:
      return v1::WATCH_KIND_MEMORY_REGION;
    case WatchKind::kIoas:
      return v1::WATCH_KIND_IOAS;
    case WatchKind::kDomain:
      return v1::WATCH_KIND_DOMAIN;
    case WatchKind::kDevice:
      return v1::WATCH_KIND_DEVICE;
    case WatchKind::kViommu:
      return v1::WATCH_KIND_VIOMMU;
    case WatchKind::kVdevice:
      return v1::WATCH_KIND_VDEVICE;
    case WatchKind::kEventQueue:
      return v1::WATCH_KIND_EVENT_QUEUE;
    case WatchKind::kHardwareQueue:
      return v1::WATCH_KIND_HARDWARE_QUEUE;
    case WatchKind::kFaultQueue:
      return v1::WATCH_KIND_FAULT_QUEUE;
  }
  return v1::WATCH_KIND_UNSPECIFIED;
}

NameKind NameKindOf(WatchKind kind) {
  switch (kind) {
    case WatchKind::kMemoryRegion:
      return NameKind::kMemoryRegion;
    case WatchKind::kIoas:
      return NameKind::kIoas;
    case WatchKind::kDomain:
      return NameKind::kDomain;
    case WatchKind::kViommu:
      return NameKind::kViommu;
    case WatchKind::kVdevice:
      return NameKind::kVdevice;
    case WatchKind::kEventQueue:
      return NameKind::kEventQueue;
    case WatchKind::kHardwareQueue:
      return NameKind::kHardwareQueue;
    case WatchKind::kFaultQueue:
      return NameKind::kFaultQueue;
    case WatchKind::kDevice:
      break;
  }
  return NameKind::kDevice;
}

std::string NameOf(WatchKind kind, const std::string& id, const std::string& owner,
                   const CallContext& caller) {
  if (kind == WatchKind::kDevice) return HostName(NameKind::kDevice, id);
  ObjectView object;
  object.id = id;
  object.owner = owner;
  return FormatName(NameKindOf(kind), object, caller);
}

// Writes the body of one event.
class Body {
 public:
  Body(WatchEvent::Type type, const CallContext& caller, v1::WatchResponse* out)
      : type_(type), caller_(caller), out_(*out) {}

  void operator()(const SyncMark& mark) const { out_.mutable_sync()->set_boot_id(mark.boot_id); }
  void operator()(const MemoryRegionView& view) const {
    *Object()->mutable_memory_region() = Describe(view, caller_);
  }
  void operator()(const IoasView& view) const {
    *Object()->mutable_ioas() = Describe(view, caller_);
  }
  void operator()(const DomainView& view) const {
    *Object()->mutable_domain() = Describe(view, caller_);
  }
  void operator()(const ViommuView& view) const {
    *Object()->mutable_viommu() = Describe(view, caller_);
  }
  void operator()(const VdeviceView& view) const {
    *Object()->mutable_vdevice() = Describe(view, caller_);
  }
  void operator()(const EventQueueView& view) const {
    *Object()->mutable_event_queue() = Describe(view, caller_);
  }
  void operator()(const HardwareQueueView& view) const {
    *Object()->mutable_hardware_queue() = Describe(view, caller_);
  }
  void operator()(const FaultQueueView& view) const {
    *Object()->mutable_fault_queue() = Describe(view, caller_);
  }
  void operator()(const DeviceView& view) const { *Object()->mutable_device() = Describe(view); }
  void operator()(const DeletedObject& gone) const {
    v1::WatchChange& change = *out_.mutable_change();
    change.set_type(v1::WATCH_CHANGE_TYPE_DELETED);
    v1::DeletedObject& deleted = *change.mutable_deleted();
    deleted.set_kind(ToProto(gone.kind));
    deleted.set_name(NameOf(gone.kind, gone.id, gone.owner, caller_));
    deleted.set_uid(absl::StrCat(gone.uid));
    deleted.set_owner(gone.owner);
    deleted.set_reason(gone.reason);
  }
  void operator()(const MappingSummary& summary) const {
    v1::MappingSummary& mappings = *out_.mutable_mappings();
    mappings.set_name(NameOf(WatchKind::kIoas, summary.id, summary.owner, caller_));
    mappings.set_uid(absl::StrCat(summary.uid));
    mappings.set_mapping_revision(summary.mapping_revision);
    mappings.set_mapping_count(summary.mapping_count);
    mappings.set_mapped_bytes(summary.mapped_bytes);
  }

 private:
  v1::WatchedObject* Object() const {
    if (type_ == WatchEvent::Type::kSnapshot) return out_.mutable_snapshot();
    v1::WatchChange& change = *out_.mutable_change();
    change.set_type(type_ == WatchEvent::Type::kAdded ? v1::WATCH_CHANGE_TYPE_ADDED
                                                      : v1::WATCH_CHANGE_TYPE_MODIFIED);
    return change.mutable_object();
  }

  const WatchEvent::Type type_;
  const CallContext& caller_;
  v1::WatchResponse& out_;
};

}  // namespace

v1::WatchResponse Describe(const WatchEvent& event, const CallContext& caller) {
  v1::WatchResponse out;
  out.set_revision(event.revision);
  std::visit(Body(event.type, caller, &out), event.body);
  return out;
}

}  // namespace viommu
