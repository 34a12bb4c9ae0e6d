#include "server/server.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "grpc/health/v1/health.pb.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"
#include "server/device_service.h"
#include "server/domain_service.h"
#include "server/host_service.h"
#include "server/ioas_service.h"
#include "server/mapping_service.h"
#include "server/memory_service.h"
#include "server/simulation_service.h"

namespace viommu {
namespace {

// Polling threads that wait for new calls; calls at work have threads of their own.
constexpr int kMinPollers = 1;
constexpr int kMaxPollers = 2;

int Milliseconds(absl::Duration d) { return static_cast<int>(absl::ToInt64Milliseconds(d)); }

void ApplyLimits(const ServerOptions& options, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(static_cast<int>(options.max_message_bytes));
  // Answers are bounded by the limits of pages, batches and accesses, whatever requests may be: a
  // change that was made must be answered.
  builder->SetMaxSendMessageSize(-1);
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, options.max_metadata_bytes);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.max_streams_per_connection);
  // gRPC inflates a message before it looks at its size: a small bomb would fill the memory.
  builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  grpc::ResourceQuota quota("viommud");
  quota.SetMaxThreads(options.max_threads);
  builder->SetResourceQuota(quota);
  builder->SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, kMinPollers);
  builder->SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, kMaxPollers);
}

void ApplyConnectionRules(const ServerOptions& options, grpc::ServerBuilder* builder) {
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                              Milliseconds(options.handshake_timeout));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(options.keepalive_interval));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                              Milliseconds(options.keepalive_timeout));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                              Milliseconds(options.min_client_keepalive_interval));
  // With it a second daemon would silently share the port with the first.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

absl::Status ListenFailed(const std::vector<std::string>& addresses,
                          const std::vector<int>& ports) {
  std::string which;
  for (size_t i = 0; i < addresses.size(); ++i) {
    if (ports[i] == 0) absl::StrAppend(&which, which.empty() ? "" : ", ", addresses[i]);
  }
  return Error(absl::StatusCode::kUnavailable, "LISTEN_FAILED",
               absl::StrCat("can not listen on ", which, ": in use, or not an address of ours"))
      .Errno("EADDRINUSE");
}

}  // namespace

struct Server::Services {
  Services(Engine* engine, uint64_t max_message_bytes, MappingMetrics* metrics)
      : host(engine, max_message_bytes),
        device(engine),
        memory(engine),
        ioas(engine, metrics),
        mapping(engine, metrics),
        domain(engine),
        simulation(engine) {}

  std::vector<grpc::Service*> All() {
    return {&host, &device, &memory, &ioas, &mapping, &domain, &simulation};
  }

  // The names under which health is asked for.
  static std::vector<std::string> Names() {
    return {v1::HostService::service_full_name(),      v1::DeviceService::service_full_name(),
            v1::MemoryService::service_full_name(),    v1::IoasService::service_full_name(),
            v1::MappingService::service_full_name(),   v1::DomainService::service_full_name(),
            v1::SimulationService::service_full_name()};
  }

  HostService host;
  DeviceService device;
  MemoryService memory;
  IoasService ioas;
  MappingService mapping;
  DomainService domain;
  SimulationService simulation;
};

absl::StatusOr<std::unique_ptr<Server>> Server::Start(Engine* engine, ServerOptions options) {
  if (options.listen_addresses.empty()) {
    return Error(absl::StatusCode::kInvalidArgument, "NO_LISTEN_ADDRESS", "no address to listen on")
        .ToStatus();
  }
  // The library speaks the health service without a description; naming ours here links it in, for
  // reflection to find.
  grpc::health::v1::HealthCheckRequest::descriptor();
  // Both take effect on builders made later in this process; setting them again changes nothing.
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();

  grpc::ServerBuilder builder;
  ApplyLimits(options, &builder);
  ApplyConnectionRules(options, &builder);
  builder.experimental().SetInterceptorCreators(std::move(options.interceptors));
  auto services =
      std::make_unique<Services>(engine, options.max_message_bytes, options.mapping_metrics);
  for (grpc::Service* service : services->All()) builder.RegisterService(service);
  for (grpc::Service* service : options.further_services) builder.RegisterService(service);
  std::vector<int> ports(options.listen_addresses.size(), 0);
  for (size_t i = 0; i < ports.size(); ++i) {
    builder.AddListeningPort(options.listen_addresses[i], grpc::InsecureServerCredentials(),
                             &ports[i]);
  }
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return ListenFailed(options.listen_addresses, ports);
  for (const std::string& name : Services::Names()) {
    server->GetHealthCheckService()->SetServingStatus(name, true);
  }
  return std::unique_ptr<Server>(
      new Server(std::move(services), std::move(server), std::move(ports)));
}

Server::Server(std::unique_ptr<Services> services, std::unique_ptr<grpc::Server> server,
               std::vector<int> ports)
    : services_(std::move(services)), server_(std::move(server)), ports_(std::move(ports)) {}

Server::~Server() { Shutdown(absl::UnixEpoch()); }

std::vector<std::string> Server::ServiceNames() { return Services::Names(); }

void Server::Drain() { server_->GetHealthCheckService()->Shutdown(); }

void Server::Shutdown(absl::Time deadline) {
  // gRPC takes a time before 1970 for one that never comes.
  server_->Shutdown(absl::ToChronoTime(std::max(deadline, absl::UnixEpoch())));
}

void Server::Wait() { server_->Wait(); }

}  // namespace viommu
