// clients/device_plugin/selector.h -- Which devices a resource offers.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_SELECTOR_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_SELECTOR_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "clients/device_plugin/plugin_config.h"
#include "viommu/config/v1/device_plugin.pb.h"
#include "viommu/v1/device.pb.h"

namespace viommu {

// "0000:01:00.0" of "devices/0000:01:00.0".
std::string IdOfDevice(absl::string_view name);
std::string NameOfDevice(absl::string_view id);

// Whether everything that the selector asks for holds for the device, behind the given hardware.
bool Selects(const config::v1::DeviceSelector& selector, const v1::Device& device,
             const v1::HardwareInfo& hardware);

// The first resource that selects the device; null: none does.
const OfferedResource* ResourceOf(const std::vector<OfferedResource>& resources,
                                  const v1::Device& device, const v1::HardwareInfo& hardware);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_SELECTOR_H_
