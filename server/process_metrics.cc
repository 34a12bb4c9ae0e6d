#include "server/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/string_view.h"
#include "prometheus/client_metric.h"
#include "prometheus/metric_type.h"

namespace viommu {
namespace {

using ::prometheus::ClientMetric;
using ::prometheus::MetricFamily;
using ::prometheus::MetricType;

double Seconds(const timeval& time) {
  return absl::ToDoubleSeconds(absl::DurationFromTimeval(time));
}

std::optional<double> CpuSeconds() {
  rusage usage = {};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return std::nullopt;
  return Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
}

std::optional<double> ResidentBytes() {
  // Size and resident set, in pages (proc(5)).
  std::ifstream statm("/proc/self/statm");
  uint64_t size = 0;
  uint64_t resident = 0;
  if (!(statm >> size >> resident)) return std::nullopt;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

std::optional<double> OpenFiles() {
  std::error_code error;
  std::filesystem::directory_iterator files("/proc/self/fd", error);
  if (error) return std::nullopt;
  // The directory itself is open meanwhile.
  int64_t count = -1;
  for (; files != std::filesystem::directory_iterator(); files.increment(error)) ++count;
  // A failure ends the loop.
  if (error) return std::nullopt;
  return static_cast<double>(count);
}

std::optional<double> MaxFiles() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::nullopt;
  return static_cast<double>(limit.rlim_cur);
}

void Add(MetricType type, absl::string_view name, absl::string_view help,
         std::optional<double> value, std::vector<MetricFamily>* families) {
  if (!value.has_value()) return;
  ClientMetric metric;
  (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = *value;
  families->push_back({std::string(name), std::string(help), type, {std::move(metric)}});
}

}  // namespace

std::vector<MetricFamily> ProcessMetrics::Collect() const {
  std::vector<MetricFamily> families;
  Add(MetricType::Counter, "process_cpu_seconds_total",
      "Processor time of the process, in user and kernel mode, in seconds.", CpuSeconds(),
      &families);
  Add(MetricType::Gauge, "process_max_fds", "Files that the process may have open.", MaxFiles(),
      &families);
  Add(MetricType::Gauge, "process_open_fds", "Files that the process has open.", OpenFiles(),
      &families);
  Add(MetricType::Gauge, "process_resident_memory_bytes",
      "Memory of the process that is in RAM, in bytes.", ResidentBytes(), &families);
  Add(MetricType::Gauge, "process_start_time_seconds",
      "When the process started, in seconds since 1970.",
      absl::ToDoubleSeconds(start_time_ - absl::UnixEpoch()), &families);
  return families;
}

}  // namespace viommu
