// Flags and a settings file are refused with what is wrong, or give settings that the kubelet, a
// file system and every device can be met with.
#include <sys/un.h>

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "clients/device_plugin/plugin_config.h"
#include "clients/device_plugin/selector.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/memory_file.h"
#include "viommu/v1/device.pb.h"

namespace viommu {
namespace {

using fuzz::Check;

constexpr size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path) - 1;

void CheckPaths(const PluginConfig& config) {
  for (const std::string& path : {config.viommud_socket, config.device_plugin_dir,
                                  config.container_dir, config.dev_dir, config.sysfs_dir}) {
    Check(absl::StartsWith(path, "/"), "a path that depends on where the plugin runs");
  }
  for (const std::string& path :
       {config.pod_resources_socket, config.listener_dir, config.host_listener_dir}) {
    Check(path.empty() || absl::StartsWith(path, "/"), "a path that depends on where it runs");
  }
  Check(config.viommud_socket.size() <= kMaxSocketPath, "viommud's socket can not be");
  Check(config.pod_resources_socket.size() <= kMaxSocketPath, "the kubelet's socket can not be");
}

void CheckResources(const PluginConfig& config) {
  Check(!config.resources.empty(), "nothing is offered");
  std::set<std::string> environments;
  for (const OfferedResource& resource : config.resources) {
    Check(absl::EndsWith(resource.name, "/" + resource.short_name), "a name without its end");
    Check(!resource.short_name.empty() && !absl::StrContains(resource.short_name, '/'),
          "a socket in another directory");
    const std::string socket =
        config.device_plugin_dir + "/viommu-" + resource.short_name + "-00000000.sock";
    Check(socket.size() <= kMaxSocketPath, "a resource's socket can not be");
    Check(environments.insert(resource.environment).second, "variables of two resources");
    for (const char c : resource.environment) {
      Check(c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'),
            "a variable that no shell knows");
    }
  }
}

// However a pattern looks, whether it selects a device is decided soon. A resource that asks for
// nothing offers whatever those before it do not.
void CheckSelection(const PluginConfig& config) {
  v1::Device device;
  device.set_name("devices/0000:01:00.0");
  device.set_numa_node(1);
  const OfferedResource* const first = ResourceOf(config.resources, device, v1::HardwareInfo());
  for (const OfferedResource& resource : config.resources) {
    if (&resource == first) return;
    Check(resource.selector.ByteSizeLong() > 0, "a device that whatever there is has to select");
  }
}

void CheckLimits(const PluginConfig& config) {
  Check(config.listener_mode == 0600 || config.listener_mode == 0660 ||
            config.listener_mode == 0606 || config.listener_mode == 0666,
        "a mode that was not offered");
  Check(config.cdi_kind.empty() || config.device_nodes, "CDI names without device nodes");
  Check(config.reconcile_period >= absl::Seconds(1) && config.reconcile_period <= absl::Hours(1),
        "reconcile_period out of its range");
  Check(config.grace_period >= absl::Seconds(1) && config.grace_period <= absl::Hours(24),
        "grace_period out of its range");
  Check(config.viommud_patience >= absl::ZeroDuration() &&
            config.viommud_patience <= absl::Minutes(10),
        "viommud_patience out of its range");
}

// The arguments, one a line, an empty line, the file.
void CheckPluginConfig(absl::string_view input) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(input, absl::MaxSplits("\n\n", 1));
  const std::vector<std::string> arguments = absl::StrSplit(parts.first, '\n', absl::SkipEmpty());
  Problems problems;
  CommandLine line = ParsePluginCommandLine(arguments, &problems);
  // The plugin loads nothing from a command line that it did not understand.
  if (!problems.empty()) return;
  const fuzz::MemoryFile file(parts.second);
  // Never a path of the fuzzer's choice.
  line.config_file = file.path();
  const PluginConfig config = LoadPluginConfig(line, &problems);
  for (const std::string& problem : problems) Check(!problem.empty(), "a problem without words");
  if (!problems.empty()) return;
  CheckPaths(config);
  CheckLimits(config);
  CheckResources(config);
  CheckSelection(config);
}

}  // namespace
}  // namespace viommu

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  viommu::CheckPluginConfig({reinterpret_cast<const char*>(data), size});
  return 0;
}
