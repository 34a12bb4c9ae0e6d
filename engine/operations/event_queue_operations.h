// engine/operations/event_queue_operations.h -- Creating and destroying a Viommu's event queues.
// Errors: those of Engine::CreateEventQueue and DeleteEventQueue.
//
// The queue is the engine's own: the backend reports what happens whether or not there is one.
#ifndef VIOMMU_ENGINE_OPERATIONS_EVENT_QUEUE_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_EVENT_QUEUE_OPERATIONS_H_

#include <string>
#include <utility>
#include <vector>

#include "engine/operations/delete_operation.h"
#include "engine/pipeline/operation.h"

namespace viommu {

class CreateEventQueueOperation : public AnsweringOperation<EventQueueView> {
 public:
  CreateEventQueueOperation(CallContext context, ObjectRef viommu, std::string id,
                            ViommuEventType type, uint32_t depth)
      : AnsweringOperation(std::move(context)),
        viommu_ref_(std::move(viommu)),
        id_(std::move(id)),
        type_(type),
        depth_(depth) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend&) override { return absl::OkStatus(); }
  void Commit(Model& model) override;

 private:
  absl::Status CheckDepth() const;
  absl::Status CheckType(const Model& model) const;

  const ObjectRef viommu_ref_;
  const std::string id_;
  const ViommuEventType type_;
  const uint32_t depth_;
  Viommu* viommu_ = nullptr;  // Stays, as its lane is held.
  ViommuEventQueue* queue_ = nullptr;
};

class DeleteEventQueueOperation : public DeleteOperation<ViommuEventQueue> {
 public:
  using DeleteOperation::DeleteOperation;
  absl::Status Apply(Backend&) override { return absl::OkStatus(); }

 private:
  std::vector<Uid> OtherLanes(const Model&, const ViommuEventQueue& queue) override {
    return {queue.viommu};
  }
  void DropWhatItHolds(Model& model) override;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_EVENT_QUEUE_OPERATIONS_H_
