// engine/operations/invalidate_operation.h -- Drops cached translations of a guest's first stage.
// Errors: those of Engine::Invalidate.
//
// The lane is the domain's own, so that it is neither deleted nor switched meanwhile; mappings of
// the Ioas below go on.
#ifndef VIOMMU_ENGINE_OPERATIONS_INVALIDATE_OPERATION_H_
#define VIOMMU_ENGINE_OPERATIONS_INVALIDATE_OPERATION_H_

#include <vector>

#include "engine/operations/invalidation.h"

namespace viommu {

class InvalidateOperation : public Invalidation<VtdStage1Invalidation> {
 public:
  using Invalidation::Invalidation;

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  absl::Status Apply(Backend& backend) override;

 private:
  absl::StatusOr<const Domain*> FindNested(const Model& model) const;

  Uid domain_ = 0;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_INVALIDATE_OPERATION_H_
