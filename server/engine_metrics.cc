#include "server/engine_metrics.h"

#include <initializer_list>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "prometheus/client_metric.h"
#include "prometheus/metric_type.h"

namespace viommu {
namespace {

using ::prometheus::ClientMetric;
using ::prometheus::MetricFamily;
using ::prometheus::MetricType;

// Collects families; values are added to the one that was begun last.
class Families {
 public:
  void Begin(MetricType type, absl::string_view name, absl::string_view help) {
    families_.push_back({std::string(name), std::string(help), type, {}});
  }

  // Exact up to 2^53; a Prometheus sample has no more.
  void Add(std::initializer_list<ClientMetric::Label> labels, uint64_t value) {
    ClientMetric metric;
    metric.label = labels;
    if (families_.back().type == MetricType::Counter) {
      metric.counter.value = static_cast<double>(value);
    } else {
      metric.gauge.value = static_cast<double>(value);
    }
    families_.back().metric.push_back(std::move(metric));
  }

  void Gauge(absl::string_view name, absl::string_view help, uint64_t value) {
    Begin(MetricType::Gauge, name, help);
    Add({}, value);
  }

  // One value for each entry of `values`, whose name goes into `label`.
  void Each(MetricType type, absl::string_view name, absl::string_view help, const char* label,
            const std::vector<std::pair<std::string, uint64_t>>& values) {
    Begin(type, name, help);
    for (const auto& [key, value] : values) Add({{label, key}}, value);
  }

  std::vector<MetricFamily> Take() { return std::move(families_); }

 private:
  std::vector<MetricFamily> families_;
};

void AddHost(const HostView& host, Families* families) {
  families->Begin(MetricType::Gauge, "viommu_build_info", "1, with what is running as labels.");
  families->Add({{"version", host.version}, {"backend", host.backend}}, uint64_t{1});
  families->Begin(MetricType::Gauge, "viommu_boot_info",
                  "1, with the boot's id as label: another one means that state was lost.");
  families->Add({{"boot_id", host.boot_id}}, uint64_t{1});
}

void AddModel(const EngineStats& stats, Families* families) {
  families->Each(MetricType::Gauge, "viommu_objects", "Live objects by kind.", "kind",
                 stats.objects);
  families->Gauge("viommu_mappings", "Areas mapped in all address spaces.", stats.mappings);
  families->Gauge("viommu_mapped_bytes", "Bytes mapped in all address spaces.", stats.mapped_bytes);
  families->Each(MetricType::Gauge, "viommu_suspended_objects",
                 "Objects that are not in force, because their memory was taken, by kind.", "kind",
                 stats.suspended);
  families->Gauge("viommu_claimed_devices", "Devices that are claimed.", stats.claimed_devices);
  families->Gauge("viommu_attached_devices", "Devices that are attached.", stats.attached_devices);
  families->Each(MetricType::Gauge, "viommu_unhealthy_devices",
                 "Devices that are unhealthy, by cause.", "cause", stats.unhealthy_devices);
  families->Gauge("viommu_quarantined_devices",
                  "Devices that the hardware keeps blocked until a reset of them succeeds.",
                  stats.quarantined_devices);
  families->Begin(MetricType::Counter, "viommu_device_quarantines_total",
                  "Devices blocked because their TLB did not answer an invalidation.");
  families->Add({}, stats.quarantines);
  families->Gauge("viommu_remembered_requests", "Request ids kept for repeated calls.",
                  stats.remembered_requests);
  families->Each(MetricType::Counter, "viommu_limit_refusals_total",
                 "Calls and batches refused because their owner would have passed a limit.",
                 "limit", stats.limit_refusals);
  families->Begin(MetricType::Counter, "viommu_attach_transitions_total",
                  "Changes of a device's domain, by kind and whether DMA saw a gap.");
  for (const EngineStats::Transitions& transition : stats.transitions) {
    families->Add({{"kind", transition.kind}, {"hitless", "true"}}, transition.hitless);
    families->Add({{"kind", transition.kind}, {"hitless", "false"}}, transition.not_hitless);
  }
}

void AddFlushQueues(const EngineStats::FlushQueues& queues, Families* families) {
  families->Gauge("viommu_flush_queue_entries",
                  "Ranges that wait for a deferred flush, in the queues of all groups.",
                  queues.waiting);
  families->Gauge("viommu_flush_queue_depth",
                  "Ranges that wait for a deferred flush, in the fullest queue.", queues.deepest);
  families->Each(MetricType::Counter, "viommu_flush_queue_flushes_total",
                 "Flushes of what was deferred, by cause.", "cause", queues.flushes);
  families->Begin(MetricType::Counter, "viommu_flush_queue_failures_total",
                  "Flushes of what was deferred that failed.");
  families->Add({}, queues.failures);
}

void AddPageFaults(const EngineStats::PageFaults& faults, Families* families) {
  families->Gauge("viommu_page_fault_groups_waiting",
                  "Groups of page faults that wait for an answer, in all fault queues.",
                  faults.waiting);
  families->Gauge("viommu_page_faults_partial",
                  "Page faults that wait for the last one of their group.", faults.partial);
  families->Begin(MetricType::Counter, "viommu_page_fault_groups_lost_total",
                  "Groups of page faults that found their fault queue full.");
  families->Add({}, faults.lost);
  families->Begin(MetricType::Counter, "viommu_page_faults_dropped_total",
                  "Page faults left out of their group, or given up with it.");
  families->Add({}, faults.dropped);
  families->Each(MetricType::Counter, "viommu_page_fault_answers_total",
                 "Groups of page faults that devices were given an answer to, by code.", "code",
                 faults.answered);
}

void AddEvents(const EngineStats::Events& events, Families* families) {
  families->Gauge(
      "viommu_events_waiting",
      "Events of guests' virtual IOMMUs that wait for their reader, in all event queues.",
      events.waiting);
  families->Begin(MetricType::Counter, "viommu_events_lost_total",
                  "Events of guests' virtual IOMMUs that found their event queue full.");
  families->Add({}, events.lost);
}

void AddBackend(const BackendStats& stats, Families* families) {
  families->Gauge("viommu_table_pages", "4 KiB pages used by tables and queues.",
                  stats.table_pages);
  families->Gauge("viommu_table_pages_limit", "4 KiB pages that there are for tables and queues.",
                  stats.table_pages_limit);
  families->Each(MetricType::Counter, "viommu_invalidations_total",
                 "Invalidation descriptors submitted, by kind.", "kind", stats.invalidations);
  families->Each(MetricType::Counter, "viommu_dma_faults_total",
                 "DMA requests that were blocked, by the hardware's reason.", "reason",
                 stats.faults);
}

// Descriptors between head and tail of a ring.
uint64_t Depth(const QueueState& queue) {
  if (queue.size_entries == 0) return 0;
  return (queue.tail + uint64_t{queue.size_entries} - queue.head) % queue.size_entries;
}

void AddQueues(const std::vector<QueueState>& queues, Families* families) {
  families->Begin(MetricType::Gauge, "viommu_invalidation_queue_depth",
                  "Descriptors that the hardware has not taken yet.");
  for (const QueueState& queue : queues) families->Add({{"iommu", queue.iommu}}, Depth(queue));
  families->Begin(MetricType::Gauge, "viommu_invalidation_queue_entries",
                  "Entries of the invalidation queue; one stays free.");
  for (const QueueState& queue : queues) {
    families->Add({{"iommu", queue.iommu}}, uint64_t{queue.size_entries});
  }
  families->Begin(MetricType::Counter, "viommu_invalidation_waits_total",
                  "Wait descriptors submitted.");
  for (const QueueState& queue : queues) families->Add({{"iommu", queue.iommu}}, queue.waits);
  families->Begin(MetricType::Counter, "viommu_invalidation_errors_total",
                  "Descriptors that the hardware refused.");
  for (const QueueState& queue : queues) families->Add({{"iommu", queue.iommu}}, queue.errors);
  families->Begin(MetricType::Counter, "viommu_invalidation_timeouts_total",
                  "Times that the hardware, or a device, did not answer an invalidation.");
  for (const QueueState& queue : queues) families->Add({{"iommu", queue.iommu}}, queue.timeouts);
}

}  // namespace

std::vector<MetricFamily> EngineMetrics::Collect() const {
  const EngineStats stats = stats_();
  Families families;
  AddHost(host_, &families);
  AddModel(stats, &families);
  AddFlushQueues(stats.flush_queues, &families);
  AddPageFaults(stats.page_faults, &families);
  AddEvents(stats.events, &families);
  AddBackend(stats.backend, &families);
  AddQueues(stats.queues, &families);
  return families.Take();
}

}  // namespace viommu
