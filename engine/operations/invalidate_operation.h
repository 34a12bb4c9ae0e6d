// engine/operations/invalidate_operation.h -- Drops cached translations of a guest's first stage.
// Errors: those of Engine::Invalidate.
//
// The model does not change and nothing is journalled: after a restart no cache holds anything. The
// lane is the domain's own, so that it is neither deleted nor switched meanwhile; mappings of the
// Ioas below go on.
#ifndef VIOMMU_ENGINE_OPERATIONS_INVALIDATE_OPERATION_H_
#define VIOMMU_ENGINE_OPERATIONS_INVALIDATE_OPERATION_H_

#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "engine/pipeline/operation.h"

namespace viommu {

class InvalidateOperation : public AnsweringOperation<InvalidateAnswer> {
 public:
  // `batch` outlives the operation: it may have thousands of commands. `only`: the uid that the
  // name must still mean; 0: whichever has the name.
  InvalidateOperation(CallContext context, ObjectRef domain, const InvalidationBatch* batch,
                      Uid only)
      : AnsweringOperation(std::move(context)),
        ref_(std::move(domain)),
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
  absl::StatusOr<const Domain*> FindNested(const Model& model) const;

  const ObjectRef ref_;
  const InvalidationBatch& batch_;
  const Uid only_;
  Uid domain_ = 0;
  absl::Span<const VtdStage1Invalidation> commands_;  // Those before the first that is wrong.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_INVALIDATE_OPERATION_H_
