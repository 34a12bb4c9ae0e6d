// engine/operations/detach_operation.h -- Detach of a device's RID, or of one PASID.
//
// Hardware changes with the last detachment of a group at the RID or PASID. Errors: those of
// Engine::DetachDevice.
#ifndef VIOMMU_ENGINE_OPERATIONS_DETACH_OPERATION_H_
#define VIOMMU_ENGINE_OPERATIONS_DETACH_OPERATION_H_

#include <string>
#include <vector>

#include "engine/operations/leaving.h"
#include "engine/pipeline/operation.h"

namespace viommu {

class DetachOperation : public AnsweringOperation<DetachAnswer> {
 public:
  // `owner`: who must have it, as CheckHeldFor.
  DetachOperation(CallContext context, std::string device, PasidOrRid pasid, std::string owner)
      : AnsweringOperation(std::move(context)),
        device_id_(std::move(device)),
        pasid_(pasid),
        owner_(std::move(owner)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  bool revokes() const override { return true; }
  absl::Status Plan(Model& model) override;
  bool nothing_to_do() const override { return !attached_; }
  void Unplan(Model&) override {}
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  const std::string device_id_;
  const PasidOrRid pasid_;
  const std::string owner_;
  DeviceIndex device_ = 0;
  bool attached_ = false;
  Leaving leaving_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_DETACH_OPERATION_H_
