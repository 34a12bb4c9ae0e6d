// engine/operations/claim_operations.h -- Claim, release and default domain of a device's group.
// Errors: those of Engine::ClaimDevice, ReleaseDevice and SetDefaultDomain.
#ifndef VIOMMU_ENGINE_OPERATIONS_CLAIM_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_CLAIM_OPERATIONS_H_

#include <string>
#include <vector>

#include "engine/operations/flush_step.h"
#include "engine/operations/vdevices_leaving.h"
#include "engine/pipeline/operation.h"

namespace viommu {

// An operation on one group, with one device named, answered with that device.
class GroupOperation : public AnsweringOperation<DeviceView> {
 public:
  GroupOperation(CallContext context, std::string device)
      : AnsweringOperation(std::move(context)), device_id_(std::move(device)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  // Nothing is reserved: the group's lane is held from plan to commit.
  void Unplan(Model&) override {}

 protected:
  // Looks the device up; to be called first by Plan.
  absl::StatusOr<Device*> Locate(Model& model);
  void AnswerWithDevice(const Model& model);
  Group& GroupIn(Model& model) const { return model.GroupOf(model.devices[device_]); }

  const std::string& device_id() const { return device_id_; }
  const std::vector<DeviceIndex>& members() const { return members_; }

 private:
  const std::string device_id_;
  DeviceIndex device_ = 0;
  std::vector<DeviceIndex> members_;
};

// An operation that gives the whole group another state.
class GroupChange : public GroupOperation {
 public:
  using GroupOperation::GroupOperation;

 protected:
  // What the group becomes.
  virtual void Change(GroupState& group) const = 0;

  // Answers as Commit will, for a dry run; to be called last by Plan.
  void Foresee(Model& model);
  // Makes the change, in which DMA saw a gap or, when hitless, did not, and answers.
  void CommitChange(Model& model, bool hitless);
  // The same, where the hardware stays as it is.
  void CommitOnPaper(Model& model);
};

class ClaimOperation : public GroupChange {
 public:
  // `owner`: who is to have it.
  ClaimOperation(CallContext context, std::string device, std::string etag, std::string owner)
      : GroupChange(std::move(context), std::move(device)),
        etag_(std::move(etag)),
        owner_(std::move(owner)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  bool nothing_to_do() const override { return held_; }
  void Unplan(Model& model) override { flush_.Unplan(model, GroupIn(model)); }
  LogicalOperation Logical() const override { return record::Claim{device_id(), owner_}; }
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  void Change(GroupState& group) const override;

  const std::string etag_;
  const std::string owner_;
  bool held_ = false;
  FlushStep flush_;
};

class ReleaseOperation : public GroupChange {
 public:
  // `owner`: who must have it, as CheckHeldFor.
  ReleaseOperation(CallContext context, std::string device, std::string etag, std::string owner)
      : GroupChange(std::move(context), std::move(device)),
        etag_(std::move(etag)),
        owner_(std::move(owner)) {}

  // Those of the Viommus, too, in which members of the group have Vdevices.
  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  bool revokes() const override { return true; }
  absl::Status Plan(Model& model) override;
  LogicalOperation Logical() const override {
    return record::Release{device_id(), vdevices_.Logical()};
  }
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  void Change(GroupState& group) const override;

  const std::string etag_;
  const std::string owner_;
  DefaultDomainType type_ = DefaultDomainType::kDma;
  Transition transition_;
  VdevicesLeaving vdevices_;
};

class SetDefaultDomainOperation : public GroupChange {
 public:
  SetDefaultDomainOperation(CallContext context, std::string device, DefaultDomainType type)
      : GroupChange(std::move(context), std::move(device)), asked_(type) {}

  absl::Status Plan(Model& model) override;
  bool nothing_to_do() const override { return same_; }
  void Unplan(Model& model) override { flush_.Unplan(model, GroupIn(model)); }
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  void Change(GroupState& group) const override;

  const DefaultDomainType asked_;
  DefaultDomainType type_ = DefaultDomainType::kDma;
  std::string fallback_;
  bool same_ = false;
  bool switches_ = false;  // To another domain; else only the time of flushes changes.
  FlushStep flush_;
  Transition transition_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_CLAIM_OPERATIONS_H_
