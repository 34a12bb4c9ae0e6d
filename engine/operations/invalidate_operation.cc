#include "engine/operations/invalidate_operation.h"

#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/views.h"
#include "engine/operations/still_meant.h"

namespace viommu {
namespace {

constexpr uint64_t kPageBytes = 4096;

absl::Status NotNested(const std::string& name) {
  return Error(absl::StatusCode::kFailedPrecondition, "NOT_NESTED",
               absl::StrCat(name, " has no first stage of a guest"))
      .Errno("EINVAL")
      .Resource(name)
      .Violation("name a NESTED domain");
}

absl::Status CheckCommand(const VtdStage1Invalidation& command) {
  if (!IsAligned(command.address, kPageBytes)) {
    return Error(absl::StatusCode::kInvalidArgument, "MISALIGNED",
                 absl::StrCat("address ", Hex(command.address), " is not a multiple of ",
                              Hex(kPageBytes)))
        .Errno("EINVAL")
        .Field("address")
        .Meta("alignment", Hex(kPageBytes));
  }
  if (command.page_count == VtdStage1Invalidation::kAllPages) {
    if (command.address == 0) return absl::OkStatus();
    return Error(absl::StatusCode::kInvalidArgument, "ALL_PAGES_WITH_ADDRESS",
                 absl::StrCat("all pages begin at address 0, not at ", Hex(command.address)))
        .Errno("EINVAL")
        .Field("address");
  }
  // Pages from the address to the end of the address space.
  const uint64_t most = (kMaxAddress - command.address) / kPageBytes + 1;
  if (command.page_count <= most) return absl::OkStatus();
  return Error(absl::StatusCode::kOutOfRange, "ADDRESS_OVERFLOW",
               absl::StrCat(command.page_count, " pages from ", Hex(command.address),
                            " pass the end of the address space"))
      .Errno("EOVERFLOW")
      .Field("page_count");
}

}  // namespace

absl::StatusOr<const Domain*> InvalidateOperation::FindNested(const Model& model) const {
  if (!ref().owner.has_value() && (ref().id == kIdentityDomain || ref().id == kBlockedDomain)) {
    return NotNested(absl::StrCat("domains/", ref().id));
  }
  ASSIGN_OR_RETURN(const Domain* domain, model.Find<Domain>(context(), ref()));
  RETURN_IF_ERROR(CheckStillMeant(*domain, only(), context().principal));
  if (!domain->nested()) return NotNested(domain->NameFor(context().principal));
  return domain;
}

absl::StatusOr<std::vector<Uid>> InvalidateOperation::Lanes(Model& model) {
  RETURN_IF_ERROR(CheckInvalidationSize(batch()));
  ASSIGN_OR_RETURN(const Domain* domain, FindNested(model));
  return std::vector<Uid>{domain->uid()};
}

absl::Status InvalidateOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Domain* domain, FindNested(model));
  domain_ = domain->uid();
  const std::string name = domain->NameFor(context().principal);
  if (domain->spec.viommu != 0) {
    const Viommu& viommu = *model.Get<Viommu>(domain->spec.viommu);
    return CommandsUnavailable(absl::StrCat(name, " stands on ",
                                            viommu.NameFor(context().principal),
                                            ", which takes the guest's commands"));
  }
  const auto* commands = std::get_if<std::vector<VtdStage1Invalidation>>(&batch());
  if (commands == nullptr) {
    return CommandsUnavailable(
        absl::StrCat(name, " is a first stage of Intel VT-d, the commands are not"));
  }
  Take(domain_, *commands, "commands.vtd.invalidations", CheckCommand);
  return absl::OkStatus();
}

absl::Status InvalidateOperation::Apply(Backend& backend) {
  return backend.Invalidate(domain_, commands());
}

}  // namespace viommu
