// engine/operations/vdevice_operations.h -- Creating and destroying Vdevices. Errors: those of
// Engine::CreateVdevice and DeleteVdevice.
#ifndef VIOMMU_ENGINE_OPERATIONS_VDEVICE_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_VDEVICE_OPERATIONS_H_

#include <string>
#include <utility>
#include <vector>

#include "engine/operations/delete_operation.h"
#include "engine/pipeline/operation.h"

namespace viommu {

class CreateVdeviceOperation : public AnsweringOperation<VdeviceView> {
 public:
  CreateVdeviceOperation(CallContext context, ObjectRef viommu, std::string id, std::string device,
                         uint64_t virtual_id)
      : AnsweringOperation(std::move(context)),
        viommu_ref_(std::move(viommu)),
        id_(std::move(id)),
        device_id_(std::move(device)),
        virtual_id_(virtual_id) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  // In the order of the kernel (iommufd-semantics.md section 12.2).
  absl::Status Check(const Model& model, const Device& device) const;

  const ObjectRef viommu_ref_;
  const std::string id_;
  const std::string device_id_;
  const uint64_t virtual_id_;
  Viommu* viommu_ = nullptr;  // Stays, as its lane is held.
  DeviceIndex device_ = 0;
  Vdevice* vdevice_ = nullptr;
};

class DeleteVdeviceOperation : public DeleteOperation<Vdevice> {
 public:
  using DeleteOperation::DeleteOperation;
  // Further kFailedPrecondition IN_USE: the device is attached where it has to have one.
  absl::Status Plan(Model& model) override;
  absl::Status Apply(Backend& backend) override {
    return backend.viommus()->DestroyVdevice(object().uid());
  }

 private:
  absl::Status CheckNotAttached(const Model& model);
  // That of the device's group, too: it is neither attached nor released meanwhile.
  std::vector<Uid> OtherLanes(const Model& model, const Vdevice& vdevice) override;
  void DropWhatItHolds(Model& model) override;
};

// What a Vdevice, which is about to be discarded, held of its Viommu and its device.
void DropVdevice(Model& model, const Vdevice& vdevice);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_VDEVICE_OPERATIONS_H_
