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
#include "engine/model/ledger.h"
#include "engine/types.h"

namespace viommu {

// Which requests of a device are meant: those with this PASID, or (none) those without, the RID's.
using PasidOrRid = std::optional<uint32_t>;

// (Device, RID or PASID) -> domain, as recorded. Several members of a group share their group's
// target.
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
  bool present = true;     // Else it is unplugged: no verb finds it.
  bool held_back = false;  // Blocked for the hardware, whatever its group is on (Backend::Block).
  absl::btree_map<PasidOrRid, Attachment> attachments;  // The RID's comes first.
  Uid vdevice = 0;  // What a guest calls it, of one Viommu; 0: no guest does.
  DeviceHealth health = DeviceHealth::kHealthy;
  HealthReason health_cause = HealthReason::kNone;
  std::string health_reason;

  // Null: not attached there.
  const Attachment* AttachmentAt(PasidOrRid pasid) const {
    const auto it = attachments.find(pasid);
    return it == attachments.end() ? nullptr : &it->second;
  }

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

// A PASID that is taken.
struct PasidEntry {
  enum class Kind {
    kReserved,
    kAllocated,
    kImplicit,  // By being attached, and for as long.
  };
  Kind kind = Kind::kReserved;
  std::string owner;  // Principal; it alone may attach the PASID.
  std::string label;
  Account* account = nullptr;  // Its owner's, which is charged.
  uint64_t revision = 0;
};

// Who has a group and what it is on.
struct GroupState {
  std::string claimed_by;  // Empty: the host.
  // Where a member is attached; what is not here is BLOCKED while claimed.
  absl::btree_map<PasidOrRid, DomainTarget> targets;
  DefaultDomainType default_domain = DefaultDomainType::kDma;
  std::string default_domain_fallback;
};

// Invariants: either the host has the group (claimed_by empty, no member attached, no PASID taken)
// or a principal has. `targets` has an entry where, and only where, a member has an attachment, and
// it is the target of that. Every attached PASID is in `pasids`.
struct Group : GroupState {
  Uid uid = 0;
  std::vector<DeviceIndex> members;
  HostMappings host;
  absl::btree_map<uint32_t, PasidEntry> pasids;  // The members share their PASID entries.
  std::optional<DeviceIndex> resetting;          // A reset of this member is under way.

  bool claimed() const { return !claimed_by.empty(); }

  // Null: no member is attached there.
  const DomainTarget* AttachedAt(PasidOrRid pasid) const {
    const auto it = targets.find(pasid);
    return it == targets.end() ? nullptr : &it->second;
  }
  // What the hardware does there while claimed.
  DomainTarget TargetAt(PasidOrRid pasid) const {
    const DomainTarget* const attached = AttachedAt(pasid);
    return attached == nullptr ? DomainTarget{} : *attached;
  }
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_DEVICE_H_
