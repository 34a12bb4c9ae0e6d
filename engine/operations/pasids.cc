#include "engine/operations/pasids.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

int UnitPasidBits(const Model& model, const std::string& iommu) {
  for (const IommuSpec& spec : model.backend().topology().iommus) {
    if (spec.id == iommu) return PasidBits(spec);
  }
  return 0;
}

absl::Status Incompatible(const Device& device, absl::string_view message,
                          absl::string_view violation) {
  return Error(absl::StatusCode::kFailedPrecondition, "PASID_INCOMPATIBLE", message)
      .Errno("EINVAL")
      .Resource(device.Name())
      .Violation(violation);
}

// The first PASID at which a member of the group is attached; none: there is none.
PasidOrRid FirstAttachedPasid(const Group& group) {
  const auto it = group.targets.upper_bound(std::nullopt);
  return it == group.targets.end() ? std::nullopt : it->first;
}

}  // namespace

absl::StatusOr<uint32_t> HighestPasid(const Model& model, const Device& device) {
  int bits = UnitPasidBits(model, device.spec.iommu);
  for (const DeviceIndex index : model.GroupOf(device).members) {
    const Device& member = model.devices[index];
    bits = std::min(bits, member.spec.pasid_bits);
    if (bits > 0) continue;
    return Error(absl::StatusCode::kUnimplemented, "PASID_UNAVAILABLE",
                 absl::StrCat(member.Name(), " issues no PASIDs"))
        .Errno("EOPNOTSUPP")
        .Resource(member.Name());
  }
  return (uint32_t{1} << bits) - 1;
}

absl::Status CheckPasid(const Model& model, const Device& device, const std::string& field,
                        uint32_t pasid) {
  if (pasid == 0) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_PASID",
                 "PASID 0 stands for the requests without PASID; leave the field out for those")
        .Errno("EINVAL")
        .Field(field);
  }
  ASSIGN_OR_RETURN(const uint32_t highest, HighestPasid(model, device));
  if (pasid <= highest) return absl::OkStatus();
  return Error(absl::StatusCode::kOutOfRange, "PASID_OUT_OF_RANGE",
               absl::StrCat("PASID ", pasid, " is not from 1 to ", highest, ", what the group of ",
                            device.Name(), " can use"))
      .Errno("EINVAL")
      .Field(field)
      .Resource(device.Name())
      .Meta("highest_pasid", absl::StrCat(highest));
}

bool ServesPasids(const Model& model, const DomainTarget& target) {
  if (target.kind != DomainTarget::Kind::kDomain) return true;
  return model.Get<Domain>(target.domain)->spec.pasid;
}

absl::Status CheckPasidCompatible(const Model& model, const Device& device, PasidOrRid pasid,
                                  const DomainTarget& target, absl::string_view principal) {
  const Group& group = model.GroupOf(device);
  if (!ServesPasids(model, target)) {
    const std::string name = model.TargetName(target, principal);
    if (pasid.has_value()) {
      return Incompatible(device, absl::StrCat(name, " was not made for PASIDs"),
                          "take a domain that was made for PASIDs");
    }
    if (const PasidOrRid attached = FirstAttachedPasid(group)) {
      return Incompatible(
          device,
          absl::StrCat(name, " was not made to stand beside PASIDs, and PASID ", *attached,
                       " of the group is attached"),
          absl::StrCat("detach PASID ", *attached, ", or take a domain that was made for PASIDs"));
    }
  }
  const DomainTarget rid = group.TargetAt(std::nullopt);
  if (!pasid.has_value() || ServesPasids(model, rid)) return absl::OkStatus();
  const std::string name = model.TargetName(rid, principal);
  return Incompatible(device,
                      absl::StrCat("the requests without PASID of the group are on ", name,
                                   ", which was not made to stand beside PASIDs"),
                      absl::StrCat("replace ", name, " by a domain that was made for PASIDs"));
}

absl::Status CheckProcessPasid(const Model& model, const Device& device, PasidOrRid pasid,
                               const DomainTarget& target, absl::string_view principal) {
  if (target.kind == DomainTarget::Kind::kDomain) {
    const Domain& domain = *model.Get<Domain>(target.domain);
    if (domain.sva()) {
      const uint32_t own = *model.process_pasids.Of(domain.ioas);
      if (pasid == own) return absl::OkStatus();
      return Error(absl::StatusCode::kFailedPrecondition, "SVA_PASID",
                   absl::StrCat(domain.NameFor(principal), " serves PASID ", own,
                                ", that of its process, and nothing else"))
          .Errno("EINVAL")
          .Field("pasid")
          .Resource(device.Name())
          .Violation(absl::StrCat("attach it at PASID ", own));
    }
  }
  if (!pasid.has_value() || !model.process_pasids.Has(*pasid)) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "PASID_TAKEN",
               absl::StrCat("PASID ", *pasid, " is that of a process"))
      .Errno("EBUSY")
      .Field("pasid")
      .Resource(device.Name())
      .Violation("take another PASID");
}

absl::Status AutoDomainsServeNoPasids(const Device& device) {
  return Incompatible(device,
                      absl::StrCat("a domain that the attachment of ", device.Name(),
                                   " makes for itself serves no PASIDs"),
                      "make a domain for PASIDs, and attach to that");
}

absl::Status CheckPasidIsOf(const Device& device, uint32_t pasid, const PasidEntry& entry,
                            absl::string_view principal) {
  if (entry.owner == principal) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "PASID_TAKEN",
               absl::StrCat("PASID ", pasid, " of ", device.Name(), " is another principal's"))
      .Errno("EBUSY")
      .Resource(device.Name())
      .Violation("take another PASID");
}

std::string NameAt(const Device& device, PasidOrRid pasid) {
  return pasid.has_value() ? absl::StrCat(device.Name(), " pasid ", *pasid) : device.Name();
}

}  // namespace viommu
