#include "clients/device_plugin/device_plugin.h"

#include "kubelet/deviceplugin/v1beta1/deviceplugin.grpc.pb.h"

namespace viommu {

DevicePlugin::DevicePlugin(const PluginConfig* config, const Options& options,
                           prometheus::Registry* registry, Log* log)
    : viommud_(config->viommud_socket, options.viommud_timeout),
      metrics_(config->resources, registry),
      rpc_metrics_(MethodsOf({::v1beta1::DevicePlugin::service_full_name()}), registry),
      inventory_(&viommud_, {options.viommud_patience.value_or(config->viommud_patience)}, log),
      allocator_(config, &viommud_, &inventory_, log),
      parts_{config, &inventory_, &allocator_, &metrics_, log},
      keeper_(
          parts_, &viommud_,
          options.keeper.value_or(Keeper::Options{config->reconcile_period, config->grace_period})),
      registrar_(parts_, &rpc_metrics_, options.registrar) {}

}  // namespace viommu
