#include "engine/operations/domain_checks.h"

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/model/views.h"

namespace viommu {

absl::Status CheckNotStatic(const std::string& id) {
  if (id != kIdentityDomain && id != kBlockedDomain) return absl::OkStatus();
  return Error(absl::StatusCode::kAlreadyExists, "DOMAIN_EXISTS",
               absl::StrCat("domains/", id, " is a static domain"))
      .Errno("EEXIST")
      .Field("domain_id");
}

absl::Status CheckNesting(const Model& model, const Device& device, absl::string_view field) {
  const IommuSpec& unit = model.UnitOf(device);
  if (HasNesting(unit)) return absl::OkStatus();
  return Error(absl::StatusCode::kUnimplemented, "NESTING_UNAVAILABLE",
               absl::StrCat("iommus/", unit.id, " of ", device.Name(),
                            " can not put a first stage on a second"))
      .Errno("EOPNOTSUPP")
      .Field(field)
      .Resource(device.Name());
}

absl::Status CheckTracking(const Model& model, const Device& device, absl::string_view field) {
  const IommuSpec& unit = model.UnitOf(device);
  if (HasDirtyTracking(unit)) return absl::OkStatus();
  return Error(absl::StatusCode::kUnimplemented, "DIRTY_TRACKING_UNAVAILABLE",
               absl::StrCat("iommus/", unit.id, " of ", device.Name(),
                            " can not tell which pages are written"))
      .Errno("EOPNOTSUPP")
      .Field(field)
      .Resource(device.Name());
}

absl::Status CheckNotProcess(const Ioas& ioas, absl::string_view principal) {
  if (ioas.mode != IoasMode::kProcess) return absl::OkStatus();
  const std::string name = ioas.NameFor(principal);
  return Error(absl::StatusCode::kFailedPrecondition, "PROCESS_ADDRESS_SPACE",
               absl::StrCat(name, " is the address space of a process"))
      .Errno("EINVAL")
      .Resource(name)
      .Violation("make an SVA domain of it");
}

}  // namespace viommu
