#include "engine/model/default_domains.h"

#include "absl/strings/str_cat.h"

namespace viommu {
namespace {

const IommuSpec* UnitOf(const Model& model, const Device& device) {
  for (const IommuSpec& iommu : model.backend().topology().iommus) {
    if (iommu.id == device.spec.iommu) return &iommu;
  }
  return nullptr;
}

// Why a member's unit lacks something, said by `what`; empty: every member's unit has it.
std::string Lacking(const Model& model, const Group& group, bool (*has)(const IommuSpec&),
                    absl::string_view what) {
  for (const DeviceIndex index : group.members) {
    const IommuSpec* const iommu = UnitOf(model, model.devices[index]);
    if (iommu == nullptr || has(*iommu)) continue;
    return absl::StrCat("iommus/", iommu->id, " of ", model.devices[index].Name(), " can not ",
                        what);
  }
  return "";
}

// The first member for which `holds`; null: none.
template <typename F>
const Device* FindMember(const Model& model, const Group& group, F&& holds) {
  for (const DeviceIndex index : group.members) {
    if (holds(model.devices[index].spec)) return &model.devices[index];
  }
  return nullptr;
}

const Device* Untrusted(const Model& model, const Group& group) {
  return FindMember(model, group, [](const DeviceSpec& spec) { return spec.untrusted; });
}

// The first member that does not allow IDENTITY.
const Device* Forbidding(const Model& model, const Group& group) {
  return FindMember(model, group, [](const DeviceSpec& spec) { return !spec.allow_identity; });
}

// The first member that asks for `type`.
const Device* Asking(const Model& model, const Group& group, DefaultDomainType type) {
  return FindMember(model, group, [type](const DeviceSpec& s) { return s.default_domain == type; });
}

std::string Unavailable(const Model& model, const Group& group, DefaultDomainType type) {
  if (type == DefaultDomainType::kIdentity) return IdentityUnavailable(model, group);
  return Lacking(
      model, group, [](const IommuSpec& unit) { return unit.deferred_flush; },
      "defer invalidations");
}

}  // namespace

std::string IdentityUnavailable(const Model& model, const Group& group) {
  return Lacking(model, group, &HasPassThrough, "pass addresses through");
}

DefaultDomainType DefaultDomainFor(const Model& model, const Group& group, DefaultDomainType asked,
                                   std::string* fallback) {
  fallback->clear();
  if (asked == DefaultDomainType::kDma) return asked;
  const Device* const untrusted = Untrusted(model, group);
  *fallback = untrusted == nullptr
                  ? Unavailable(model, group, asked)
                  : absl::StrCat(untrusted->Name(),
                                 " is untrusted and therefore always translated, strictly");
  return fallback->empty() ? asked : DefaultDomainType::kDma;
}

DefaultDomainType InitialDefaultDomain(const Model& model, const Group& group,
                                       std::string* fallback) {
  const bool identity = Asking(model, group, DefaultDomainType::kIdentity) != nullptr;
  const bool deferred = Asking(model, group, DefaultDomainType::kDmaFq) != nullptr;
  const Device* const strict = Asking(model, group, DefaultDomainType::kDma);
  const DefaultDomainType asked = identity   ? DefaultDomainType::kIdentity
                                  : deferred ? DefaultDomainType::kDmaFq
                                             : DefaultDomainType::kDma;
  const DefaultDomainType type = DefaultDomainFor(model, group, asked, fallback);
  if (type == DefaultDomainType::kDma) return type;
  if (type == DefaultDomainType::kIdentity) {
    const Device* const forbidding = Forbidding(model, group);
    if (forbidding == nullptr) return type;
    *fallback = absl::StrCat("allow_identity is not set for ", forbidding->Name());
    return DefaultDomainType::kDma;
  }
  if (strict == nullptr) return type;
  *fallback = absl::StrCat(strict->Name(), " of the same group asks for strict invalidation");
  return DefaultDomainType::kDma;
}

std::vector<DefaultDomainType> AvailableDefaultDomains(const Model& model, const Group& group) {
  const bool trusted = Untrusted(model, group) == nullptr;
  std::vector<DefaultDomainType> available;
  if (trusted && Forbidding(model, group) == nullptr && IdentityUnavailable(model, group).empty()) {
    available.push_back(DefaultDomainType::kIdentity);
  }
  available.push_back(DefaultDomainType::kDma);
  if (trusted && Unavailable(model, group, DefaultDomainType::kDmaFq).empty()) {
    available.push_back(DefaultDomainType::kDmaFq);
  }
  return available;
}

}  // namespace viommu
