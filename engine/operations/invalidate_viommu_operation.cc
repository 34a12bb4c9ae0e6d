#include "engine/operations/invalidate_viommu_operation.h"

#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/operations/invalidation_checks.h"
#include "engine/operations/smmu_command_checks.h"

namespace viommu {
namespace {

std::string FieldAt(uint64_t index) {
  return absl::StrCat("commands.arm_smmu_v3.invalidations[", index, "]");
}

}  // namespace

absl::StatusOr<const Viommu*> InvalidateViommuOperation::FindViommu(const Model& model) const {
  ASSIGN_OR_RETURN(const Viommu* viommu, model.Find<Viommu>(context(), ref_));
  RETURN_IF_ERROR(CheckStillMeant(*viommu, only_, context().principal));
  return viommu;
}

absl::StatusOr<std::vector<Uid>> InvalidateViommuOperation::Lanes(Model& model) {
  RETURN_IF_ERROR(CheckInvalidationSize(batch_));
  ASSIGN_OR_RETURN(const Viommu* viommu, FindViommu(model));
  return std::vector<Uid>{viommu->uid()};
}

absl::Status InvalidateViommuOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Viommu* viommu, FindViommu(model));
  viommu_ = viommu->uid();
  answer() = {0, absl::OkStatus(), viommu_};
  commands_ = {};
  const auto* commands = std::get_if<std::vector<ArmSmmuV3Invalidation>>(&batch_);
  if (commands == nullptr) {
    // Without commands it is nobody's.
    if (std::get<std::vector<VtdStage1Invalidation>>(batch_).empty()) return absl::OkStatus();
    return CommandsUnavailable(absl::StrCat(viommu->NameFor(context().principal),
                                            " takes commands of Arm SMMUv3, these are not"));
  }
  const bool ranges = model.backend().DescribeViommus(viommu->device).range_invalidation;
  for (const ArmSmmuV3Invalidation& command : *commands) {
    const absl::Status checked = CheckCommand(command, *viommu, ranges);
    const uint64_t index = answer().handled;
    if (!checked.ok()) {
      answer().first_error = AtIndex(checked, index, FieldAt(index));
      break;
    }
    ++answer().handled;
  }
  commands_ = absl::MakeConstSpan(*commands).first(answer().handled);
  return absl::OkStatus();
}

absl::Status InvalidateViommuOperation::Apply(Backend& backend) {
  const ViommuInvalidateOutcome outcome = backend.viommus()->InvalidateViommu(viommu_, commands_);
  if (outcome.status.ok()) return absl::OkStatus();
  // Only what was issued counts (Q7).
  answer().handled = outcome.handled;
  answer().first_error = AtIndex(outcome.status, outcome.handled, FieldAt(outcome.handled));
  return absl::OkStatus();
}

}  // namespace viommu
