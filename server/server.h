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
#include "server/admission.h"
#include "server/admission_metrics.h"
#include "server/connection_metrics.h"
#include "server/listener.h"
#include "server/log.h"
#include "server/mapping_metrics.h"

namespace viommu {

struct ServerOptions {
  // "unix:/run/viommud.sock" or "127.0.0.1:7300"; port 0 lets the kernel choose.
  std::vector<std::string> listen_addresses;
  // Of these one in eight is kept for unix sockets; one more is closed as soon as it comes in.
  int max_connections = 1024;
  size_t max_message_bytes = size_t{4} << 20;
  int max_metadata_bytes = 8 << 10;
  // For all that clients have sent and that waits in gRPC; beyond, gRPC cancels calls.
  size_t max_buffered_bytes = size_t{256} << 20;
  // What may be at work at once. gRPC's own threads must be more, or it refuses first.
  AdmissionLimits admission;
  int max_threads = 512;
  // How long any answer may stay unread, see client_watchdog.h; and mapping_service.h.
  absl::Duration stream_write_timeout = absl::Seconds(10);
  size_t max_stream_bytes_in_flight = size_t{8} << 20;
  int max_streams_per_connection = 128;
  absl::Duration handshake_timeout = absl::Seconds(3);
  // A silent connection is asked after `keepalive_interval` and closed when it does not answer in
  // `keepalive_timeout`; clients may ask us every `min_client_keepalive_interval`.
  absl::Duration keepalive_interval = absl::Minutes(1);
  absl::Duration keepalive_timeout = absl::Seconds(10);
  absl::Duration min_client_keepalive_interval = absl::Seconds(10);
  // Told of every map and unmap batch, of connections, of what an operator should know; each may be
  // null. They outlive the server.
  MappingMetrics* mapping_metrics = nullptr;
  ConnectionMetrics* connection_metrics = nullptr;
  Log* log = nullptr;
  // As above, of every call that is let in or refused.
  AdmissionMetrics* admission_metrics = nullptr;
  // Served beside ours, with the same limits and interceptors, synchronously; they outlive the
  // server.
  std::vector<grpc::Service*> further_services;
  // See every call, in this order: metrics, logs.
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
};

// Thread-safe.
class Server {
 public:
  // Serves at once; every service and the server as a whole are SERVING. `engine` outlives the
  // server.
  // kInvalidArgument: NO_LISTEN_ADDRESS; MALFORMED_ADDRESS, one of them is no address.
  // kUnavailable: LISTEN_FAILED, SOCKET_IN_USE: an address can not be listened on; it is named.
  // kFailedPrecondition: SOCKET_UNUSABLE, something else is where the unix socket should be.
  // kResourceExhausted: NO_FILE_DESCRIPTOR, SERVER_NOT_BUILT.
  static absl::StatusOr<std::unique_ptr<Server>> Start(Engine* engine, ServerOptions options);

  // Full names of the services that it serves, besides those that gRPC brings.
  static std::vector<std::string> ServiceNames();

  // Ends all calls that still run.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // The port that each listen address got, in order; 1 for a unix socket.
  const std::vector<int>& ports() const { return ports_; }

  // Health becomes NOT_SERVING, so that balancers and probes look elsewhere. Calls that run and
  // streams that are open go on; new ones are refused with UNAVAILABLE DRAINING.
  void Drain();

  // Drains, and when nothing runs any more takes no further call. Cancels what still runs at
  // `deadline`; what gRPC serves by itself (health watches) and connections that stay in spite of
  // a GOAWAY have two seconds from when nothing runs. Returns when all have ended.
  void Shutdown(absl::Time deadline);

  // Waits until Shutdown has been called.
  void Wait();

 private:
  struct Services;

  Server(std::unique_ptr<Services> services, std::unique_ptr<grpc::Server> server,
         std::unique_ptr<Listener> listener, std::vector<int> ports);

  const std::unique_ptr<Services> services_;  // Outlives server_.
  const std::unique_ptr<grpc::Server> server_;
  const std::unique_ptr<Listener> listener_;  // Feeds server_.
  const std::vector<int> ports_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_SERVER_H_
