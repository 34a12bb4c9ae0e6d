#include "clients/device_plugin/selector.h"

#include <fnmatch.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace viommu {
namespace {

using ::viommu::config::v1::DeviceSelector;

constexpr absl::string_view kDevices = "devices/";
constexpr absl::string_view kIommus = "iommus/";

bool HasArchitecture(DeviceSelector::Architecture wanted, const v1::HardwareInfo& hardware) {
  switch (wanted) {
    case DeviceSelector::ARCHITECTURE_UNSPECIFIED:
      return true;
    case DeviceSelector::ARCHITECTURE_VTD:
      return hardware.type() == v1::HARDWARE_TYPE_VTD;
    case DeviceSelector::ARCHITECTURE_ARM_SMMU_V3:
      return hardware.type() == v1::HARDWARE_TYPE_ARM_SMMU_V3;
    default:
      return false;
  }
}

bool HasCapability(int wanted, const v1::HardwareCapabilities& capabilities) {
  switch (wanted) {
    case DeviceSelector::CAPABILITY_PASID:
      return capabilities.max_pasid_log2() > 0;
    case DeviceSelector::CAPABILITY_ATS:
      return capabilities.ats();
    case DeviceSelector::CAPABILITY_PAGE_REQUESTS:
      return capabilities.page_requests();
    case DeviceSelector::CAPABILITY_NESTING:
      return capabilities.nesting();
    case DeviceSelector::CAPABILITY_DIRTY_TRACKING:
      return capabilities.dirty_tracking();
    default:
      return false;
  }
}

// An empty list asks for nothing.
template <typename List, typename Value>
bool Lists(const List& list, const Value& value) {
  return list.empty() || std::find(list.begin(), list.end(), value) != list.end();
}

bool IsNear(const DeviceSelector& selector, const v1::Device& device) {
  if (selector.numa_node().empty()) return true;
  return device.has_numa_node() && Lists(selector.numa_node(), device.numa_node());
}

bool MatchesAny(const DeviceSelector& selector, const std::string& id) {
  if (selector.address_pattern().empty()) return true;
  return std::any_of(
      selector.address_pattern().begin(), selector.address_pattern().end(),
      [&id](const std::string& pattern) { return fnmatch(pattern.c_str(), id.c_str(), 0) == 0; });
}

}  // namespace

std::string IdOfDevice(absl::string_view name) {
  return std::string(absl::StripPrefix(name, kDevices));
}

std::string NameOfDevice(absl::string_view id) { return absl::StrCat(kDevices, id); }

bool Selects(const DeviceSelector& selector, const v1::Device& device,
             const v1::HardwareInfo& hardware) {
  return HasArchitecture(selector.architecture(), hardware) &&
         Lists(selector.iommu(), std::string(absl::StripPrefix(device.iommu(), kIommus))) &&
         IsNear(selector, device) &&
         std::all_of(
             selector.capabilities().begin(), selector.capabilities().end(),
             [&hardware](int wanted) { return HasCapability(wanted, hardware.capabilities()); }) &&
         MatchesAny(selector, IdOfDevice(device.name()));
}

const OfferedResource* ResourceOf(const std::vector<OfferedResource>& resources,
                                  const v1::Device& device, const v1::HardwareInfo& hardware) {
  for (const OfferedResource& resource : resources) {
    if (Selects(resource.selector, device, hardware)) return &resource;
  }
  return nullptr;
}

}  // namespace viommu
