#include "engine/backend/soft/unit_capability.h"

#include "engine/backend/soft/smmu_capability.h"
#include "engine/backend/soft/vtd_capability.h"

namespace viommu {
namespace {

bool IsSmmu(const IommuSpec& unit) { return unit.architecture == IommuArchitecture::kSmmuV3; }

}  // namespace

absl::StatusOr<DomainProperties> PlanPaging(const IommuSpec& unit, const DomainSpec& spec) {
  return IsSmmu(unit) ? smmu::PlanPaging(unit, spec) : vtd::PlanPaging(unit, spec);
}

absl::StatusOr<DomainProperties> PlanSva(const IommuSpec& unit) {
  return IsSmmu(unit) ? smmu::PlanSva(unit) : vtd::PlanSva(unit);
}

absl::StatusOr<DomainProperties> PlanNested(const IommuSpec& unit, const VtdStage1& stage1,
                                            const DomainProperties& parent) {
  if (IsSmmu(unit)) return smmu::NoVtdStage1(unit);
  return vtd::PlanNested(unit, stage1, parent);
}

absl::StatusOr<DomainProperties> PlanVste(const IommuSpec& unit, const ArmSmmuV3Stage1& vste,
                                          const DomainProperties& parent) {
  return IsSmmu(unit) ? smmu::PlanVste(unit, vste, parent) : vtd::NoVste(unit);
}

absl::Status CheckDomain(const IommuSpec& unit, const DomainProperties& properties) {
  return IsSmmu(unit) ? smmu::CheckDomain(unit, properties) : vtd::CheckDomain(unit, properties);
}

}  // namespace viommu
