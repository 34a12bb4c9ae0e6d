// engine/operations/move_claim_operation.h -- A claim goes from one owner to another.
//
// Nothing of the group is attached, so all that it sends is blocked before, meanwhile and after:
// the hardware is not touched, and the host's default domain not visited. Errors: those of
// Engine::ClaimDevice.
#ifndef VIOMMU_ENGINE_OPERATIONS_MOVE_CLAIM_OPERATION_H_
#define VIOMMU_ENGINE_OPERATIONS_MOVE_CLAIM_OPERATION_H_

#include <string>
#include <utility>
#include <vector>

#include "engine/operations/claim_operations.h"
#include "engine/operations/vdevices_leaving.h"

namespace viommu {

class MoveClaimOperation : public GroupChange {
 public:
  // `move` has both owners.
  MoveClaimOperation(CallContext context, std::string device, std::string etag, ClaimOptions move)
      : GroupChange(std::move(context), std::move(device)),
        etag_(std::move(etag)),
        move_(std::move(move)) {}

  // Those of the Viommus, too, in which members of the group have Vdevices.
  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  bool nothing_to_do() const override { return held_; }
  LogicalOperation Logical() const override {
    return record::MoveClaim{device_id(), move_.owner, vdevices_.Logical()};
  }
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  absl::Status CheckMovable(const Model& model, const Device& device) const;
  void Change(GroupState& group) const override { group.claimed_by = move_.owner; }

  const std::string etag_;
  const ClaimOptions move_;
  bool held_ = false;
  VdevicesLeaving vdevices_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_MOVE_CLAIM_OPERATION_H_
