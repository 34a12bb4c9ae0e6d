// server/metrics_endpoint.h -- Serves /metrics over HTTP on a port of its own.
#ifndef VIOMMU_SERVER_METRICS_ENDPOINT_H_
#define VIOMMU_SERVER_METRICS_ENDPOINT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "prometheus/collectable.h"
#include "prometheus/exposer.h"
#include "server/socket_address.h"

namespace viommu {

// Serves until it is destroyed; thread-safe.
class MetricsEndpoint {
 public:
  // Port 0 lets the kernel choose.
  // kUnavailable ADDRESS_UNAVAILABLE: the address can not be listened on, most often because its
  // port is in use.
  static absl::StatusOr<std::unique_ptr<MetricsEndpoint>> Serve(
      const SocketAddress& address,
      std::vector<std::shared_ptr<prometheus::Collectable>> collectables);

  // Where it listens, with the port that was chosen.
  const SocketAddress& address() const { return address_; }

 private:
  MetricsEndpoint(SocketAddress address, std::unique_ptr<prometheus::Exposer> exposer,
                  std::vector<std::shared_ptr<prometheus::Collectable>> collectables);

  const SocketAddress address_;
  // The exposer knows them weakly.
  const std::vector<std::shared_ptr<prometheus::Collectable>> collectables_;
  const std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_METRICS_ENDPOINT_H_
