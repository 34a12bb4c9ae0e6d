// engine/operations/claims.h -- Who holds a device, asked by every operation that touches one.
#ifndef VIOMMU_ENGINE_OPERATIONS_CLAIMS_H_
#define VIOMMU_ENGINE_OPERATIONS_CLAIMS_H_

#include <string>

#include "absl/status/status.h"
#include "engine/model/model.h"

namespace viommu {

// kFailedPrecondition DEVICE_NOT_CLAIMED: `principal` does not hold the device. Who does is not
// told.
absl::Status CheckClaimed(const Model& model, const Device& device, const std::string& principal);

// The same for the caller; an operator may act on what anybody holds. Who gives an `owner` means
// what that one holds.
// kPermissionDenied NOT_OPERATOR: as CheckMayActFor
// kFailedPrecondition DEVICE_CLAIMED: by another than `owner`
absl::Status CheckHeldFor(const Model& model, const Device& device, const CallContext& context,
                          const std::string& owner = "");

// kPermissionDenied NOT_OPERATOR: `principal`, given as `field`, is not the caller, who is no
// operator.
absl::Status CheckMayActFor(const CallContext& context, const std::string& principal,
                            const std::string& field);

// kPermissionDenied NOT_OPERATOR: devices are given to the caller, and taken, by operators.
absl::Status CheckMayClaim(const CallContext& context);

// kFailedPrecondition DEVICE_CLAIMED: a principal has it that is not meant.
absl::Status ClaimedByAnother(const Device& device);

// kFailedPrecondition DEVICE_UNHEALTHY
absl::Status CheckHealthy(const Device& device);

// kFailedPrecondition, with `reason`: members of the group are attached; all places are listed.
absl::Status CheckNothingAttached(const Model& model, const Group& group,
                                  const std::string& reason);

// kFailedPrecondition DEVICE_CLAIMED: somebody holds it, so the host does not have it.
absl::Status CheckHostHas(const Model& model, const Device& device);

// kFailedPrecondition HOST_MAPPINGS: the host maps memory for the group.
absl::Status CheckNoHostMappings(const Model& model, const Device& device);

// kAborted DEVICE_IN_RESET: a reset of a member of the device's group is under way.
absl::Status CheckNotInReset(const Model& model, const Device& device);

// kFailedPrecondition DEVICE_UNHEALTHY: a member of the group is still blocked by a reset that
// could not be finished.
absl::Status CheckNotHeld(const Model& model, const Device& device);

// R1. kPermissionDenied IDENTITY_NOT_ALLOWED: not an operator, or a member of the device's group
// does not allow it or is untrusted. kUnimplemented IDENTITY_UNAVAILABLE: its unit has no
// pass-through.
absl::Status CheckIdentityAllowed(const Model& model, const Device& device,
                                  const CallContext& context);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_CLAIMS_H_
