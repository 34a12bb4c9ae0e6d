// server/server.h -- The gRPC front of one Engine: services, health, reflection, limits.
//
// A Server keeps nothing that a client could miss: several may front one Engine, and one may be
// destroyed while others go on.
#ifndef VIOMMU_SERVER_SERVER_H_
#define VIOMMU_SERVER_SERVER_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "grpcpp/server.h"
#include "grpcpp/support/server_interceptor.h"
#include "server/mapping_metrics.h"

namespace viommu {

struct ServerOptions {
  // In gRPC's form: "unix:/run/viommud.sock", "127.0.0.1:7300"; port 0 lets the kernel choose.
  std::vector<std::string> listen_addresses;
  size_t max_message_bytes = size_t{4} << 20;
  int max_metadata_bytes = 8 << 10;
  // Calls and streams at work at once; one more is answered RESOURCE_EXHAUSTED.
  int max_threads = 512;
  int max_streams_per_connection = 128;
  absl::Duration handshake_timeout = absl::Seconds(3);
  // A silent connection is asked after `keepalive_interval` and closed when it does not answer in
  // `keepalive_timeout`; clients may ask us every `min_client_keepalive_interval`.
  absl::Duration keepalive_interval = absl::Minutes(1);
  absl::Duration keepalive_timeout = absl::Seconds(10);
  absl::Duration min_client_keepalive_interval = absl::Seconds(10);
  // Told of every map and unmap batch; may be null. Outlives the server.
  MappingMetrics* mapping_metrics = nullptr;
  // Served beside ours, with the same limits and interceptors; they outlive the server.
  std::vector<grpc::Service*> further_services;
  // See every call, in this order: metrics, logs.
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
};

// Thread-safe.
class Server {
 public:
  // Serves at once; every service and the server as a whole are SERVING. `engine` outlives the
  // server.
  // kInvalidArgument: NO_LISTEN_ADDRESS.
  // kUnavailable: LISTEN_FAILED, an address can not be listened on; it is named.
  static absl::StatusOr<std::unique_ptr<Server>> Start(Engine* engine, ServerOptions options);

  // Full names of the services that it serves, besides those that gRPC brings.
  static std::vector<std::string> ServiceNames();

  // Ends all calls that still run.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // The port that each listen address got, in order; 1 for a unix socket.
  const std::vector<int>& ports() const { return ports_; }

  // Health becomes NOT_SERVING, so that balancers and probes look elsewhere; calls still work.
  void Drain();

  // Takes no further call, lets those that run finish until `deadline`, cancels the rest. Returns
  // when all have ended.
  void Shutdown(absl::Time deadline);

  // Waits until Shutdown has been called.
  void Wait();

 private:
  struct Services;

  Server(std::unique_ptr<Services> services, std::unique_ptr<grpc::Server> server,
         std::vector<int> ports);

  const std::unique_ptr<Services> services_;  // Outlives server_.
  const std::unique_ptr<grpc::Server> server_;
  const std::vector<int> ports_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_SERVER_H_
