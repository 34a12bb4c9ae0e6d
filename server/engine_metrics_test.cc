#include "server/engine_metrics.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/text_serializer.h"

namespace viommu {
namespace {

using ::testing::HasSubstr;

HostView TestHost() {
  HostView host;
  host.version = "1.2";
  host.backend = "soft";
  host.boot_id = "b00t";
  return host;
}

TEST(EngineMetricsTest, ShowsEveryNumberOfTheEngine) {
  EngineStats stats;
  stats.objects = {{"ioas", 2}, {"domain", 0}};
  stats.mappings = 3;
  stats.mapped_bytes = uint64_t{1} << 40;
  stats.claimed_devices = 4;
  stats.attached_devices = 5;
  stats.unhealthy_devices = {{"injected", 26}, {"state_lost", 0}};
  stats.quarantined_devices = 27;
  stats.suspended = {{"memory_region", 28}, {"mapping", 0}};
  stats.transitions = {{"blocked_to_paging", 6, 7}};
  stats.remembered_requests = 8;
  stats.limit_refusals = {{"max_mappings", 14}, {"max_ioas", 0}};
  stats.flush_queues = {15, 16, {{"full", 17}, {"timer", 0}, {"sync", 18}}, 19};
  stats.page_faults = {20, 21, 22, 23, {{"success", 24}, {"invalid", 25}, {"failure", 0}}};
  stats.events = {30, 31};
  stats.quarantines = 32;
  stats.backend.table_pages = 9;
  stats.backend.table_pages_limit = 33;
  stats.backend.invalidations = {{"iotlb_page", 10}, {"wait", 0}};
  stats.backend.faults = {{"SPT.2", 11}};
  QueueState queue;
  queue.iommu = "dmar0";
  queue.size_entries = 128;
  queue.head = 126;
  queue.tail = 3;  // The ring has wrapped.
  queue.waits = 12;
  queue.errors = 13;
  queue.timeouts = 29;
  stats.queues = {queue};

  const EngineMetrics metrics([&] { return stats; }, TestHost());
  const std::string text = prometheus::TextSerializer().Serialize(metrics.Collect());
  for (const char* line : {
           "viommu_build_info{version=\"1.2\",backend=\"soft\"} 1\n",
           "viommu_boot_info{boot_id=\"b00t\"} 1\n",
           "viommu_unhealthy_devices{cause=\"injected\"} 26\n",
           "viommu_unhealthy_devices{cause=\"state_lost\"} 0\n",
           "viommu_quarantined_devices 27\n",
           "viommu_suspended_objects{kind=\"memory_region\"} 28\n",
           "viommu_suspended_objects{kind=\"mapping\"} 0\n",
           "viommu_invalidation_queue_entries{iommu=\"dmar0\"} 128\n",
           "viommu_objects{kind=\"ioas\"} 2\n",
           "viommu_objects{kind=\"domain\"} 0\n",
           "viommu_mappings 3\n",
           "viommu_limit_refusals_total{limit=\"max_mappings\"} 14\n",
           "viommu_limit_refusals_total{limit=\"max_ioas\"} 0\n",
           "# TYPE viommu_limit_refusals_total counter\n",
           "viommu_mapped_bytes 1099511627776\n",
           "viommu_claimed_devices 4\n",
           "viommu_attached_devices 5\n",
           "viommu_attach_transitions_total{kind=\"blocked_to_paging\",hitless=\"true\"} 6\n",
           "viommu_attach_transitions_total{kind=\"blocked_to_paging\",hitless=\"false\"} 7\n",
           "viommu_device_quarantines_total 32\n",
           "viommu_remembered_requests 8\n",
           "viommu_flush_queue_entries 15\n",
           "viommu_flush_queue_depth 16\n",
           "viommu_flush_queue_flushes_total{cause=\"full\"} 17\n",
           "viommu_flush_queue_flushes_total{cause=\"timer\"} 0\n",
           "viommu_flush_queue_flushes_total{cause=\"sync\"} 18\n",
           "viommu_flush_queue_failures_total 19\n",
           "viommu_page_fault_groups_waiting 20\n",
           "viommu_page_faults_partial 21\n",
           "viommu_page_fault_groups_lost_total 22\n",
           "viommu_page_faults_dropped_total 23\n",
           "viommu_page_fault_answers_total{code=\"success\"} 24\n",
           "viommu_page_fault_answers_total{code=\"invalid\"} 25\n",
           "viommu_page_fault_answers_total{code=\"failure\"} 0\n",
           "viommu_events_waiting 30\n",
           "viommu_events_lost_total 31\n",
           "# TYPE viommu_events_lost_total counter\n",
           "viommu_table_pages 9\n",
           "viommu_table_pages_limit 33\n",
           "viommu_invalidations_total{kind=\"iotlb_page\"} 10\n",
           "viommu_invalidations_total{kind=\"wait\"} 0\n",
           "viommu_dma_faults_total{reason=\"SPT.2\"} 11\n",
           "viommu_invalidation_queue_depth{iommu=\"dmar0\"} 5\n",
           "viommu_invalidation_waits_total{iommu=\"dmar0\"} 12\n",
           "viommu_invalidation_errors_total{iommu=\"dmar0\"} 13\n",
           "viommu_invalidation_timeouts_total{iommu=\"dmar0\"} 29\n",
           "# TYPE viommu_invalidations_total counter\n",
           "# TYPE viommu_mappings gauge\n",
       }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(EngineMetricsTest, AsksAtEveryScrape) {
  uint64_t scrapes = 0;
  const EngineMetrics metrics(
      [&] {
        EngineStats stats;
        stats.mappings = ++scrapes;
        return stats;
      },
      TestHost());
  metrics.Collect();
  EXPECT_THAT(prometheus::TextSerializer().Serialize(metrics.Collect()),
              HasSubstr("viommu_mappings 2\n"));
}

TEST(EngineMetricsTest, TakesAnEmptyQueueAsDepthZero) {
  EngineStats stats;
  stats.queues = {QueueState{}};
  stats.queues[0].iommu = "u";
  const EngineMetrics metrics([&] { return stats; }, TestHost());
  EXPECT_THAT(prometheus::TextSerializer().Serialize(metrics.Collect()),
              HasSubstr("viommu_invalidation_queue_depth{iommu=\"u\"} 0\n"));
}

}  // namespace
}  // namespace viommu
