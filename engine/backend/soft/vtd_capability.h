// engine/backend/soft/vtd_capability.h -- What an IommuSpec means in VT-d terms: its capability
// registers, the domains it can have, the domains it can use.
//
// Bit positions: VT-d 11.4.2, 11.4.3 and the kernel's vtd/iommu.h cap_*, ecap_*
// (iommufd-semantics.md 18.5). All functions are pure.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_VTD_CAPABILITY_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_VTD_CAPABILITY_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/topology.h"

namespace viommu::vtd {

// CAP.MAMV: a page-selective flush covers at most 2^18 pages, 1 GiB.
inline constexpr int kMaxAddressMask = 18;

// Names of table formats (DomainProperties::format).
inline constexpr char kSecondStageFormat[] = "vtd-second-stage";
inline constexpr char kFirstStageFormat[] = "x86-first-stage";

uint64_t CapabilityOf(const IommuSpec& spec);
uint64_t ExtendedCapabilityOf(const IommuSpec& spec);

bool HasLevels(const IommuSpec& spec, int levels);
// The deepest table that the unit walks, 3..5; 0 when it walks none.
int DeepestLevels(const IommuSpec& spec);

// A second-stage domain made for this unit: the shallowest table that reaches all of MGAW, or else
// the deepest there is (vtd/iommu.c: compute_vasz_lg2_ss).
// kFailedPrecondition: the unit walks no table.
absl::StatusOr<DomainProperties> PlanSecondStage(const IommuSpec& spec);

// A first-stage domain made for this unit: as deep as it walks, the lower half of the canonical
// addresses (vtd/iommu.c: compute_vasz_lg2_fs).
// kFailedPrecondition: the unit has no first stage.
absl::StatusOr<DomainProperties> PlanFirstStage(const IommuSpec& spec);

// The same for a first-stage domain (vtd/iommu.c: paging_domain_compatible_first_stage).
// kFailedPrecondition, INCOMPATIBLE_DOMAIN: the unit lacks a first stage, the depth, a page
//   size, or the snooping that the domain promises.
absl::Status CheckFirstStage(const IommuSpec& spec, const DomainProperties& properties);

// Whether a unit can use a domain that was made for another (vtd/iommu.c:
// paging_domain_compatible_second_stage).
// kFailedPrecondition, INCOMPATIBLE_DOMAIN: the unit lacks the depth, a page size, the width,
//   the snooping that the domain promises, the nesting that it is the parent of, or dirty tracking.
absl::Status CheckSecondStage(const IommuSpec& spec, const DomainProperties& properties);

// A paging domain as the flags of `spec` ask for it (iommufd-semantics.md 4.9): a second stage for
// a nest parent, for dirty tracking and where there is no first stage, a first stage otherwise.
// What PASIDs may use is of either.
// kUnimplemented: DIRTY_TRACKING_UNAVAILABLE, NESTING_UNAVAILABLE: the unit lacks it.
// kFailedPrecondition: the unit walks no table.
absl::StatusOr<DomainProperties> PlanPaging(const IommuSpec& unit, const DomainSpec& spec);

// A process's address space: x86-64 tables, as processors walk them.
// kUnimplemented, SVA_UNAVAILABLE: the unit has no first stage.
absl::StatusOr<DomainProperties> PlanSva(const IommuSpec& unit);

// A guest's stage on a nest parent, for this unit.
// kUnimplemented, NESTING_UNAVAILABLE: the unit has no nesting.
// kFailedPrecondition: NOT_A_NEST_PARENT; as CheckDomain.
absl::StatusOr<DomainProperties> PlanNested(const IommuSpec& unit, const VtdStage1& stage1,
                                            const DomainProperties& parent);

// kUnimplemented, NESTING_UNAVAILABLE: always. A guest's entry of an SMMUv3 is nothing to the unit.
absl::Status NoVste(const IommuSpec& unit);

// Whether a unit can use a domain of any form that was made for another.
// As CheckFirstStage, CheckSecondStage. kFailedPrecondition, INCOMPATIBLE_DOMAIN: the unit lacks
//   nesting or what the guest's stage asks for.
absl::Status CheckDomain(const IommuSpec& unit, const DomainProperties& properties);

}  // namespace viommu::vtd

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_VTD_CAPABILITY_H_
