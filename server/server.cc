#include "server/server.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "grpc/health/v1/health.pb.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"
#include "server/answer_interceptor.h"
#include "server/client_watchdog.h"
#include "server/device_service.h"
#include "server/domain_service.h"
#include "server/fault_service.h"
#include "server/host_service.h"
#include "server/ioas_service.h"
#include "server/listen_socket.h"
#include "server/mapping_service.h"
#include "server/memory_service.h"
#include "server/simulation_service.h"
#include "server/unique_fd.h"
#include "server/viommu_service.h"
#include "server/watch_service.h"

namespace viommu {
namespace {

// Polling threads that wait for new calls; calls at work have threads of their own.
constexpr int kMinPollers = 1;
constexpr int kMaxPollers = 2;

// For the last frames when no call of ours runs any more. gRPC would wait longer for health watches
// and for peers that do not heed GOAWAY.
constexpr absl::Duration kFarewell = absl::Seconds(2);

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
  // gRPC looks at the size of a message only when it has all of it.
  quota.Resize(options.max_buffered_bytes);
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

// Listens on every address; `ports` gets the first port of each.
absl::StatusOr<std::vector<ListenSocket>> ListenOnAll(const ServerOptions& options,
                                                      std::vector<int>* ports) {
  std::vector<ListenSocket> all;
  for (const std::string& address : options.listen_addresses) {
    ASSIGN_OR_RETURN(std::vector<ListenSocket> sockets,
                     ListenOn(address, options.keepalive_timeout));
    ports->push_back(sockets.front().port());
    std::move(sockets.begin(), sockets.end(), std::back_inserter(all));
  }
  return all;
}

absl::Status ServerNotBuilt() {
  return Error(absl::StatusCode::kResourceExhausted, "SERVER_NOT_BUILT",
               "gRPC can not start a server: too few file descriptors or threads");
}

// What carries accepted connections to gRPC.
Listener::Options ListenerOptions(
    const ServerOptions& options,
    std::shared_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor) {
  Listener::Options listener;
  listener.max_connections = options.max_connections;
  listener.metrics = options.connection_metrics;
  listener.log = options.log;
  listener.deliver = [acceptor = std::move(acceptor)](int listen_fd, UniqueFd connection) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
    parameters.listener_fd = listen_fd;
    parameters.fd = connection.Release();
    acceptor->HandleNewConnection(&parameters);
  };
  return listener;
}

}  // namespace

struct Server::Services {
  Services(Engine* engine, const ServerOptions& options)
      : admission(options.admission, options.admission_metrics),
        host(engine, &admission, options.max_message_bytes),
        device(engine, &admission),
        memory(engine, &admission),
        ioas(engine, &admission, options.mapping_metrics),
        watchdog(options.stream_write_timeout),
        mapping(engine, &admission, &watchdog, {options.max_stream_bytes_in_flight},
                options.mapping_metrics),
        domain(engine, &admission),
        viommu(engine, &admission, &watchdog),
        fault(engine, &admission, &watchdog),
        watch(engine, &admission, &watchdog),
        simulation(engine, &admission, &watchdog) {}

  std::vector<grpc::Service*> All() {
    return {&host,   &device, &memory, &ioas,  &mapping,
            &domain, &viommu, &fault,  &watch, &simulation};
  }

  // The names under which health is asked for.
  static std::vector<std::string> Names() {
    return {v1::HostService::service_full_name(),    v1::DeviceService::service_full_name(),
            v1::MemoryService::service_full_name(),  v1::IoasService::service_full_name(),
            v1::MappingService::service_full_name(), v1::DomainService::service_full_name(),
            v1::ViommuService::service_full_name(),  v1::FaultService::service_full_name(),
            v1::WatchService::service_full_name(),   v1::SimulationService::service_full_name()};
  }

  Admission admission;
  HostService host;
  DeviceService device;
  MemoryService memory;
  IoasService ioas;
  ClientWatchdog watchdog;
  MappingService mapping;
  DomainService domain;
  ViommuService viommu;
  FaultService fault;
  WatchService watch;
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
  auto services = std::make_unique<Services>(engine, options);
  options.interceptors.push_back(
      std::make_unique<AnswerInterceptorFactory>(&services->admission, &services->watchdog));
  builder.experimental().SetInterceptorCreators(std::move(options.interceptors));
  for (grpc::Service* service : services->All()) builder.RegisterService(service);
  for (grpc::Service* service : options.further_services) builder.RegisterService(service);
  std::shared_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor =
      builder.experimental().AddExternalConnectionAcceptor(
          grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
          grpc::InsecureServerCredentials());
  std::vector<int> ports;
  ASSIGN_OR_RETURN(std::vector<ListenSocket> sockets, ListenOnAll(options, &ports));
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return ServerNotBuilt();
  for (const std::string& name : Services::Names()) {
    server->GetHealthCheckService()->SetServingStatus(name, true);
  }
  // Only now: a connection that comes before gRPC has started would be lost.
  ASSIGN_OR_RETURN(
      std::unique_ptr<Listener> listener,
      Listener::Start(std::move(sockets), ListenerOptions(options, std::move(acceptor))));
  return std::unique_ptr<Server>(
      new Server(std::move(services), std::move(server), std::move(listener), std::move(ports)));
}

Server::Server(std::unique_ptr<Services> services, std::unique_ptr<grpc::Server> server,
               std::unique_ptr<Listener> listener, std::vector<int> ports)
    : services_(std::move(services)),
      server_(std::move(server)),
      listener_(std::move(listener)),
      ports_(std::move(ports)) {}

Server::~Server() { Shutdown(absl::UnixEpoch()); }

std::vector<std::string> Server::ServiceNames() { return Services::Names(); }

void Server::Drain() {
  server_->GetHealthCheckService()->Shutdown();
  services_->admission.Drain();
}

void Server::Shutdown(absl::Time deadline) {
  // A call that reaches gRPC while it shuts down is told nothing of use; ours tells it first.
  Drain();
  services_->admission.AwaitQuiet(deadline);
  // gRPC would not even close a connection that it gets from now on.
  listener_->StopAccepting();
  const absl::Time farewell = std::min(deadline, absl::Now() + kFarewell);
  // gRPC takes a time before 1970 for one that never comes.
  server_->Shutdown(absl::ToChronoTime(std::max(farewell, absl::UnixEpoch())));
}

void Server::Wait() { server_->Wait(); }

}  // namespace viommu
