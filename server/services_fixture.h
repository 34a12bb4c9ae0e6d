// server/services_fixture.h -- Two sides of a real gRPC connection over a real engine, for tests;
// only the backend is a fake.
#ifndef VIOMMU_SERVER_SERVICES_FIXTURE_H_
#define VIOMMU_SERVER_SERVICES_FIXTURE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/backend/fake/fake_backend.h"
#include "engine/base/env.h"
#include "engine/engine.h"
#include "engine/journal/memory_journal.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "server/server.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/domain.grpc.pb.h"
#include "viommu/v1/host.grpc.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/mapping.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"
#include "viommu/v1/viommu.grpc.pb.h"

namespace viommu {

inline constexpr uint64_t kPage = 4096;

inline std::string ReasonIn(const google::rpc::Status& status) {
  google::rpc::ErrorInfo info;
  for (const auto& detail : status.details()) {
    if (detail.UnpackTo(&info)) break;
  }
  return info.reason();
}

// "CODE REASON", as clients read them from the wire.
inline std::string Told(const grpc::Status& status) {
  google::rpc::Status rpc;
  rpc.ParseFromString(status.error_details());
  return absl::StrCat(absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code())),
                      " ", ReasonIn(rpc));
}

// Calls Stub's `method` with a fresh context.
template <typename Stub, typename Request, typename Response>
grpc::Status Call(Stub& stub,
                  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                  const Request& request, Response* response) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(20)));
  return (stub.*method)(&context, request, response);
}

// One client of one frontend.
struct Client {
  explicit Client(int port)
      : channel(grpc::CreateChannel(absl::StrCat("127.0.0.1:", port),
                                    grpc::InsecureChannelCredentials())),
        host(channel),
        device(channel),
        memory(channel),
        ioas(channel),
        mapping(channel),
        domain(channel),
        viommu(channel),
        simulation(channel) {}

  std::shared_ptr<grpc::Channel> channel;
  v1::HostService::Stub host;
  v1::DeviceService::Stub device;
  v1::MemoryService::Stub memory;
  v1::IoasService::Stub ioas;
  v1::MappingService::Stub mapping;
  v1::DomainService::Stub domain;
  v1::ViommuService::Stub viommu;
  v1::SimulationService::Stub simulation;
};

class ServicesTest : public ::testing::Test {
 protected:
  explicit ServicesTest(Topology topology = SmallTopology()) : backend_(std::move(topology)) {
    auto engine = Engine::Create({"1.2.3"}, &backend_, &journal_, RealEnv());
    EXPECT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    server_ = StartServer();
    client_ = std::make_unique<Client>(server_->ports()[0]);
  }

  std::unique_ptr<Server> StartServer() {
    ServerOptions options;
    options.listen_addresses = {"127.0.0.1:0"};
    auto server = Server::Start(engine_.get(), std::move(options));
    EXPECT_TRUE(server.ok()) << server.status();
    return *std::move(server);
  }

  grpc::Status CreateIoas(const std::string& id, const std::string& request_id = "",
                          v1::Ioas* ioas = nullptr, bool validate_only = false) {
    v1::CreateIoasRequest request;
    request.set_ioas_id(id);
    request.set_request_id(request_id);
    request.set_validate_only(validate_only);
    v1::Ioas ignored;
    return Call(client_->ioas, &v1::IoasService::Stub::CreateIoas, request,
                ioas == nullptr ? &ignored : ioas);
  }

  grpc::Status GetIoas(const std::string& name, v1::Ioas* ioas) {
    v1::GetIoasRequest request;
    request.set_name(name);
    return Call(client_->ioas, &v1::IoasService::Stub::GetIoas, request, ioas);
  }

  void CreateRegion(const std::string& id) {
    v1::CreateMemoryRegionRequest request;
    request.set_memory_region_id(id);
    request.mutable_memory_region()->set_size_bytes(1 << 30);
    v1::MemoryRegion region;
    const grpc::Status status =
        Call(client_->memory, &v1::MemoryService::Stub::CreateMemoryRegion, request, &region);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(region.name(), "memoryRegions/" + id);
    EXPECT_EQ(region.owner(), "local");
  }

  FakeBackend backend_;
  MemoryJournal journal_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Client> client_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_SERVICES_FIXTURE_H_
