// clients/device_plugin/plugin_metrics.h -- The plugin's own series, beside those of its calls
// (grpc_server_*, server/rpc_metrics.h) and of its process (server/process_metrics.h).
//
//   viommu_device_plugin_devices                   devices {resource, health}
//   viommu_device_plugin_unhealthy_devices         of these the unhealthy ones {resource, reason}
//   viommu_device_plugin_allocated_devices         that an allocation holds {resource}
//   viommu_device_plugin_allocations_total         made {resource, result}
//   viommu_device_plugin_renewals_total            allocations made as new {resource, result}
//   viommu_device_plugin_registrations_total       with the kubelet {resource, result}
//   viommu_device_plugin_kubelet_streams           lists that the kubelet follows {resource}
//   viommu_device_plugin_viommud_up                whether viommud answers
//   viommu_device_plugin_pod_resources_up          whether the kubelet says which pods there are
//   viommu_device_plugin_leaked_allocations        that no pod has, and that are not freed yet
//   viommu_device_plugin_freed_allocations_total   that no pod had any more {result}
//
// All exist from the start.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_PLUGIN_METRICS_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_PLUGIN_METRICS_H_

#include <map>
#include <string>
#include <vector>

#include "clients/device_plugin/plugin_config.h"
#include "clients/device_plugin/roster.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/registry.h"

namespace viommu {

// How often something was done and how often that failed.
struct Outcomes {
  void Count(bool ok) const { (ok ? succeeded : failed)->Increment(); }

  prometheus::Counter* succeeded = nullptr;
  prometheus::Counter* failed = nullptr;
};

// The series of one resource. Thread-safe.
struct ResourceMetrics {
  void Show(const std::vector<RosterEntry>& roster) const;

  prometheus::Gauge* healthy = nullptr;
  prometheus::Gauge* unhealthy = nullptr;
  prometheus::Gauge* allocated = nullptr;
  std::map<std::string, prometheus::Gauge*> by_reason;
  Outcomes allocations;
  Outcomes renewals;
  Outcomes registrations;
  prometheus::Gauge* kubelet_streams = nullptr;
};

// Immutable after construction, so thread-safe.
class PluginMetrics {
 public:
  // The series live in `registry`, which must outlive this.
  PluginMetrics(const std::vector<OfferedResource>& resources, prometheus::Registry* registry);

  // Of one of the resources.
  const ResourceMetrics& Of(const OfferedResource& resource) const {
    return resources_.at(resource.name);
  }

  prometheus::Gauge* viommud_up = nullptr;
  prometheus::Gauge* pod_resources_up = nullptr;
  prometheus::Gauge* leaked = nullptr;
  Outcomes freed;

 private:
  std::map<std::string, ResourceMetrics> resources_;
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_PLUGIN_METRICS_H_
