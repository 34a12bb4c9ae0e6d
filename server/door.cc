#include "server/door.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "engine/base/status_macros.h"
#include "grpc/health/v1/health.pb.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"
#include "server/answer_interceptor.h"
#include "server/device_service.h"
#include "server/domain_service.h"
#include "server/fault_service.h"
#include "server/grpc_acceptor.h"
#include "server/host_service.h"
#include "server/ioas_service.h"
#include "server/mapping_service.h"
#include "server/memory_service.h"
#include "server/simulation_service.h"
#include "server/viommu_service.h"
#include "server/watch_service.h"
#include "viommu/v1/listener.grpc.pb.h"

namespace viommu {
namespace {

// Polling threads that wait for new calls; calls at work have threads of their own.
constexpr int kMinPollers = 1;
constexpr int kMaxPollers = 2;

int Milliseconds(absl::Duration d) { return static_cast<int>(absl::ToInt64Milliseconds(d)); }

void ApplyLimits(const ServerOptions& options, const Door::Limits& limits,
                 grpc::ServerBuilder* builder) {
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
  quota.SetMaxThreads(limits.max_threads);
  // gRPC looks at the size of a message only when it has all of it.
  quota.Resize(limits.max_buffered_bytes);
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
}

void ApplyInterceptors(const Door::House& house, Admission* admission,
                       grpc::ServerBuilder* builder) {
  Interceptors interceptors;
  if (house.options->interceptors) interceptors = house.options->interceptors();
  interceptors.push_back(std::make_unique<AnswerInterceptorFactory>(admission, house.watchdog));
  builder->experimental().SetInterceptorCreators(std::move(interceptors));
}

Listener::Options ListenerOptions(const Door::House& house, const Door::Limits& limits) {
  Listener::Options listener;
  listener.max_connections = limits.max_connections;
  listener.whole = house.connections;
  listener.metrics = house.options->connection_metrics;
  listener.log = house.options->log;
  return listener;
}

}  // namespace

struct Door::Services {
  Services(const House& house, Admission* admission)
      : host(house.engine, admission,
             {house.options->max_message_bytes,
              house.options->listener_dir.empty() ? 0 : house.options->max_listeners}),
        device(house.engine, admission),
        memory(house.engine, admission),
        ioas(house.engine, admission, house.options->mapping_metrics),
        mapping(house.engine, admission, house.watchdog,
                {house.options->max_stream_bytes_in_flight}, house.options->mapping_metrics),
        domain(house.engine, admission),
        viommu(house.engine, admission, house.watchdog),
        fault(house.engine, admission, house.watchdog),
        watch(house.engine, admission, house.watchdog),
        simulation(house.engine, admission, house.watchdog) {}

  std::vector<grpc::Service*> All() {
    return {&host,   &device, &memory, &ioas,  &mapping,
            &domain, &viommu, &fault,  &watch, &simulation};
  }

  HostService host;
  DeviceService device;
  MemoryService memory;
  IoasService ioas;
  MappingService mapping;
  DomainService domain;
  ViommuService viommu;
  FaultService fault;
  WatchService watch;
  SimulationService simulation;
};

std::vector<std::string> Door::ServiceNames() {
  return {v1::HostService::service_full_name(),    v1::DeviceService::service_full_name(),
          v1::MemoryService::service_full_name(),  v1::IoasService::service_full_name(),
          v1::MappingService::service_full_name(), v1::DomainService::service_full_name(),
          v1::ViommuService::service_full_name(),  v1::FaultService::service_full_name(),
          v1::WatchService::service_full_name(),   v1::SimulationService::service_full_name(),
          v1::ListenerService::service_full_name()};
}

absl::StatusOr<std::unique_ptr<Door>> Door::Open(const House& house, const Limits& limits,
                                                 Admission* admission,
                                                 const std::vector<grpc::Service*>& further,
                                                 std::vector<ListenSocket> sockets) {
  // The library speaks the health service without a description; naming ours here links it in, for
  // reflection to find.
  grpc::health::v1::HealthCheckRequest::descriptor();
  // Both take effect on builders made later in this process; setting them again changes nothing.
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();

  grpc::ServerBuilder builder;
  ApplyLimits(*house.options, limits, &builder);
  ApplyConnectionRules(*house.options, &builder);
  ApplyInterceptors(house, admission, &builder);
  auto services = std::make_unique<Services>(house, admission);
  for (grpc::Service* service : services->All()) builder.RegisterService(service);
  for (grpc::Service* service : further) builder.RegisterService(service);
  Listener::Options listening = ListenerOptions(house, limits);
  listening.deliver = AddGrpcAcceptor(&builder);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return ServerNotBuilt();
  for (const std::string& name : ServiceNames()) {
    server->GetHealthCheckService()->SetServingStatus(name, true);
  }
  // Only now: a connection that comes before gRPC has started would be lost.
  ASSIGN_OR_RETURN(std::unique_ptr<Listener> listener,
                   Listener::Start(std::move(sockets), std::move(listening)));
  return std::unique_ptr<Door>(
      new Door(admission, std::move(services), std::move(server), std::move(listener)));
}

Door::Door(Admission* admission, std::unique_ptr<Services> services,
           std::unique_ptr<grpc::Server> server, std::unique_ptr<Listener> listener)
    : admission_(*admission),
      services_(std::move(services)),
      server_(std::move(server)),
      listener_(std::move(listener)) {}

Door::~Door() {
  StopAccepting();
  Close(absl::UnixEpoch());
}

void Door::Drain() {
  server_->GetHealthCheckService()->Shutdown();
  admission_.Drain();
}

void Door::Close(absl::Time deadline) {
  // gRPC takes a time before 1970 for one that never comes.
  server_->Shutdown(absl::ToChronoTime(std::max(deadline, absl::UnixEpoch())));
}

}  // namespace viommu
