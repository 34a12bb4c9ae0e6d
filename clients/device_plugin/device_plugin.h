// clients/device_plugin/device_plugin.h -- The plugin: its parts, put together and taken apart in
// order.
//
// Everything that it knows it learns: of viommud what devices and allocations there are, of the
// kubelet what pods have. It keeps no file.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_DEVICE_PLUGIN_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_DEVICE_PLUGIN_H_

#include <optional>

#include "absl/time/time.h"
#include "clients/device_plugin/allocator.h"
#include "clients/device_plugin/inventory.h"
#include "clients/device_plugin/keeper.h"
#include "clients/device_plugin/plugin_config.h"
#include "clients/device_plugin/plugin_metrics.h"
#include "clients/device_plugin/registrar.h"
#include "clients/device_plugin/viommud.h"
#include "prometheus/registry.h"
#include "server/log.h"
#include "server/rpc_metrics.h"

namespace viommu {

// Works until it is destroyed; allocations stay. Thread-safe.
class DevicePlugin {
 public:
  struct Options {
    Registrar::Options registrar;
    // Instead of those of the config.
    std::optional<Keeper::Options> keeper;
    std::optional<absl::Duration> viommud_patience;
    // For one call.
    absl::Duration viommud_timeout = Viommud::kCallTimeout;
  };

  // All outlive this.
  DevicePlugin(const PluginConfig* config, const Options& options, prometheus::Registry* registry,
               Log* log);

  // Whether viommud answers, and the kubelet follows the lists of all resources.
  bool IsReady() const { return inventory_.Get().present && registrar_.IsFollowed(); }

 private:
  Viommud viommud_;
  PluginMetrics metrics_;
  RpcMetrics rpc_metrics_;
  Inventory inventory_;
  Allocator allocator_;
  PluginParts parts_;
  Keeper keeper_;
  Registrar registrar_;
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_DEVICE_PLUGIN_H_
