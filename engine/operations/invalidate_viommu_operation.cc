#include "engine/operations/invalidate_viommu_operation.h"

#include <variant>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/operations/smmu_command_checks.h"
#include "engine/operations/still_meant.h"

namespace viommu {
namespace {

constexpr absl::string_view kList = "commands.arm_smmu_v3.invalidations";

}  // namespace

absl::StatusOr<const Viommu*> InvalidateViommuOperation::FindViommu(const Model& model) const {
  ASSIGN_OR_RETURN(const Viommu* viommu, model.Find<Viommu>(context(), ref()));
  RETURN_IF_ERROR(CheckStillMeant(*viommu, only(), context().principal));
  return viommu;
}

absl::StatusOr<std::vector<Uid>> InvalidateViommuOperation::Lanes(Model& model) {
  RETURN_IF_ERROR(CheckInvalidationSize(batch()));
  ASSIGN_OR_RETURN(const Viommu* viommu, FindViommu(model));
  return std::vector<Uid>{viommu->uid()};
}

absl::Status InvalidateViommuOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Viommu* viommu, FindViommu(model));
  viommu_ = viommu->uid();
  const auto* commands = std::get_if<std::vector<ArmSmmuV3Invalidation>>(&batch());
  if (commands == nullptr) {
    if (!std::get<std::vector<VtdStage1Invalidation>>(batch()).empty()) {
      return CommandsUnavailable(absl::StrCat(viommu->NameFor(context().principal),
                                              " takes commands of Arm SMMUv3, these are not"));
    }
    answer() = {0, absl::OkStatus(), viommu_};  // Without commands it is nobody's.
    return absl::OkStatus();
  }
  const bool ranges = model.backend().DescribeViommus(viommu->device).range_invalidation;
  Take(viommu_, *commands, kList, [&](const ArmSmmuV3Invalidation& command) {
    return CheckCommand(command, *viommu, ranges);
  });
  return absl::OkStatus();
}

absl::Status InvalidateViommuOperation::Apply(Backend& backend) {
  const ViommuInvalidateOutcome outcome = backend.viommus()->InvalidateViommu(viommu_, commands());
  if (outcome.status.ok()) return absl::OkStatus();
  // Only what was issued counts (Q7).
  answer().handled = outcome.handled;
  answer().first_error = AtIndex(outcome.status, outcome.handled, FieldAt(kList, outcome.handled));
  return absl::OkStatus();
}

}  // namespace viommu
