// engine/model/hardware_queue.h -- A guest's command queue that hardware reads by itself (iommufd:
// HW_QUEUE).
#ifndef VIOMMU_ENGINE_MODEL_HARDWARE_QUEUE_H_
#define VIOMMU_ENGINE_MODEL_HARDWARE_QUEUE_H_

#include <string>
#include <utility>

#include "engine/backend/backend.h"
#include "engine/model/object.h"
#include "engine/types.h"

namespace viommu {

// Refers to its Viommu and to the queue with the index before. Pins the pages below it in the Ioas
// of the nest parent (Ioas::pins).
class HardwareQueue : public Object {
 public:
  static constexpr ObjectKind kKind = ObjectKind::kHardwareQueue;

  HardwareQueue(std::string owner, std::string id, Uid uid, Uid viommu,
                const HardwareQueueRequest& request)
      : Object(kKind, std::move(owner), std::move(id), uid),
        viommu(viommu),
        type(request.type),
        spec(request.spec) {}

  const Uid viommu;
  const HardwareQueueType type;
  const HardwareQueueSpec spec;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_HARDWARE_QUEUE_H_
