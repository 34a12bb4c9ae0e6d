#include "tests/benchmarks/serving.h"

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "engine/backend/topology.h"
#include "engine/base/env.h"
#include "google/protobuf/arena.h"
#include "server/rpc_interceptor.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/domain.grpc.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"

namespace viommu {
namespace {

constexpr size_t kArenaBlockBytes = size_t{256} << 10;  // As MappingService has.
constexpr uint64_t kRegionBytes = uint64_t{64} << 30;

Topology OneDevice() {
  Topology topology;
  topology.iommus.resize(1);
  topology.iommus[0].id = "unit0";
  DeviceSpec device;
  device.id = "dev0";
  device.pci_address = "0000:00:01.0";
  device.iommu = "unit0";
  device.group = "group0";
  topology.devices.push_back(std::move(device));
  return topology;
}

// Short: the path of a unix socket may have 107 bytes only.
std::string MakeFolder() {
  std::string path = "/tmp/viommu-benchmark-XXXXXX";
  Require(mkdtemp(path.data()) != nullptr, "no folder for the socket");
  return path;
}

std::vector<RpcMethod> AllMethods() {
  std::vector<std::string> services = Server::ServiceNames();
  services.emplace_back(benchmarks::EmptyService::service_full_name());
  return MethodsOf(services);
}

}  // namespace

void Require(bool ok, const std::string& what) {
  if (ok) return;
  std::fprintf(stderr, "benchmark: %s\n", what.c_str());
  std::abort();
}

grpc::Status EmptyService::Stream(
    grpc::ServerContext*,
    grpc::ServerReaderWriter<v1::StreamMappingsResponse, v1::StreamMappingsRequest>* stream) {
  const std::unique_ptr<char[]> block(new char[kArenaBlockBytes]);
  google::protobuf::ArenaOptions options;
  options.initial_block = block.get();
  options.initial_block_size = kArenaBlockBytes;
  google::protobuf::Arena arena(options);
  while (true) {
    arena.Reset();
    auto* request = google::protobuf::Arena::CreateMessage<v1::StreamMappingsRequest>(&arena);
    if (!stream->Read(request)) return grpc::Status::OK;
    if (!stream->Write(v1::StreamMappingsResponse())) return grpc::Status::OK;
  }
}

Serving::Serving()
    : folder_(MakeFolder()),
      mapping_metrics_(&registry_),
      rpc_metrics_(AllMethods(), &registry_),
      log_(LogLevel::kInfo, STDERR_FILENO, RealEnv()) {
  // As viommud does.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  Start();
  MakeObjects();
}

Serving::~Serving() {
  client_.reset();
  server_.reset();
  std::filesystem::remove_all(folder_);
}

void Serving::Start() {
  auto backend = SoftBackend::Create(OneDevice(), {}, {});
  Require(backend.ok(), backend.status().ToString());
  backend_ = *std::move(backend);
  auto engine = Engine::Create({"benchmark"}, backend_.get(), &journal_, RealEnv());
  Require(engine.ok(), engine.status().ToString());
  engine_ = *std::move(engine);
  ServerOptions options;
  options.listen_addresses = {absl::StrCat("unix:", folder_, "/socket")};
  options.mapping_metrics = &mapping_metrics_;
  options.interceptors = [this] {
    Interceptors interceptors;
    interceptors.push_back(std::make_unique<RpcInterceptorFactory>(&rpc_metrics_, &log_));
    return interceptors;
  };
  options.further_services = {&empty_};
  // Unmaps are measured as many at a time as maps are.
  options.admission.max_revokes = options.admission.max_calls;
  const std::string target = options.listen_addresses[0];
  auto server = Server::Start(engine_.get(), std::move(options));
  Require(server.ok(), server.status().ToString());
  server_ = *std::move(server);
  auto client = Client::Connect(target);
  Require(client.ok(), std::string(client.status().message()));
  client_ = *std::move(client);
  empty_stub_ = benchmarks::EmptyService::NewStub(client_->channel());
}

void Serving::MakeObjects() {
  v1::CreateMemoryRegionRequest region;
  region.set_memory_region_id("ram");
  region.mutable_memory_region()->set_size_bytes(kRegionBytes);
  Require(client_->Call(&v1::MemoryService::Stub::CreateMemoryRegion, region).ok(),
          "region failed");
  v1::CreateIoasRequest ioas;
  ioas.set_ioas_id("as");
  Require(client_->Call(&v1::IoasService::Stub::CreateIoas, ioas).ok(), "ioas failed");
  v1::ClaimDeviceRequest claim;
  claim.set_name("devices/dev0");
  Require(client_->Call(&v1::DeviceService::Stub::ClaimDevice, claim).ok(), "claim failed");
  v1::CreateDomainRequest domain;
  domain.set_domain_id("d");
  domain.mutable_domain()->mutable_paging()->set_ioas("ioas/as");
  domain.mutable_domain()->mutable_paging()->set_device("devices/dev0");
  Require(client_->Call(&v1::DomainService::Stub::CreateDomain, domain).ok(), "domain failed");
  v1::AttachDeviceRequest attach;
  attach.set_name("devices/dev0");
  attach.set_domain("domains/d");
  Require(client_->Call(&v1::DeviceService::Stub::AttachDevice, attach).ok(), "attach failed");
}

}  // namespace viommu
