#include "engine/operations/viommu_checks.h"

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"

namespace viommu {

absl::Status NotNestParent(const std::string& name, absl::string_view what,
                           absl::string_view field) {
  return Error(absl::StatusCode::kFailedPrecondition, "NOT_NEST_PARENT",
               absl::StrCat(name, " is ", what, ", not a PAGING domain made with nest_parent"))
      .Errno("EINVAL")
      .Field(field)
      .Resource(name)
      .Violation("name a PAGING domain that was made with nest_parent");
}

absl::Status CheckViommuType(const Model& model, const Device& device, ViommuType type) {
  const std::string unit = absl::StrCat("iommus/", model.UnitOf(device).id);
  if (!model.backend().DescribeViommus(device.index).arm_smmu_v3) {
    return Error(absl::StatusCode::kUnimplemented, "VIOMMU_UNAVAILABLE",
                 absl::StrCat(unit, " of ", device.Name(), " has no virtual IOMMUs"))
        .Errno("EOPNOTSUPP")
        .Field("viommu.device")
        .Resource(device.Name());
  }
  if (type == ViommuType::kArmSmmuV3) return absl::OkStatus();
  return Error(absl::StatusCode::kUnimplemented, "VIOMMU_TYPE_UNAVAILABLE",
               absl::StrCat(unit, " has virtual IOMMUs of type ARM_SMMU_V3 only"))
      .Errno("EOPNOTSUPP")
      .Field("viommu.type")
      .Resource(device.Name());
}

absl::Status CheckNoViommu(const Model& model, const Device& device, const Domain& parent,
                           const CallContext& context) {
  for (const auto& [holder, count] : parent.referrers()) {
    const Object* const object = model.objects.FindByUid(holder);  // Null: a device.
    if (object == nullptr || object->kind() != ObjectKind::kViommu) continue;
    const auto& viommu = static_cast<const Viommu&>(*object);
    if (viommu.iommu != device.spec.iommu) continue;
    const std::string name = viommu.NameFor(context.principal);
    return Error(absl::StatusCode::kFailedPrecondition, "VIOMMU_EXISTS",
                 absl::StrCat(parent.NameFor(context.principal), " has ", name, " on iommus/",
                              viommu.iommu, " already"))
        .Errno("EBUSY")
        .Field("viommu.parent")
        .Resource(name)
        .Violation(absl::StrCat(
            "make another nest parent over the same IO address space, or delete ", name));
  }
  return absl::OkStatus();
}

absl::Status CheckSameIommu(const Viommu& viommu, const Device& device, absl::string_view field,
                            absl::string_view principal) {
  if (viommu.iommu == device.spec.iommu) return absl::OkStatus();
  const std::string name = viommu.NameFor(principal);
  return Error(absl::StatusCode::kFailedPrecondition, "IOMMU_MISMATCH",
               absl::StrCat(device.Name(), " is behind iommus/", device.spec.iommu, ", and ", name,
                            " is a part of iommus/", viommu.iommu))
      .Errno("EINVAL")
      .Field(field)
      .Resource(device.Name())
      .Violation(absl::StrCat("name a device behind iommus/", viommu.iommu));
}

absl::Status CheckVdevices(const Model& model, absl::Span<const DeviceIndex> group,
                           const Domain& domain, absl::string_view principal) {
  if (!domain.properties.needs_vdevice) return absl::OkStatus();
  for (const DeviceIndex index : group) {
    const Device& device = model.devices[index];
    if (!device.present) continue;
    if (device.vdevice != 0 && model.Get<Vdevice>(device.vdevice)->viommu == domain.spec.viommu) {
      continue;
    }
    const std::string viommu = model.Get<Viommu>(domain.spec.viommu)->NameFor(principal);
    return Error(absl::StatusCode::kFailedPrecondition, "VDEVICE_MISSING",
                 absl::StrCat(domain.NameFor(principal), " translates for the guest of ", viommu,
                              ", which has no name for ", device.Name()))
        .Errno("ENOENT")
        .Resource(device.Name())
        .Violation(absl::StrCat("make a vdevice of ", device.Name(), " in ", viommu));
  }
  return absl::OkStatus();
}

}  // namespace viommu
