#include "engine/model/object.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace viommu {

absl::string_view Collection(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::kMemoryRegion:
      return "memoryRegions";
    case ObjectKind::kIoas:
      return "ioas";
    case ObjectKind::kDomain:
      return "domains";
    case ObjectKind::kViommu:
    case ObjectKind::kVdevice:
    case ObjectKind::kEventQueue:
    case ObjectKind::kHardwareQueue:
      return "viommus";
    case ObjectKind::kFaultQueue:
      return "faultQueues";
  }
  return "";
}

absl::string_view SubCollection(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::kVdevice:
      return "vdevices";
    case ObjectKind::kEventQueue:
      return "eventQueues";
    case ObjectKind::kHardwareQueue:
      return "hardwareQueues";
    default:
      return "";
  }
}

std::string ChildPrefix(absl::string_view viommu, ObjectKind kind) {
  return absl::StrCat(viommu, "/", SubCollection(kind), "/");
}

absl::string_view ReasonPrefix(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::kMemoryRegion:
      return "MEMORY_REGION";
    case ObjectKind::kIoas:
      return "IOAS";
    case ObjectKind::kDomain:
      return "DOMAIN";
    case ObjectKind::kViommu:
      return "VIOMMU";
    case ObjectKind::kVdevice:
      return "VDEVICE";
    case ObjectKind::kEventQueue:
      return "EVENT_QUEUE";
    case ObjectKind::kHardwareQueue:
      return "HARDWARE_QUEUE";
    case ObjectKind::kFaultQueue:
      return "FAULT_QUEUE";
  }
  return "";
}

std::string Object::NameFor(absl::string_view principal) const {
  const std::string name = absl::StrCat(Collection(kind_), "/", id_);
  return owner_ == principal ? name : absl::StrCat("owners/", owner_, "/", name);
}

std::string Object::Etag() const { return absl::StrFormat("%x-%x", uid_, generation); }

void Object::DropReferences(Uid holder, uint64_t count) {
  const auto it = referrers_.find(holder);
  if (it == referrers_.end()) return;
  it->second -= count < it->second ? count : it->second;
  if (it->second == 0) referrers_.erase(it);
}

}  // namespace viommu
