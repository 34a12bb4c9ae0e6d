// engine/model/viommu.h -- A guest's slice of one Iommu over a nest parent (iommufd: vIOMMU).
#ifndef VIOMMU_ENGINE_MODEL_VIOMMU_H_
#define VIOMMU_ENGINE_MODEL_VIOMMU_H_

#include <string>
#include <utility>

#include "absl/container/btree_map.h"
#include "engine/backend/backend.h"
#include "engine/model/object.h"
#include "engine/types.h"

namespace viommu {

// Refers to its nest parent; referred to by the NESTED domains on it, its vdevices and its queues.
// Invariant: of one nest parent there is one on an Iommu at most (engine/DESIGN.md).
class Viommu : public Object {
 public:
  static constexpr ObjectKind kKind = ObjectKind::kViommu;

  Viommu(std::string owner, std::string id, Uid uid, ViommuType type, DeviceIndex device,
         std::string iommu, Uid parent)
      : Object(kKind, std::move(owner), std::move(id), uid),
        type(type),
        device(device),
        iommu(std::move(iommu)),
        parent(parent) {}

  Usage Holds() const override { return Usage(Resource::kViommus, 1); }

  const ViommuType type;
  const DeviceIndex device;  // Told which unit; it need not be there any more.
  const std::string iommu;   // IommuSpec::id.
  const Uid parent;
  // What belongs to it, by what tells it apart; all under way or live.
  absl::btree_map<uint64_t, Uid> vdevices;  // By virtual id.
  absl::btree_map<ViommuEventType, Uid> event_queues;
  absl::btree_map<uint32_t, Uid> hardware_queues;  // By index; without gaps.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_VIOMMU_H_
