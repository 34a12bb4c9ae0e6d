// engine/backend/soft/unit_capability.h -- The domains that a unit of any architecture can have,
// and those it can use. All functions are pure.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_UNIT_CAPABILITY_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_UNIT_CAPABILITY_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/topology.h"

namespace viommu {

// A paging domain as the flags of `spec` ask for it (iommufd-semantics.md 4.9).
// kUnimplemented: NESTING_UNAVAILABLE, DIRTY_TRACKING_UNAVAILABLE.
// kFailedPrecondition, NO_TABLE_FORMAT: the unit walks no table for it.
absl::StatusOr<DomainProperties> PlanPaging(const IommuSpec& unit, const DomainSpec& spec);

// A process's address space.
// kUnimplemented, SVA_UNAVAILABLE: the unit has no first stage.
absl::StatusOr<DomainProperties> PlanSva(const IommuSpec& unit);

// A guest's first stage on a nest parent.
// kUnimplemented, NESTING_UNAVAILABLE: the unit does not walk such a stage.
// kFailedPrecondition: NOT_A_NEST_PARENT; as CheckDomain.
absl::StatusOr<DomainProperties> PlanNested(const IommuSpec& unit, const VtdStage1& stage1,
                                            const DomainProperties& parent);

// What a guest's SMMUv3 entry asks for, on a nest parent.
// kUnimplemented, NESTING_UNAVAILABLE: the unit is no SMMUv3 that nests.
// kInvalidArgument, INVALID_VSTE: the entry has what a guest may not write.
// kFailedPrecondition: NOT_A_NEST_PARENT; as CheckDomain.
absl::StatusOr<DomainProperties> PlanVste(const IommuSpec& unit, const ArmSmmuV3Stage1& vste,
                                          const DomainProperties& parent);

// Whether a unit can use a domain that was made for any unit.
// kFailedPrecondition, INCOMPATIBLE_DOMAIN: it can not; the message says why.
absl::Status CheckDomain(const IommuSpec& unit, const DomainProperties& properties);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_UNIT_CAPABILITY_H_
