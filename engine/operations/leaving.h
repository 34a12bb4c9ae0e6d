// engine/operations/leaving.h -- A device leaves what its RID, or one PASID, is attached to, as a
// part of an operation.
//
// Hardware changes with the last member of a group that leaves. Copyable; made anew, it does
// nothing.
#ifndef VIOMMU_ENGINE_OPERATIONS_LEAVING_H_
#define VIOMMU_ENGINE_OPERATIONS_LEAVING_H_

#include <vector>

#include "absl/status/status.h"
#include "engine/model/model.h"
#include "engine/operations/domain_making.h"
#include "engine/operations/reserved_regions.h"

namespace viommu {

class Leaving {
 public:
  Leaving() = default;
  // The device is attached there.
  Leaving(const Model& model, const Device& device, PasidOrRid pasid);

  // No other member of the group stays attached there.
  bool last() const { return last_; }
  // Of the auto domain that goes as well; 0: none does.
  Uid auto_domain() const { return left_.uid(); }
  // What the switch would do, and then did.
  const Transition& transition() const { return transition_; }
  // What else it does.
  const AttachmentEffects& effects() const { return effects_; }
  void Foresee(const Model& model);

  // Takes the group off the hardware, when it is the last.
  // As Backend::Switch; then nothing has changed.
  absl::Status Switch(Backend& backend);
  // Takes Switch back.
  absl::Status Undo(Backend& backend) const;
  // Behind everything that can fail.
  void Finish(Backend& backend);

  void Commit(Model& model);

 private:
  void CommitLast(Model& model, Group& group);

  DeviceIndex device_ = 0;
  PasidOrRid pasid_;
  std::vector<DeviceIndex> group_;
  DomainTarget old_;
  bool last_ = false;
  Transition transition_;
  AttachmentEffects effects_;
  RegionMove regions_;
  DomainLeaving left_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_LEAVING_H_
