// server/mapping_metrics.h -- How large map and unmap batches are and how long they take.
//
//   viommu_map_batch_entries, viommu_map_batch_seconds          {path="unary|stream"}
//   viommu_unmap_batch_entries, viommu_unmap_batch_seconds      {path="unary|stream"}
#ifndef VIOMMU_SERVER_MAPPING_METRICS_H_
#define VIOMMU_SERVER_MAPPING_METRICS_H_

#include <cstddef>

#include "absl/time/time.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace viommu {

// Thread-safe.
class MappingMetrics {
 public:
  // How a batch came in.
  enum class Path { kUnary, kStream };

  // The series live in `registry`, which must outlive this.
  explicit MappingMetrics(prometheus::Registry* registry);

  // A batch was answered, with whatever status, `took` after it had come in.
  void ObserveMap(Path path, size_t entries, absl::Duration took) {
    Observe(map_[static_cast<size_t>(path)], entries, took);
  }
  void ObserveUnmap(Path path, size_t entries, absl::Duration took) {
    Observe(unmap_[static_cast<size_t>(path)], entries, took);
  }

 private:
  struct Series {
    prometheus::Histogram* entries = nullptr;
    prometheus::Histogram* seconds = nullptr;
  };

  static void Observe(const Series& series, size_t entries, absl::Duration took) {
    series.entries->Observe(static_cast<double>(entries));
    series.seconds->Observe(absl::ToDoubleSeconds(took));
  }

  Series map_[2];  // By Path.
  Series unmap_[2];
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_MAPPING_METRICS_H_
