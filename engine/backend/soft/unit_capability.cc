#include "engine/backend/soft/unit_capability.h"

#include "absl/strings/str_cat.h"
#include "engine/backend/soft/vtd_capability.h"
#include "engine/base/errors.h"

namespace viommu {
namespace {

bool IsVtd(const IommuSpec& unit) { return unit.architecture == IommuArchitecture::kVtd; }

absl::Status NoTables(const IommuSpec& unit) {
  return Error(absl::StatusCode::kFailedPrecondition, "NO_TABLE_FORMAT",
               absl::StrCat("iommu ", unit.id, " walks no page table of ours"))
      .Errno("EOPNOTSUPP");
}

}  // namespace

absl::StatusOr<DomainProperties> PlanPaging(const IommuSpec& unit, const DomainSpec& spec) {
  if (IsVtd(unit)) return vtd::PlanPaging(unit, spec);
  return NoTables(unit);
}

absl::StatusOr<DomainProperties> PlanSva(const IommuSpec& unit) {
  if (IsVtd(unit)) return vtd::PlanSva(unit);
  return NoTables(unit);
}

absl::StatusOr<DomainProperties> PlanNested(const IommuSpec& unit, const VtdStage1& stage1,
                                            const DomainProperties& parent) {
  if (IsVtd(unit)) return vtd::PlanNested(unit, stage1, parent);
  return NoTables(unit);
}

absl::Status CheckDomain(const IommuSpec& unit, const DomainProperties& properties) {
  if (IsVtd(unit)) return vtd::CheckDomain(unit, properties);
  return NoTables(unit);
}

}  // namespace viommu
