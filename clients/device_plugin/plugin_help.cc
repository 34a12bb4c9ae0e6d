#include "clients/device_plugin/plugin_config.h"

namespace viommu {

std::string PluginHelpText() {
  return R"(viommu-device-plugin offers viommud's devices to the kubelet.

Usage: viommu-device-plugin --config FILE [--FLAG VALUE]...

The file names the resources (protobuf text format,
proto/viommu/config/v1/device_plugin.proto). Every flag is also a field of it; a
flag wins over the file.

Where it finds and is found
  --viommud_socket PATH       operator's socket     [/run/viommu/viommud.sock]
  --device_plugin_dir DIR     the kubelet's    [/var/lib/kubelet/device-plugins]
  --pod_resources_dir DIR     the kubelet's; empty: nothing is reconciled
                                                [/var/lib/kubelet/pod-resources]
  --own_pod NAMESPACE/NAME    where this runs: pods are only known when the
                              kubelet tells of it, too       [not looked for]
  --listener_dir DIR          viommud's listener_dir, as seen here
                                                              [as viommud says]
  --host_listener_dir DIR     the same, as the kubelet sees it [as viommud says]
  --metrics_address HOST:PORT /metrics for Prometheus; empty: off
                                                              [127.0.0.1:9479]
  --health_address HOST:PORT  gRPC health for probes                      [off]

What a container gets
  --container_dir DIR         where its socket's directory is    [/run/viommu]
  --mode MODE                 soft: no device nodes; cdev: /dev/iommu and
                              /dev/vfio/devices/vfioN                    [soft]
  --cdi_kind VENDOR/CLASS     also CDI names, with cdev                   [off]
  --dev_dir DIR               device nodes of the host                   [/dev]
  --sysfs_dir DIR             sysfs of the host, as seen here            [/sys]
  --listener_mode MODE        of its socket: 0600, 0660, 0606 or 0666    [0666]
  --listener_uid N            user and group of its socket      [viommud's own]
  --listener_gid N

When it acts
  --reconcile_period_seconds N
                              between looks at the pods that there are     [30]
  --grace_period_seconds N    that no pod must have had a device before it is
                              freed                                       [120]
  --viommud_patience_seconds N
                              that viommud may be away before devices are
                              unhealthy                                     [5]

Other
  --log_level LEVEL           debug, info, warning or error              [info]
  --config FILE               reads settings from a file
  --version                   prints the version
  --help                      prints this

Exit codes: 0 stopped when told to, 1 failure, 2 unusable settings.
)";
}

}  // namespace viommu
