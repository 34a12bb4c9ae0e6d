#include "server/process_metrics.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/metric_type.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;
using ::testing::Key;

constexpr int kFiles = 7;
constexpr uint64_t kMemory = uint64_t{64} << 20;

// Value by name.
std::map<std::string, double> Collected() {
  std::map<std::string, double> values;
  for (const auto& family : ProcessMetrics(absl::FromUnixMillis(1700000000500)).Collect()) {
    const auto& metric = family.metric.front();
    values[family.name] =
        family.type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value;
  }
  return values;
}

TEST(ProcessMetricsTest, HasTheNamesThatEveryProcessHas) {
  EXPECT_THAT(
      Collected(),
      ElementsAre(Key("process_cpu_seconds_total"), Key("process_max_fds"), Key("process_open_fds"),
                  Key("process_resident_memory_bytes"), Key("process_start_time_seconds")));
  EXPECT_EQ(Collected()["process_start_time_seconds"], 1700000000.5);
}

TEST(ProcessMetricsTest, CountsProcessorTime) {
  const double before = Collected()["process_cpu_seconds_total"];
  const absl::Time deadline = absl::Now() + absl::Seconds(60);
  double after = before;
  while (after < before + 0.05 && absl::Now() < deadline) {
    after = Collected()["process_cpu_seconds_total"];
  }
  EXPECT_GE(after, before + 0.05);
}

TEST(ProcessMetricsTest, CountsOpenFilesWithoutItsOwn) {
  const double before = Collected()["process_open_fds"];
  EXPECT_EQ(Collected()["process_open_fds"], before) << "a look leaves none";
  std::vector<int> files;
  const auto close_all = absl::MakeCleanup([&files] {
    for (const int file : files) close(file);
  });
  for (int i = 0; i < kFiles; ++i) files.push_back(open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(Collected()["process_open_fds"], before + kFiles);
}

TEST(ProcessMetricsTest, TellsTheLimitThatHolds) {
  rlimit limit = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const auto restore = absl::MakeCleanup([limit] { setrlimit(RLIMIT_NOFILE, &limit); });
  rlimit lower = limit;
  lower.rlim_cur = limit.rlim_cur - 1;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &lower), 0);
  EXPECT_EQ(Collected()["process_max_fds"], static_cast<double>(lower.rlim_cur));
}

TEST(ProcessMetricsTest, CountsMemoryThatIsInUse) {
  const double before = Collected()["process_resident_memory_bytes"];
  EXPECT_GT(before, 0);
  const std::vector<char> memory(kMemory, 1);
  EXPECT_GE(Collected()["process_resident_memory_bytes"], before + kMemory / 2.0);
}

TEST(ProcessMetricsTest, LeavesOutWhatItCanNotOpenAFileFor) {
  rlimit limit = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const auto restore = absl::MakeCleanup([limit] { setrlimit(RLIMIT_NOFILE, &limit); });
  const rlimit none = {0, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  EXPECT_THAT(Collected(), ElementsAre(Key("process_cpu_seconds_total"), Key("process_max_fds"),
                                       Key("process_start_time_seconds")));
}

}  // namespace
}  // namespace viommu
