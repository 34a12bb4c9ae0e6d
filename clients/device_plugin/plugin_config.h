// clients/device_plugin/plugin_config.h -- The plugin's settings, from the command line and a file.
//
// viommu.config.v1.DevicePluginConfig is the one list of settings, and says what each means.
// Nothing is half right: every problem is reported, naming the flag or the place in the file.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_PLUGIN_CONFIG_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_PLUGIN_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/log.h"
#include "server/settings.h"
#include "server/text_file.h"
#include "viommu/config/v1/device_plugin.pb.h"

namespace viommu {

// An extended resource of the node.
struct OfferedResource {
  std::string name;         // "example.com/vtd-pasid".
  std::string short_name;   // "vtd-pasid"; no other resource has it.
  std::string environment;  // "VIOMMU_VTD_PASID", which its variables begin with; nor this.
  config::v1::DeviceSelector selector;
  config::v1::AllocationDomain domain;
};

// Settings that can be used.
struct PluginConfig {
  std::string viommud_socket;
  std::string device_plugin_dir;
  std::string pod_resources_socket;  // Empty: nothing is reconciled.
  std::string own_pod;               // "NAMESPACE/NAME"; empty: not known.
  std::string listener_dir;          // Empty: as viommud sees it.
  std::string host_listener_dir;     // The same.
  std::string container_dir;
  std::string metrics_address;  // Empty: no metrics.
  std::string health_address;   // Empty: no health server.
  LogLevel log_level = LogLevel::kInfo;
  bool device_nodes = false;  // MODE_CDEV.
  std::string cdi_kind;       // Empty: no CDI names.
  std::string dev_dir;
  std::string sysfs_dir;
  uint32_t listener_mode = 0;
  std::optional<uint32_t> listener_uid;
  std::optional<uint32_t> listener_gid;
  absl::Duration reconcile_period;
  absl::Duration grace_period;
  absl::Duration viommud_patience;
  std::vector<OfferedResource> resources;
};

// `arguments` without the program's name; problems as those of ParseFlags.
CommandLine ParsePluginCommandLine(const std::vector<std::string>& arguments, Problems* problems);

// The answer can be used only when nothing was appended to `problems`.
PluginConfig LoadPluginConfig(const CommandLine& command_line, Problems* problems);

// What --help prints.
std::string PluginHelpText();

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_PLUGIN_CONFIG_H_
