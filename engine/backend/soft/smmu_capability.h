// engine/backend/soft/smmu_capability.h -- What an IommuSpec means in SMMUv3 terms: the hardware
// that it asks for, the domains it can have, the domains it can use.
//
// Rules as the kernel's arm-smmu-v3.c (iommufd-semantics.md 4.9, 17.7). All functions are pure.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SMMU_CAPABILITY_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SMMU_CAPABILITY_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/hardware/smmu_spec.h"
#include "engine/backend/soft/unit_port.h"
#include "engine/backend/topology.h"

namespace viommu::smmu {

// The hardware, whose registers say the same.
hardware::smmu::Spec HardwareSpecOf(const IommuSpec& unit);

// Whether a table format (DomainProperties::format) is one of these stages: "arm-stage1-4k", -16k,
// -64k; "arm-stage2-4k", -16k, -64k.
bool IsFirstStageFormat(const DomainProperties& properties);
bool IsSecondStageFormat(const DomainProperties& properties);

// Log2 of the granule of its tables: its smallest page.
int GranuleLog2(const DomainProperties& properties);
// Of the addresses that its tables translate.
int InputBits(const DomainProperties& properties);

// Whether a second stage makes all memory write-back, whatever a guest's first stage says (S2FWB):
// a nest parent's, where the unit can.
bool ForcesWriteBack(const IommuSpec& unit, const DomainProperties& properties);

// A paging domain as the flags of `spec` ask for it: a first stage where the unit has one, a second
// stage where it has none and for a nest parent. It can be used behind this unit alone.
// kUnimplemented: NESTING_UNAVAILABLE; DIRTY_TRACKING_UNAVAILABLE; PASID_DOMAIN_UNSUPPORTED, what
//   PASIDs may use is a first stage.
absl::StatusOr<DomainProperties> PlanPaging(const IommuSpec& unit, const DomainSpec& spec);

// A process's address space: a first stage of the processors' granule.
// kUnimplemented, SVA_UNAVAILABLE: the unit has no first stage or not that granule.
absl::StatusOr<DomainProperties> PlanSva(const IommuSpec& unit);

// What a guest's entry asks for, on a nest parent.
// kUnimplemented, NESTING_UNAVAILABLE: the unit has no nesting.
// kInvalidArgument, INVALID_VSTE: the entry has what a guest may not write.
// kFailedPrecondition: NOT_A_NEST_PARENT; as CheckDomain.
absl::StatusOr<DomainProperties> PlanVste(const IommuSpec& unit, const ArmSmmuV3Stage1& vste,
                                          const DomainProperties& parent);

// kUnimplemented, NESTING_UNAVAILABLE: always. A guest's stage of VT-d is nothing to the unit.
absl::Status NoVtdStage1(const IommuSpec& unit);

// kFailedPrecondition, INCOMPATIBLE_DOMAIN: the domain was made for another unit.
absl::Status CheckDomain(const IommuSpec& unit, const DomainProperties& properties);

// As UnitPort::CheckTogether.
absl::Status CheckTogether(const IommuSpec& unit, TranslationKind without_pasid,
                           absl::Span<const TranslationKind> with_pasids);

}  // namespace viommu::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SMMU_CAPABILITY_H_
