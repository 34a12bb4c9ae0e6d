#include "server/connection_metrics.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/text_serializer.h"

namespace viommu {
namespace {

using ::testing::HasSubstr;

class ConnectionMetricsTest : public ::testing::Test {
 protected:
  std::string Scrape() const { return prometheus::TextSerializer().Serialize(registry_.Collect()); }

  prometheus::Registry registry_;
  ConnectionMetrics metrics_{&registry_};
};

TEST_F(ConnectionMetricsTest, HasEverySeriesAtZeroFromTheStart) {
  for (const char* transport : {"unix", "tcp"}) {
    EXPECT_THAT(Scrape(),
                HasSubstr(absl::StrCat("viommu_connections{transport=\"", transport, "\"} 0\n")));
    for (const char* reason : {"limit", "resources"}) {
      EXPECT_THAT(Scrape(),
                  HasSubstr(absl::StrCat("viommu_connections_refused_total{reason=\"", reason,
                                         "\",transport=\"", transport, "\"} 0\n")));
    }
  }
}

TEST_F(ConnectionMetricsTest, ShowsHowManyMayBeOpen) {
  metrics_.SetLimit(7);
  EXPECT_THAT(Scrape(), HasSubstr("\nviommu_connections_limit 7\n"));
}

TEST_F(ConnectionMetricsTest, ShowsTheSocketsOfTenants) {
  EXPECT_THAT(Scrape(), HasSubstr("\nviommu_listeners 0\n"));
  EXPECT_THAT(Scrape(), HasSubstr("\nviommu_listeners_limit 0\n"));
  metrics_.SetListenerLimit(9);
  metrics_.SetListeners(3);
  EXPECT_THAT(Scrape(), HasSubstr("\nviommu_listeners 3\n"));
  EXPECT_THAT(Scrape(), HasSubstr("\nviommu_listeners_limit 9\n"));
}

TEST_F(ConnectionMetricsTest, CountsByTransportAndReason) {
  metrics_.Opened(Transport::kTcp);
  metrics_.Opened(Transport::kTcp);
  metrics_.Closed(Transport::kTcp);
  metrics_.Opened(Transport::kUnix);
  metrics_.Refused(Transport::kTcp, ConnectionRefusal::kLimit);
  metrics_.Refused(Transport::kUnix, ConnectionRefusal::kResources);
  for (const char* line : {
           "viommu_connections{transport=\"tcp\"} 1\n",
           "viommu_connections{transport=\"unix\"} 1\n",
           "viommu_connections_refused_total{reason=\"limit\",transport=\"tcp\"} 1\n",
           "viommu_connections_refused_total{reason=\"resources\",transport=\"tcp\"} 0\n",
           "viommu_connections_refused_total{reason=\"resources\",transport=\"unix\"} 1\n",
       }) {
    EXPECT_THAT(Scrape(), HasSubstr(line));
  }
}

}  // namespace
}  // namespace viommu
