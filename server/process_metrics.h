// server/process_metrics.h -- What the process takes of its machine, under the names that every
// Prometheus client has for it; asked for at every scrape.
//
//   process_cpu_seconds_total       of all its threads, in user and kernel mode
//   process_max_fds                 how many files it may have open: the soft limit
//   process_open_fds
//   process_resident_memory_bytes
//   process_start_time_seconds
#ifndef VIOMMU_SERVER_PROCESS_METRICS_H_
#define VIOMMU_SERVER_PROCESS_METRICS_H_

#include <vector>

#include "absl/time/time.h"
#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"

namespace viommu {

// Thread-safe. What the kernel does not tell, as when no file can be opened, is left out that time.
class ProcessMetrics : public prometheus::Collectable {
 public:
  explicit ProcessMetrics(absl::Time start_time) : start_time_(start_time) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const absl::Time start_time_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_PROCESS_METRICS_H_
