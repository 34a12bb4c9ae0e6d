// server/transport.h -- The two ways in which a client can connect.
#ifndef VIOMMU_SERVER_TRANSPORT_H_
#define VIOMMU_SERVER_TRANSPORT_H_

#include "absl/strings/string_view.h"

namespace viommu {

enum class Transport { kUnix, kTcp };

inline constexpr int kTransports = 2;

// As metrics and logs call it.
inline absl::string_view NameOf(Transport transport) {
  return transport == Transport::kUnix ? "unix" : "tcp";
}

}  // namespace viommu

#endif  // VIOMMU_SERVER_TRANSPORT_H_
