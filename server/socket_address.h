// server/socket_address.h -- "HOST:PORT", as operators write it.
#ifndef VIOMMU_SERVER_SOCKET_ADDRESS_H_
#define VIOMMU_SERVER_SOCKET_ADDRESS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace viommu {

struct SocketAddress {
  std::string host;  // Without brackets.
  uint16_t port = 0;

  // "host:port"; an IPv6 address gets its brackets back.
  std::string ToString() const;
};

// kInvalidArgument: `text` is neither "HOST:PORT" nor "[IPV6]:PORT".
absl::StatusOr<SocketAddress> ParseSocketAddress(absl::string_view text);

}  // namespace viommu

#endif  // VIOMMU_SERVER_SOCKET_ADDRESS_H_
