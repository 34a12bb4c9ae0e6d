#include "server/metrics_endpoint.h"

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"

namespace viommu {

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Serve(
    const SocketAddress& address,
    std::vector<std::shared_ptr<prometheus::Collectable>> collectables) {
  std::unique_ptr<prometheus::Exposer> exposer;
  // The library's only way to say that it can not listen is to throw.
  try {
    exposer = std::make_unique<prometheus::Exposer>(address.ToString());
  } catch (const std::exception&) {
    return Error(absl::StatusCode::kUnavailable, "ADDRESS_UNAVAILABLE",
                 absl::StrCat("metrics address ", address.ToString(),
                              " can not be listened on; is its port in use?"));
  }
  SocketAddress actual = address;
  const std::vector<int> ports = exposer->GetListeningPorts();
  if (!ports.empty()) actual.port = static_cast<uint16_t>(ports[0]);
  return std::unique_ptr<MetricsEndpoint>(
      new MetricsEndpoint(std::move(actual), std::move(exposer), std::move(collectables)));
}

MetricsEndpoint::MetricsEndpoint(SocketAddress address,
                                 std::unique_ptr<prometheus::Exposer> exposer,
                                 std::vector<std::shared_ptr<prometheus::Collectable>> collectables)
    : address_(std::move(address)),
      collectables_(std::move(collectables)),
      exposer_(std::move(exposer)) {
  for (const auto& collectable : collectables_) exposer_->RegisterCollectable(collectable);
}

}  // namespace viommu
