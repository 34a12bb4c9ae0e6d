// engine/operations/invalidate_viommu_operation.h -- Carries commands of a guest to its Viommu out.
// Errors: those of Engine::InvalidateViommu.
//
// The model does not change and nothing is journalled, as with InvalidateOperation. The lane is the
// Viommu's: its Vdevices, whose ids the commands have, stay as they are meanwhile.
#ifndef VIOMMU_ENGINE_OPERATIONS_INVALIDATE_VIOMMU_OPERATION_H_
#define VIOMMU_ENGINE_OPERATIONS_INVALIDATE_VIOMMU_OPERATION_H_

#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "engine/pipeline/operation.h"

namespace viommu {

class InvalidateViommuOperation : public AnsweringOperation<InvalidateAnswer> {
 public:
  // `batch` outlives the operation. `only`: the uid that the name must still mean; 0: whichever has
  // the name.
  InvalidateViommuOperation(CallContext context, ObjectRef viommu, const InvalidationBatch* batch,
                            Uid only)
      : AnsweringOperation(std::move(context)),
        ref_(std::move(viommu)),
        batch_(*batch),
        only_(only) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  bool revokes() const override { return true; }
  bool journalled() const override { return false; }
  absl::Status Plan(Model& model) override;
  bool nothing_to_do() const override { return commands_.empty(); }
  void Unplan(Model&) override {}
  LogicalOperation Logical() const override { return {}; }
  absl::Status Apply(Backend& backend) override;
  void Commit(Model&) override {}

 private:
  absl::StatusOr<const Viommu*> FindViommu(const Model& model) const;

  const ObjectRef ref_;
  const InvalidationBatch& batch_;
  const Uid only_;
  Uid viommu_ = 0;
  absl::Span<const ArmSmmuV3Invalidation> commands_;  // Those before the first that is wrong.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_INVALIDATE_VIOMMU_OPERATION_H_
