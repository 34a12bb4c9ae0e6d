// engine/operations/reset_operation.h -- Reset of one device (iommufd-semantics.md section 5.9).
//
// The device is blocked, RID and PASIDs, while what its group is on stays as it is; then it is put
// back there. What would attach its group meanwhile is refused (claims.h, CheckNotInReset); other
// work on the group waits, also a second reset. Errors: those of Engine::ResetDevice.
#ifndef VIOMMU_ENGINE_OPERATIONS_RESET_OPERATION_H_
#define VIOMMU_ENGINE_OPERATIONS_RESET_OPERATION_H_

#include <string>
#include <vector>

#include "engine/pipeline/operation.h"

namespace viommu {

// A reset that can not be finished is no failure of the operation: it changes the device's health,
// which has to be kept. `outcome` tells.
struct ResetAnswer {
  DeviceView device;
  absl::Status outcome;
};

class ResetOperation : public AnsweringOperation<ResetAnswer> {
 public:
  ResetOperation(CallContext context, std::string device)
      : AnsweringOperation(std::move(context)), device_id_(std::move(device)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override { return record::Reset{device_id_}; }
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  absl::Status CheckMayReset(const Model& model, const Device& device) const;

  const std::string device_id_;
  DeviceIndex device_ = 0;
  bool held_ = false;  // It is blocked already: a reset before left it so, or it is in quarantine.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_RESET_OPERATION_H_
