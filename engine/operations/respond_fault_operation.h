// engine/operations/respond_fault_operation.h -- Answers groups of page faults.
// Errors: those of Engine::RespondFault.
//
// Nothing is journalled: faults do not outlive the devices' waiting for them. The lane is the
// queue's, so that answers of several callers follow each other. A detachment does not wait for it:
// a group that is being answered when its attachment goes has its answer.
#ifndef VIOMMU_ENGINE_OPERATIONS_RESPOND_FAULT_OPERATION_H_
#define VIOMMU_ENGINE_OPERATIONS_RESPOND_FAULT_OPERATION_H_

#include <utility>
#include <vector>

#include "engine/pipeline/operation.h"

namespace viommu {

// An answer that hardware does not take is no failure of those before it.
struct RespondAnswer {
  uint64_t answered = 0;  // Of the batch: the first ones.
  absl::Status outcome;   // Why the next one was not.
};

class RespondFaultOperation : public AnsweringOperation<RespondAnswer> {
 public:
  // `only`: the uid that the name must still mean; 0: whichever has the name.
  RespondFaultOperation(CallContext context, ObjectRef queue, std::vector<FaultResponse> responses,
                        Uid only)
      : AnsweringOperation(std::move(context)),
        ref_(std::move(queue)),
        responses_(std::move(responses)),
        only_(only) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  bool revokes() const override { return true; }  // It frees what a device holds up.
  bool journalled() const override { return false; }
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override { return {}; }
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  absl::StatusOr<FaultQueue*> FindQueue(const Model& model) const;
  absl::Status Check(const FaultQueue& queue) const;

  const ObjectRef ref_;
  const std::vector<FaultResponse> responses_;
  const Uid only_;
  FaultQueue* queue_ = nullptr;  // Stays, as its lane is held.
  std::vector<PageGroupResponse> planned_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_RESPOND_FAULT_OPERATION_H_
