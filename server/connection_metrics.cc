#include "server/connection_metrics.h"

#include <string>

namespace viommu {

ConnectionMetrics::ConnectionMetrics(prometheus::Registry* registry) {
  auto& open = prometheus::BuildGauge()
                   .Name("viommu_connections")
                   .Help("Connections that are open.")
                   .Register(*registry);
  limit_ = &prometheus::BuildGauge()
                .Name("viommu_connections_limit")
                .Help("Connections that may be open at once, over all transports.")
                .Register(*registry)
                .Add({});
  listeners_ = &prometheus::BuildGauge()
                    .Name("viommu_listeners")
                    .Help("Sockets of tenants.")
                    .Register(*registry)
                    .Add({});
  listeners_limit_ = &prometheus::BuildGauge()
                          .Name("viommu_listeners_limit")
                          .Help("Sockets that tenants may have; 0: none, without listener_dir.")
                          .Register(*registry)
                          .Add({});
  auto& refused = prometheus::BuildCounter()
                      .Name("viommu_connections_refused_total")
                      .Help("Connections that were closed as soon as they came in.")
                      .Register(*registry);
  for (const Transport transport : kAllTransports) {
    const std::string name(NameOf(transport));
    open_[Index(transport)] = &open.Add({{"transport", name}});
    for (const ConnectionRefusal why : {ConnectionRefusal::kLimit, ConnectionRefusal::kResources}) {
      refused_[Index(transport)][static_cast<size_t>(why)] =
          &refused.Add({{"transport", name}, {"reason", std::string(NameOf(why))}});
    }
  }
}

}  // namespace viommu
