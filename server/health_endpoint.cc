#include "server/health_endpoint.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/base/status_macros.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/impl/server_builder_option.h"
#include "grpcpp/impl/server_builder_plugin.h"
#include "grpcpp/resource_quota.h"
#include "server/grpc_acceptor.h"
#include "server/listen_socket.h"

namespace viommu {
namespace {

// A probe says hardly more than a service's name, and is soon done. Who is silent for long is cut.
constexpr int kMaxMessageBytes = 1 << 10;
constexpr int kMaxMetadataBytes = 4 << 10;
constexpr int kMaxStreamsPerConnection = 8;
constexpr int kHandshakeTimeoutMs = 3000;
constexpr int kKeepaliveIntervalMs = 30000;
constexpr int kKeepaliveTimeoutMs = 5000;
constexpr size_t kMaxBufferedBytes = size_t{4} << 20;

// A program with the library of reflection has it in every server, unless the builder is told so.
class WithoutPlugins : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    plugins->clear();
  }
};

void ApplyLimits(grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveIntervalMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  grpc::ResourceQuota quota("health");
  quota.Resize(kMaxBufferedBytes);
  builder->SetResourceQuota(quota);
}

}  // namespace

absl::StatusOr<std::unique_ptr<HealthEndpoint>> HealthEndpoint::Start(
    const std::string& address, const std::vector<std::string>& services, Log* log) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  ApplyLimits(&builder);
  builder.SetOption(std::make_unique<WithoutPlugins>());
  auto others = std::make_unique<grpc::CallbackGenericService>();
  builder.RegisterCallbackGenericService(others.get());
  Listener::Options listening;
  listening.max_connections = kMaxConnections;
  listening.log = log;
  listening.deliver = AddGrpcAcceptor(&builder);
  ASSIGN_OR_RETURN(std::vector<ListenSocket> sockets,
                   ListenOn(address, absl::Milliseconds(kKeepaliveTimeoutMs)));
  const int port = sockets.front().port();
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return ServerNotBuilt();
  grpc::HealthCheckServiceInterface* const health = server->GetHealthCheckService();
  for (const std::string& name : services) health->SetServingStatus(name, false);
  health->SetServingStatus(false);
  ASSIGN_OR_RETURN(std::unique_ptr<Listener> listener,
                   Listener::Start(std::move(sockets), std::move(listening)));
  return std::unique_ptr<HealthEndpoint>(
      new HealthEndpoint(std::move(others), std::move(server), std::move(listener), port));
}

HealthEndpoint::HealthEndpoint(Others others, std::unique_ptr<grpc::Server> server,
                               std::unique_ptr<Listener> listener, int port)
    : others_(std::move(others)),
      server_(std::move(server)),
      listener_(std::move(listener)),
      port_(port) {}

HealthEndpoint::~HealthEndpoint() {
  listener_->StopAccepting();
  // gRPC takes a time before 1970 for one that never comes.
  server_->Shutdown(absl::ToChronoTime(absl::UnixEpoch()));
}

void HealthEndpoint::Set(bool serving) {
  server_->GetHealthCheckService()->SetServingStatus(serving);
}

void HealthEndpoint::SetService(const std::string& service, bool serving) {
  server_->GetHealthCheckService()->SetServingStatus(service, serving);
}

void HealthEndpoint::Drain() { server_->GetHealthCheckService()->Shutdown(); }

}  // namespace viommu
