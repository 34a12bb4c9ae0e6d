// server/connection_limit.h -- How many connections may be open, and that nobody takes all.
//
// One connection in eight is kept for operators' unix sockets: they get in while TCP is flooded, or
// the sockets of tenants are.
#ifndef VIOMMU_SERVER_CONNECTION_LIMIT_H_
#define VIOMMU_SERVER_CONNECTION_LIMIT_H_

#include <algorithm>
#include <cstddef>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/transport.h"

namespace viommu {

// Thread-safe.
class ConnectionLimit {
 public:
  // `whole` counts the connections of this one and of others, and keeps the reserve then; it may be
  // null, or outlives this.
  explicit ConnectionLimit(int most, ConnectionLimit* whole = nullptr)
      : most_(most), whole_(whole) {}

  // How many of `most` connections only operators' unix sockets can have.
  static constexpr int ReservedForUnix(int most) { return std::max(1, most / 8); }

  // Counts one more connection; false: it is one too many, and is not counted.
  bool Take(Transport transport) ABSL_LOCKS_EXCLUDED(mutex_) {
    if (!TakeHere(transport)) return false;
    if (whole_ == nullptr || whole_->Take(transport)) return true;
    GiveBackHere(transport);
    return false;
  }

  // One that was taken has ended.
  void GiveBack(Transport transport) ABSL_LOCKS_EXCLUDED(mutex_) {
    GiveBackHere(transport);
    if (whole_ != nullptr) whole_->GiveBack(transport);
  }

  int open(Transport transport) const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return open_[Index(transport)];
  }
  int open() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return open_[Index(Transport::kUnix)] + Shared();
  }

 private:
  static size_t Index(Transport transport) { return static_cast<size_t>(transport); }

  // Of what may not have all.
  int Shared() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return open_[Index(Transport::kTcp)] + open_[Index(Transport::kListener)];
  }

  bool TakeHere(Transport transport) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (open_[Index(Transport::kUnix)] + Shared() >= most_) return false;
    const bool reserved = whole_ == nullptr && transport != Transport::kUnix;
    if (reserved && Shared() >= most_ - ReservedForUnix(most_)) return false;
    ++open_[Index(transport)];
    return true;
  }
  void GiveBackHere(Transport transport) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    --open_[Index(transport)];
  }

  const int most_;
  ConnectionLimit* const whole_;
  mutable absl::Mutex mutex_;  // Never held together with that of `whole_`.
  int open_[kTransports] ABSL_GUARDED_BY(mutex_) = {};
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_CONNECTION_LIMIT_H_
