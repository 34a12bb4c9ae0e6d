// engine/model/viommu_event_queue.h -- A Viommu's queue for one type of events (iommufd: vEVENTQ).
#ifndef VIOMMU_ENGINE_MODEL_VIOMMU_EVENT_QUEUE_H_
#define VIOMMU_ENGINE_MODEL_VIOMMU_EVENT_QUEUE_H_

#include <string>
#include <utility>

#include "engine/backend/backend.h"
#include "engine/model/event_queue.h"
#include "engine/model/object.h"
#include "engine/types.h"

namespace viommu {

// Refers to its Viommu. Its owner is charged for its depth, for that is what it may come to hold.
class ViommuEventQueue : public Object {
 public:
  static constexpr ObjectKind kKind = ObjectKind::kEventQueue;

  ViommuEventQueue(std::string owner, std::string id, Uid uid, Uid viommu, ViommuEventType type,
                   uint32_t depth)
      : Object(kKind, std::move(owner), std::move(id), uid),
        viommu(viommu),
        type(type),
        events(depth) {}

  Usage Holds() const override { return Usage(Resource::kQueuedEvents, events.depth()); }

  const Uid viommu;
  const ViommuEventType type;
  EventQueue events;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_VIOMMU_EVENT_QUEUE_H_
