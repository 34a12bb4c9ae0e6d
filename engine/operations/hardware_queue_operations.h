// engine/operations/hardware_queue_operations.h -- Giving a Viommu's command queues to hardware,
// and taking them back. Errors: those of Engine::CreateHardwareQueue and DeleteHardwareQueue.
#ifndef VIOMMU_ENGINE_OPERATIONS_HARDWARE_QUEUE_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_HARDWARE_QUEUE_OPERATIONS_H_

#include <string>
#include <utility>
#include <vector>

#include "engine/operations/delete_operation.h"
#include "engine/pipeline/operation.h"

namespace viommu {

class CreateHardwareQueueOperation : public AnsweringOperation<HardwareQueueView> {
 public:
  CreateHardwareQueueOperation(CallContext context, ObjectRef viommu, std::string id,
                               const HardwareQueueRequest& request)
      : AnsweringOperation(std::move(context)),
        viommu_ref_(std::move(viommu)),
        id_(std::move(id)),
        request_(request) {}

  // That of the Ioas, too: what is pinned is not unmapped meanwhile.
  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  // In the order of the kernel (iommufd-semantics.md section 12.4).
  absl::StatusOr<IovaRange> CheckedRange() const;
  absl::Status CheckAvailable(const Model& model, const Viommu& viommu) const;
  absl::Status CheckIndex(const Model& model) const;
  absl::Status CheckLength(const Model& model) const;

  const ObjectRef viommu_ref_;
  const std::string id_;
  const HardwareQueueRequest request_;
  Viommu* viommu_ = nullptr;  // Stays, as its lane is held.
  HardwareQueue* queue_ = nullptr;
};

class DeleteHardwareQueueOperation : public DeleteOperation<HardwareQueue> {
 public:
  using DeleteOperation::DeleteOperation;
  absl::Status Apply(Backend& backend) override {
    return backend.viommus()->DestroyHardwareQueue(object().uid());
  }

 private:
  std::vector<Uid> OtherLanes(const Model& model, const HardwareQueue& queue) override;
  void DropWhatItHolds(Model& model) override;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_HARDWARE_QUEUE_OPERATIONS_H_
