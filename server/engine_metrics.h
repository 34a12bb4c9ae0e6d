// server/engine_metrics.h -- The engine's numbers as viommu_* series, asked for at every scrape.
//
//   viommu_build_info{version,backend}                  1
//   viommu_objects{kind}                                live objects
//   viommu_mappings, viommu_mapped_bytes                areas of all address spaces
//   viommu_claimed_devices, viommu_attached_devices
//   viommu_remembered_requests                          request ids kept for repeats
//   viommu_limit_refusals_total{limit}                  calls and batches that would have passed
//   one viommu_table_pages                                  4 KiB pages in tables and queues
//   viommu_invalidations_total{kind}
//   viommu_invalidation_queue_depth{iommu}              descriptors not yet taken by the hardware
//   viommu_invalidation_waits_total{iommu}, viommu_invalidation_errors_total{iommu}
//   viommu_dma_faults_total{reason}
//   viommu_attach_transitions_total{kind,hitless}
//
// No name of an object, address or request is ever a label.
#ifndef VIOMMU_SERVER_ENGINE_METRICS_H_
#define VIOMMU_SERVER_ENGINE_METRICS_H_

#include <functional>
#include <string>
#include <vector>

#include "engine/types.h"
#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"

namespace viommu {

// Thread-safe.
class EngineMetrics : public prometheus::Collectable {
 public:
  // `stats` is called at every scrape, from any thread, for as long as this lives.
  EngineMetrics(std::function<EngineStats()> stats, std::string version, std::string backend)
      : stats_(std::move(stats)), version_(std::move(version)), backend_(std::move(backend)) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const std::function<EngineStats()> stats_;
  const std::string version_;
  const std::string backend_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_ENGINE_METRICS_H_
