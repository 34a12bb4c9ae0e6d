// engine/operations/attach_operations.h -- Attach, Replace and Detach of a device's RID.
//
// Hardware changes once for a group: with its first attachment, with every replacement, with its
// last detachment. Errors: those of Engine::AttachDevice, ReplaceAttachment and DetachDevice.
#ifndef VIOMMU_ENGINE_OPERATIONS_ATTACH_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_ATTACH_OPERATIONS_H_

#include <optional>
#include <string>
#include <vector>

#include "engine/pipeline/operation.h"

namespace viommu {

// What Attach and Replace share: they end with devices on a named target.
class ToDomainOperation : public AnsweringOperation<AttachAnswer> {
 public:
  ToDomainOperation(CallContext context, std::string device, ObjectRef domain)
      : AnsweringOperation(std::move(context)),
        device_id_(std::move(device)),
        domain_ref_(std::move(domain)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 protected:
  // Whether the verb fits the state; decides which members move and whether hardware changes.
  virtual absl::Status CheckVerb(const Model& model, const Device& device) = 0;

  const DomainTarget& target() const { return target_; }

  std::vector<DeviceIndex> moving_;  // Whose attachment is recorded anew.
  bool switches_hardware_ = true;

 private:
  absl::StatusOr<DomainTarget> ResolveTarget(const Model& model, const Device& device) const;
  absl::Status CheckTarget(const Model& model, const Device& device) const;
  absl::Status ReserveRegions(Model& model);
  void UnreserveRegions(Model& model, Uid domain);

  const std::string device_id_;
  const ObjectRef domain_ref_;
  DeviceIndex device_ = 0;
  DomainTarget target_;
  std::optional<Uid> old_domain_;  // PAGING domain that is left.
  bool reserves_ = false;          // The Ioas gains the devices' reserved regions.
  std::vector<DeviceIndex> group_;
};

class AttachOperation : public ToDomainOperation {
 public:
  using ToDomainOperation::ToDomainOperation;

 private:
  absl::Status CheckVerb(const Model& model, const Device& device) override;
};

class ReplaceOperation : public ToDomainOperation {
 public:
  using ToDomainOperation::ToDomainOperation;
  bool nothing_to_do() const override { return !switches_hardware_; }

 private:
  absl::Status CheckVerb(const Model& model, const Device& device) override;
};

class DetachOperation : public AnsweringOperation<DetachAnswer> {
 public:
  DetachOperation(CallContext context, std::string device)
      : AnsweringOperation(std::move(context)), device_id_(std::move(device)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  bool revokes() const override { return true; }
  absl::Status Plan(Model& model) override;
  bool nothing_to_do() const override { return !attached_; }
  void Unplan(Model&) override {}
  LogicalOperation Logical() const override { return record::Detach{device_id_}; }
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  absl::Status CheckMayDetach(const Model& model, const Device& device) const;

  const std::string device_id_;
  DeviceIndex device_ = 0;
  bool attached_ = false;
  bool last_ = false;  // No other member of the group stays attached.
  std::vector<DeviceIndex> group_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_ATTACH_OPERATIONS_H_
