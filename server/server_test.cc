#include "server/server.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/base/errors.h"
#include "google/protobuf/descriptor.h"
#include "grpc/health/v1/health.pb.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"
#include "server/services_fixture.h"

namespace viommu {
namespace {

using ServerTest = ServicesTest;
using grpc::health::v1::HealthCheckResponse;

// "SERVING" and so on, or the code of the error.
std::string Health(const std::shared_ptr<grpc::Channel>& channel, const std::string& service) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  grpc::health::v1::HealthCheckRequest asked;
  asked.set_service(service);
  grpc::Slice slice(asked.SerializeAsString());
  const grpc::ByteBuffer request(&slice, 1);
  auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", request, &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (!status.ok()) return absl::StrCat("code ", static_cast<int>(status.error_code()));
  grpc::Slice answer;
  HealthCheckResponse health;
  if (!response.DumpToSingleSlice(&answer).ok()) return "unreadable";
  health.ParseFromArray(answer.begin(), static_cast<int>(answer.size()));
  return HealthCheckResponse::ServingStatus_Name(health.status());
}

TEST_F(ServerTest, TellsTheHealthOfEveryService) {
  for (const char* service :
       {"", "viommu.v1.HostService", "viommu.v1.DeviceService", "viommu.v1.MemoryService",
        "viommu.v1.IoasService", "viommu.v1.MappingService", "viommu.v1.DomainService",
        "viommu.v1.SimulationService"}) {
    EXPECT_EQ(Health(client_->channel, service), "SERVING") << service;
  }
  EXPECT_EQ(Health(client_->channel, "viommu.v1.NoService"), "code 5");
}

TEST_F(ServerTest, DrainsBeforeItStops) {
  server_->Drain();
  EXPECT_EQ(Health(client_->channel, ""), "NOT_SERVING");
  EXPECT_EQ(Health(client_->channel, "viommu.v1.IoasService"), "NOT_SERVING");
  EXPECT_EQ(Told(CreateIoas("vm0")), "UNAVAILABLE DRAINING");
  server_->Shutdown(absl::Now() + absl::Seconds(20));
  EXPECT_EQ(CreateIoas("vm1").error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(ServerTest, GoesOnWhenAnotherFrontendEnds) {
  std::unique_ptr<Server> other = StartServer();
  ASSERT_TRUE(CreateIoas("vm0").ok());
  other.reset();
  v1::Ioas ioas;
  EXPECT_TRUE(GetIoas("ioas/vm0", &ioas).ok());
}

TEST_F(ServerTest, NamesTheAddressThatIsInUse) {
  const std::string taken = absl::StrCat("127.0.0.1:", server_->ports()[0]);
  ServerOptions options;
  options.listen_addresses = {"127.0.0.1:0", taken};
  const absl::Status status = Server::Start(engine_.get(), std::move(options)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(std::string(status.message()).find(taken), std::string::npos) << status;
}

TEST_F(ServerTest, WantsAnAddress) {
  const absl::Status status = Server::Start(engine_.get(), ServerOptions()).status();
  EXPECT_EQ(DetailOf(status)->reason, "NO_LISTEN_ADDRESS");
}

TEST_F(ServerTest, ReflectionKnowsTheTypesOfErrorDetails) {
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  for (const char* type :
       {"ErrorInfo", "BadRequest", "PreconditionFailure", "ResourceInfo", "RetryInfo", "Status"}) {
    EXPECT_NE(pool->FindMessageTypeByName(absl::StrCat("google.rpc.", type)), nullptr) << type;
  }
}

TEST_F(ServerTest, ReflectionDescribesTheHealthService) {
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  EXPECT_NE(pool->FindServiceByName("grpc.health.v1.Health"), nullptr);
}

}  // namespace
}  // namespace viommu
