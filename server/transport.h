// server/transport.h -- The ways in which a client can connect.
#ifndef VIOMMU_SERVER_TRANSPORT_H_
#define VIOMMU_SERVER_TRANSPORT_H_

#include "absl/strings/string_view.h"

namespace viommu {

enum class Transport {
  kUnix,      // An operator's unix socket.
  kTcp,       // An operator, too.
  kListener,  // A tenant's unix socket.
};

inline constexpr Transport kAllTransports[] = {Transport::kUnix, Transport::kTcp,
                                               Transport::kListener};
inline constexpr int kTransports = 3;

// As metrics and logs call it.
inline absl::string_view NameOf(Transport transport) {
  switch (transport) {
    case Transport::kUnix:
      return "unix";
    case Transport::kTcp:
      return "tcp";
    case Transport::kListener:
      break;
  }
  return "listener";
}

}  // namespace viommu

#endif  // VIOMMU_SERVER_TRANSPORT_H_
