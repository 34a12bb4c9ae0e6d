// server/health_endpoint.h -- Serves the daemon's health over TCP, and nothing else.
//
// For probes (Kubernetes, balancers) that speak grpc.health.v1 in plaintext and must not be let
// near the API. It has a gRPC server of its own, so it answers while the daemon's is stuck or ends.
#ifndef VIOMMU_SERVER_HEALTH_ENDPOINT_H_
#define VIOMMU_SERVER_HEALTH_ENDPOINT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "grpcpp/generic/async_generic_service.h"
#include "grpcpp/server.h"
#include "server/listener.h"
#include "server/log.h"

namespace viommu {

// Thread-safe.
class HealthEndpoint {
 public:
  // A probe has one for a moment. Each has two of the files that are left for all else
  // (file_limit.h).
  static constexpr int kMaxConnections = 8;

  // Serves at once at "HOST:PORT"; everything is NOT_SERVING until Set is called. Health can be
  // asked for by the names in `services`, and as a whole. `log` outlives it; may be null.
  // kInvalidArgument, kUnavailable, kResourceExhausted: as Server::Start.
  static absl::StatusOr<std::unique_ptr<HealthEndpoint>> Start(
      const std::string& address, const std::vector<std::string>& services, Log* log);

  // Ends watches that still run.
  ~HealthEndpoint();
  HealthEndpoint(const HealthEndpoint&) = delete;
  HealthEndpoint& operator=(const HealthEndpoint&) = delete;

  // Where it listens; the kernel may have chosen the port.
  int port() const { return port_; }

  // Makes everything SERVING or NOT_SERVING.
  void Set(bool serving);

  // Makes one of the services SERVING or NOT_SERVING; "" is the whole.
  void SetService(const std::string& service, bool serving);

  // Makes everything NOT_SERVING for good.
  void Drain();

 private:
  using Others = std::unique_ptr<grpc::CallbackGenericService>;

  HealthEndpoint(Others others, std::unique_ptr<grpc::Server> server,
                 std::unique_ptr<Listener> listener, int port);

  // Answers UNIMPLEMENTED to whatever is not health. gRPC serves by callbacks because of it, and
  // would want to be polled by us otherwise.
  const Others others_;  // Outlives server_.
  const std::unique_ptr<grpc::Server> server_;
  const std::unique_ptr<Listener> listener_;  // Feeds server_.
  const int port_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_HEALTH_ENDPOINT_H_
