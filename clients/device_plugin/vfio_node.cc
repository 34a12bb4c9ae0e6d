#include "clients/device_plugin/vfio_node.h"

#include <filesystem>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/device_plugin/plugin_error.h"

namespace viommu {

absl::StatusOr<std::string> VfioNode(const std::string& sysfs_dir, const std::string& pci_address) {
  const std::string directory =
      absl::StrCat(sysfs_dir, "/bus/pci/devices/", pci_address, "/vfio-dev");
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    std::string name = entry->path().filename().string();
    if (absl::StartsWith(name, "vfio")) return name;
  }
  return PluginError(
      absl::StatusCode::kFailedPrecondition, "NO_VFIO_NODE",
      absl::StrCat(pci_address, " has no device in ", directory, ": is it bound to vfio-pci?"));
}

}  // namespace viommu
