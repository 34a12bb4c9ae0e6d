// engine/operations/invalidate_viommu_operation.h -- Carries commands of a guest to its Viommu out.
// Errors: those of Engine::InvalidateViommu.
//
// The lane is the Viommu's: its Vdevices, whose ids the commands have, stay as they are meanwhile.
#ifndef VIOMMU_ENGINE_OPERATIONS_INVALIDATE_VIOMMU_OPERATION_H_
#define VIOMMU_ENGINE_OPERATIONS_INVALIDATE_VIOMMU_OPERATION_H_

#include <vector>

#include "engine/operations/invalidation.h"

namespace viommu {

class InvalidateViommuOperation : public Invalidation<ArmSmmuV3Invalidation> {
 public:
  using Invalidation::Invalidation;

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  absl::Status Apply(Backend& backend) override;

 private:
  absl::StatusOr<const Viommu*> FindViommu(const Model& model) const;

  Uid viommu_ = 0;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_INVALIDATE_VIOMMU_OPERATION_H_
