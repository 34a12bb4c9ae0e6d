// engine/operations/attach_operations.h -- Attach and Replace of a device's RID, or of one PASID.
//
// Hardware changes once for a group: with its first attachment at the RID or PASID, with every
// replacement. Errors: those of Engine::AttachDevice and ReplaceAttachment.
#ifndef VIOMMU_ENGINE_OPERATIONS_ATTACH_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_ATTACH_OPERATIONS_H_

#include <optional>
#include <string>
#include <vector>

#include "engine/operations/domain_making.h"
#include "engine/operations/doorbells.h"
#include "engine/operations/reserved_regions.h"
#include "engine/pipeline/operation.h"

namespace viommu {

// What both share: they end with devices on a named target, or on an auto domain of a named Ioas.
class ToDomainOperation : public AnsweringOperation<AttachAnswer> {
 public:
  ToDomainOperation(CallContext context, std::string device, AttachTarget target, PasidOrRid pasid)
      : AnsweringOperation(std::move(context)),
        device_id_(std::move(device)),
        named_(std::move(target)),
        pasid_(pasid) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 protected:
  // Whether the verb fits what is attached now; decides which members move.
  virtual absl::Status CheckVerb(const Model& model, const Device& device) = 0;
  // Whether the target fits that; decides whether hardware changes.
  virtual absl::Status CheckAgainstGroup(const Model& model, const Device& device) = 0;

  PasidOrRid pasid() const { return pasid_; }
  const DomainTarget& target() const { return target_; }

  std::vector<DeviceIndex> moving_;  // Whose attachment is recorded anew.
  bool joins_ = false;               // A member is attached, and `moving_` goes where it is.
  bool switches_hardware_ = true;

 private:
  // The target of the call, looked up: an Ioas, or a domain.
  struct Named {
    Ioas* ioas = nullptr;
    DomainTarget domain;
  };
  absl::StatusOr<Named> Resolve(const Model& model, const Device& device) const;
  // Sets target_, to a domain that is planned here when there is none to be taken.
  absl::Status Choose(Model& model, const Device& device, const Named& named);
  absl::Status ChooseAutoDomain(Model& model, const Device& device, Ioas& ioas);
  absl::Status CheckTarget(const Model& model, const Device& device) const;
  // What a RID brings to the Ioas and the tables that it goes to; before CheckTarget, as iommufd
  // does.
  absl::Status CloseRegions(Model& model);
  // Everything after the choice; what it reserves is taken back on an error, but for the choice.
  absl::Status PlanMove(Model& model, const Device& device);
  absl::Status TakePasid(Model& model, const Device& device);
  void AddReferences(Model& model);
  void AnswerAsPlanned(const Model& model, const Device& device);
  void CommitAttachment(Model& model, Device& device);

  const std::string device_id_;
  const AttachTarget named_;
  const PasidOrRid pasid_;
  DeviceIndex device_ = 0;
  std::vector<DeviceIndex> group_;
  DomainTarget target_;
  DomainTarget old_;            // What the group is on; BLOCKED when no member is attached.
  bool was_attached_ = false;   // The moving ones leave `old_`.
  RegionMove regions_;          // Of the RID.
  DoorbellPlacing doorbells_;   // Of the RID.
  DomainMaking made_;           // An auto domain that comes with it.
  DomainLeaving left_;          // An auto domain that goes with it.
  Account* charged_ = nullptr;  // With a PASID that is taken by being attached; null: with none.
};

class AttachOperation : public ToDomainOperation {
 public:
  using ToDomainOperation::ToDomainOperation;

 private:
  absl::Status CheckVerb(const Model& model, const Device& device) override;
  absl::Status CheckAgainstGroup(const Model& model, const Device& device) override;
};

class ReplaceOperation : public ToDomainOperation {
 public:
  using ToDomainOperation::ToDomainOperation;
  bool nothing_to_do() const override { return !switches_hardware_; }

 private:
  absl::Status CheckVerb(const Model& model, const Device& device) override;
  absl::Status CheckAgainstGroup(const Model& model, const Device& device) override;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_ATTACH_OPERATIONS_H_
