// engine/operations/unmap_operation.h -- Unmap, as the mode of the Ioas has it.
// Errors: those of Engine::Unmap.
#ifndef VIOMMU_ENGINE_OPERATIONS_UNMAP_OPERATION_H_
#define VIOMMU_ENGINE_OPERATIONS_UNMAP_OPERATION_H_

#include <utility>
#include <vector>

#include "engine/pipeline/operation.h"

namespace viommu {

class UnmapOperation : public AnsweringOperation<UnmapAnswer> {
 public:
  // `only`: the uid that the name must still mean; 0: whichever has the name.
  UnmapOperation(CallContext context, ObjectRef ioas, UnmapBatch batch, Uid only = 0)
      : AnsweringOperation(std::move(context)),
        ref_(std::move(ioas)),
        batch_(std::move(batch)),
        only_(only) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  bool stackable() const override { return true; }
  bool revokes() const override { return true; }
  absl::Status Plan(Model& model) override;
  bool nothing_to_do() const override { return cut_.removed.empty(); }
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  absl::Status CheckBatch() const;
  absl::Status PlanEntries();
  absl::Status PlanRange(const IovaRange& range);
  // The remnants of a cut hold the ledger and the regions like other areas, from the plan on.
  void ChargeRemnants(Model& model);
  std::vector<IovaRange> RangesInForce() const;

  const ObjectRef ref_;
  const UnmapBatch batch_;
  const Uid only_;
  Ioas* ioas_ = nullptr;
  Ioas::Cut cut_;  // Nothing is cut but in the mode kVfioType1.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_UNMAP_OPERATION_H_
