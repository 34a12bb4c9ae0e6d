// server/connection_limit.h -- How many connections may be open, and that TCP never takes all.
//
// One connection in eight is kept for unix sockets: the operator gets in while TCP is flooded.
#ifndef VIOMMU_SERVER_CONNECTION_LIMIT_H_
#define VIOMMU_SERVER_CONNECTION_LIMIT_H_

#include <algorithm>
#include <cstddef>

#include "server/transport.h"

namespace viommu {

// Thread-compatible.
class ConnectionLimit {
 public:
  explicit ConnectionLimit(int most) : most_(most) {}

  // How many of `most` connections TCP can not have.
  static constexpr int ReservedForUnix(int most) { return std::max(1, most / 8); }

  // Counts one more connection; false: it is one too many, and is not counted.
  bool Take(Transport transport) {
    const int mine = open(transport);
    if (open(Transport::kUnix) + open(Transport::kTcp) >= most_) return false;
    if (transport == Transport::kTcp && mine >= most_ - ReservedForUnix(most_)) return false;
    ++open_[Index(transport)];
    return true;
  }

  // One that was taken has ended.
  void GiveBack(Transport transport) { --open_[Index(transport)]; }

  int open(Transport transport) const { return open_[Index(transport)]; }

 private:
  static size_t Index(Transport transport) { return static_cast<size_t>(transport); }

  const int most_;
  int open_[kTransports] = {};
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_CONNECTION_LIMIT_H_
