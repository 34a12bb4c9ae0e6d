#include "server/health_endpoint.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/base/errors.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

constexpr char kService[] = "viommu.v1.HostService";

absl::Time Soon() { return absl::Now() + absl::Seconds(20); }

class HealthEndpointTest : public ::testing::Test {
 protected:
  HealthEndpointTest() {
    auto endpoint = HealthEndpoint::Start("127.0.0.1:0", {kService}, nullptr);
    EXPECT_TRUE(endpoint.ok()) << endpoint.status();
    endpoint_ = *std::move(endpoint);
    stub_ = NewStub();
  }

  // Over a connection of its own.
  std::unique_ptr<Health::Stub> NewStub() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return Health::NewStub(grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", endpoint_->port()),
                                                     grpc::InsecureChannelCredentials(),
                                                     arguments));
  }

  // "SERVING" and so on, or the code of the error.
  static std::string Ask(Health::Stub* stub, const std::string& service) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(Soon()));
    HealthCheckRequest request;
    request.set_service(service);
    HealthCheckResponse response;
    const grpc::Status status = stub->Check(&context, request, &response);
    if (!status.ok()) return absl::StrCat("code ", static_cast<int>(status.error_code()));
    return HealthCheckResponse::ServingStatus_Name(response.status());
  }

  std::unique_ptr<HealthEndpoint> endpoint_;
  std::unique_ptr<Health::Stub> stub_;
};

TEST_F(HealthEndpointTest, ServesNothingUntilItIsTold) {
  EXPECT_EQ(Ask(stub_.get(), ""), "NOT_SERVING");
  EXPECT_EQ(Ask(stub_.get(), kService), "NOT_SERVING");
}

TEST_F(HealthEndpointTest, FollowsWhatItIsTold) {
  for (const bool serving : {true, false, true}) {
    endpoint_->Set(serving);
    const char* const want = serving ? "SERVING" : "NOT_SERVING";
    EXPECT_EQ(Ask(stub_.get(), ""), want);
    EXPECT_EQ(Ask(stub_.get(), kService), want);
  }
}

TEST_F(HealthEndpointTest, FollowsWhatItIsToldOfOneService) {
  endpoint_->Set(true);
  endpoint_->SetService(kService, false);
  EXPECT_EQ(Ask(stub_.get(), ""), "SERVING");
  EXPECT_EQ(Ask(stub_.get(), kService), "NOT_SERVING");
}

TEST_F(HealthEndpointTest, DoesNotKnowOtherServices) {
  EXPECT_EQ(Ask(stub_.get(), "viommu.v1.NoService"), absl::StrCat("code ", grpc::NOT_FOUND));
}

TEST_F(HealthEndpointTest, StaysDrained) {
  endpoint_->Set(true);
  endpoint_->Drain();
  endpoint_->Set(true);
  EXPECT_EQ(Ask(stub_.get(), ""), "NOT_SERVING");
  EXPECT_EQ(Ask(stub_.get(), kService), "NOT_SERVING");
}

TEST_F(HealthEndpointTest, TellsWatchersOfChanges) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(Soon()));
  HealthCheckRequest request;
  request.set_service(kService);
  const auto watch = stub_->Watch(&context, request);
  HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  endpoint_->Set(true);
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  endpoint_ = nullptr;  // Does not wait for watchers.
  while (watch->Read(&response)) {
  }
  EXPECT_FALSE(watch->Finish().ok());
}

TEST_F(HealthEndpointTest, TurnsAwayMoreConnectionsThanProbesNeed) {
  endpoint_->Set(true);
  std::vector<std::unique_ptr<Health::Stub>> stubs;
  int served = 0;
  for (int i = 0; i < HealthEndpoint::kMaxConnections; ++i) {
    stubs.push_back(NewStub());
    if (Ask(stubs.back().get(), "") == "SERVING") ++served;
  }
  EXPECT_GE(served, HealthEndpoint::kMaxConnections / 2);
  EXPECT_LT(served, HealthEndpoint::kMaxConnections);
  stubs.clear();
  // The listener sees the ends of connections a moment later.
  std::string health;
  for (const absl::Time end = Soon(); health != "SERVING" && absl::Now() < end;) {
    health = Ask(NewStub().get(), "");
  }
  EXPECT_EQ(health, "SERVING");
}

TEST_F(HealthEndpointTest, SaysWhichAddressCanNotBeListenedOn) {
  const std::string taken = absl::StrCat("127.0.0.1:", endpoint_->port());
  const auto second = HealthEndpoint::Start(taken, {}, nullptr);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(DetailOf(second.status())->reason, "LISTEN_FAILED");
  const auto malformed = HealthEndpoint::Start("nowhere", {}, nullptr);
  ASSERT_FALSE(malformed.ok());
  EXPECT_EQ(malformed.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace viommu
