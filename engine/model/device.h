// engine/model/device.h -- A device, its attachment, and the group that it can not be isolated
// from.
#ifndef VIOMMU_ENGINE_MODEL_DEVICE_H_
#define VIOMMU_ENGINE_MODEL_DEVICE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "engine/backend/backend.h"
#include "engine/base/interval_map.h"
#include "engine/model/area.h"
#include "engine/model/flush_queue.h"
#include "engine/model/iova_space.h"
#include "engine/types.h"

namespace viommu {

// (Device, RID) -> domain, as recorded. Several members of a group share their group's target.
struct Attachment {
  DomainTarget target;
  std::string owner;
  uint64_t revision = 0;
  absl::Time create_time;
};

// Guarded by the pipeline's lock; thread-compatible.
struct Device {
  DeviceIndex index = 0;
  DeviceSpec spec;
  Uid uid = 0;
  size_t group = 0;  // Position in Model::groups.
  uint64_t generation = 1;
  uint64_t plug_revision = 0;  // Since when it is there; 0: from the start.
  uint64_t revision = 0;
  std::optional<Attachment> attachment;
  bool present = true;     // Else it is unplugged: no verb finds it.
  bool held_back = false;  // Blocked for the hardware, whatever its group is on (Backend::Block).
  DeviceHealth health = DeviceHealth::kHealthy;
  HealthReason health_cause = HealthReason::kNone;
  std::string health_reason;

  std::string Etag() const { return absl::StrFormat("%x-%x", uid, generation); }
  std::string Name() const { return "devices/" + spec.id; }
};

// What the host itself maps for a group through its DMA default domain.
struct HostMappings {
  IovaSpace space;
  IntervalMap<Area> areas;  // Also those that wait in the queue, so that nothing takes their place.
  FlushQueue queue;

  size_t live() const { return areas.size() - queue.size(); }
};

// Who has a group and what it is on.
struct GroupState {
  std::string claimed_by;  // Empty: the host.
  DomainTarget target;     // In force while claimed.
  DefaultDomainType default_domain = DefaultDomainType::kDma;
  std::string default_domain_fallback;
};

// Invariant: either the host has the group (claimed_by empty, no member attached) or a principal
// has (every attached member on `target`, which is BLOCKED while none is).
struct Group : GroupState {
  Uid uid = 0;
  std::vector<DeviceIndex> members;
  HostMappings host;

  bool claimed() const { return !claimed_by.empty(); }
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_DEVICE_H_
