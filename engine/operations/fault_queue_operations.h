// engine/operations/fault_queue_operations.h -- Creating and destroying fault queues.
// Errors: those of Engine::CreateFaultQueue and DeleteFaultQueue.
//
// The backend is not asked: a queue is the engine's own, and hardware knows nothing of it.
#ifndef VIOMMU_ENGINE_OPERATIONS_FAULT_QUEUE_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_FAULT_QUEUE_OPERATIONS_H_

#include <string>
#include <utility>
#include <vector>

#include "engine/operations/delete_operation.h"
#include "engine/pipeline/operation.h"

namespace viommu {

class CreateFaultQueueOperation : public AnsweringOperation<FaultQueueView> {
 public:
  // A depth of 0 is kDefaultFaultQueueDepth.
  CreateFaultQueueOperation(CallContext context, std::string id, uint32_t depth)
      : AnsweringOperation(std::move(context)), id_(std::move(id)), depth_(depth) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model&) override { return std::vector<Uid>(); }
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend&) override { return absl::OkStatus(); }
  void Commit(Model& model) override;

 private:
  const std::string id_;
  const uint32_t depth_;
  FaultQueue* queue_ = nullptr;
};

class DeleteFaultQueueOperation : public DeleteOperation<FaultQueue> {
 public:
  using DeleteOperation::DeleteOperation;
  // A stream is a reference, as an open file is (iommufd-semantics.md section 11, DESTROY).
  absl::Status Plan(Model& model) override;
  absl::Status Apply(Backend&) override { return absl::OkStatus(); }
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_FAULT_QUEUE_OPERATIONS_H_
