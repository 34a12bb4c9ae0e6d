// server/connection_metrics.h -- How many connections are open, how many were turned away, and how
// many sockets of tenants there are.
//
//   viommu_connections                 {transport="unix|tcp|listener"}
//   viommu_connections_limit           how many may be open, over all transports
//   viommu_connections_refused_total   {transport="unix|tcp|listener", reason="limit|resources"}
//   viommu_listeners                   sockets of tenants
//   viommu_listeners_limit             how many there may be; 0: tenants have none
#ifndef VIOMMU_SERVER_CONNECTION_METRICS_H_
#define VIOMMU_SERVER_CONNECTION_METRICS_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/registry.h"
#include "server/transport.h"

namespace viommu {

// Why a connection was closed as soon as it came in.
enum class ConnectionRefusal {
  kLimit,      // There were enough.
  kResources,  // The process or the system had no file descriptor or memory for it.
};

inline constexpr int kConnectionRefusals = 2;

// As metrics and logs call it.
inline absl::string_view NameOf(ConnectionRefusal refusal) {
  return refusal == ConnectionRefusal::kLimit ? "limit" : "resources";
}

// Thread-safe.
class ConnectionMetrics {
 public:
  // The series live in `registry`, which must outlive this.
  explicit ConnectionMetrics(prometheus::Registry* registry);

  void SetLimit(int connections) { limit_->Set(connections); }
  void SetListenerLimit(uint32_t listeners) { listeners_limit_->Set(listeners); }
  void SetListeners(size_t listeners) { listeners_->Set(static_cast<double>(listeners)); }
  void Opened(Transport transport) { open_[Index(transport)]->Increment(); }
  void Closed(Transport transport) { open_[Index(transport)]->Decrement(); }
  void Refused(Transport transport, ConnectionRefusal why) {
    refused_[Index(transport)][static_cast<size_t>(why)]->Increment();
  }

 private:
  static size_t Index(Transport transport) { return static_cast<size_t>(transport); }

  prometheus::Gauge* limit_;
  prometheus::Gauge* listeners_;
  prometheus::Gauge* listeners_limit_;
  prometheus::Gauge* open_[kTransports];
  prometheus::Counter* refused_[kTransports][kConnectionRefusals];
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_CONNECTION_METRICS_H_
