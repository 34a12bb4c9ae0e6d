// server/engine_metrics.h -- The engine's numbers as viommu_* series, asked for at every scrape.
//
//   viommu_build_info{version,backend}                  1
//   viommu_boot_info{boot_id}                           1; another id: state was lost
//   viommu_objects{kind}                                live objects
//   viommu_mappings, viommu_mapped_bytes                areas of all address spaces
//   viommu_suspended_objects{kind}                      of them, what lost its memory
//   viommu_claimed_devices, viommu_attached_devices
//   viommu_unhealthy_devices{cause}
//   viommu_quarantined_devices                          blocked until a reset succeeds
//   viommu_remembered_requests                          request ids kept for repeats
//   viommu_limit_refusals_total{limit}                  calls and batches that a limit refused
//   viommu_events_waiting, viommu_events_lost_total     of guests' virtual IOMMUs
//   viommu_table_pages, viommu_table_pages_limit        4 KiB pages in tables and queues
//   viommu_invalidations_total{kind}
//   viommu_invalidation_queue_depth{iommu}              descriptors not yet taken by the hardware
//   viommu_invalidation_queue_entries{iommu}            the queue's size
//   viommu_invalidation_waits_total{iommu}, viommu_invalidation_errors_total{iommu},
//   viommu_invalidation_timeouts_total{iommu}
//   viommu_dma_faults_total{reason}
//   viommu_attach_transitions_total{kind,hitless}
//
// No name of an object, address or request is ever a label.
#ifndef VIOMMU_SERVER_ENGINE_METRICS_H_
#define VIOMMU_SERVER_ENGINE_METRICS_H_

#include <functional>
#include <utility>
#include <vector>

#include "engine/types.h"
#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"

namespace viommu {

// Thread-safe.
class EngineMetrics : public prometheus::Collectable {
 public:
  // `stats` is called at every scrape, from any thread, for as long as this lives. What `host` says
  // of the process stays as it is.
  EngineMetrics(std::function<EngineStats()> stats, HostView host)
      : stats_(std::move(stats)), host_(std::move(host)) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const std::function<EngineStats()> stats_;
  const HostView host_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_ENGINE_METRICS_H_
