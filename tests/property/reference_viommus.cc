// Viommus and vdevices by the reference.
#include <algorithm>

#include "tests/property/reference.h"

namespace viommu::property {

bool Reference::CreateViommu(int number, int device, int parent) {
  const IommuSpec& unit = UnitOf(device);
  if (viommus_.count(number) > 0 || !present_[device] || !GroupOf(device).claimed) return false;
  const auto found = domains_.find(parent);
  if (!IsArm(device) || !HasNesting(unit) || found == domains_.end()) return false;
  if (!found->second.nest_parent || !CanUse(device, parent)) return false;
  const bool taken = std::any_of(viommus_.begin(), viommus_.end(), [&](const auto& entry) {
    return entry.second.parent == parent && entry.second.iommu == unit.id;
  });
  if (taken) return false;
  viommus_[number] = {parent, unit.id};
  return true;
}

bool Reference::DestroyViommu(int number) {
  const bool has_domains = std::any_of(domains_.begin(), domains_.end(), [&](const auto& entry) {
    return entry.second.viommu == number;
  });
  const bool has_vdevices = std::any_of(vdevices_.begin(), vdevices_.end(),
                                        [&](const auto& entry) { return entry.second == number; });
  return !has_domains && !has_vdevices && viommus_.erase(number) > 0;
}

bool Reference::CreateVdevice(int number, int device) {
  const auto viommu = viommus_.find(number);
  if (viommu == viommus_.end() || !present_[device] || !GroupOf(device).claimed) return false;
  if (viommu->second.iommu != UnitOf(device).id || vdevices_.count(device) > 0) return false;
  vdevices_[device] = number;
  return true;
}

bool Reference::DestroyVdevice(int device) {
  const auto vdevice = vdevices_.find(device);
  if (vdevice == vdevices_.end()) return false;
  // Whichever member is attached, the requests of all are on the domain.
  const RefDomain* const domain = DomainAt({device, kRid});
  const bool used =
      domain != nullptr && domain->needs_vdevices() && domain->viommu == vdevice->second;
  if (used) return false;
  vdevices_.erase(vdevice);
  return true;
}

}  // namespace viommu::property
