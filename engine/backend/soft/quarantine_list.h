// engine/backend/soft/quarantine_list.h -- Which requesters of a unit are in quarantine, for those
// who ask without waiting for the unit.
//
// Thread-safe. While there is none, asking costs one load.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_QUARANTINE_LIST_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_QUARANTINE_LIST_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_set.h"
#include "absl/synchronization/mutex.h"

namespace viommu {

class QuarantineList {
 public:
  // Once more is no error, nor is what is not there.
  void Add(uint32_t requester) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    requesters_.insert(requester);
    size_.store(requesters_.size());
  }
  void Remove(uint32_t requester) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    requesters_.erase(requester);
    size_.store(requesters_.size());
  }

  bool Has(uint32_t requester) const ABSL_LOCKS_EXCLUDED(mutex_) {
    if (size_.load() == 0) return false;
    absl::MutexLock lock(&mutex_);
    return requesters_.contains(requester);
  }
  // Ascending.
  std::vector<uint32_t> All() const ABSL_LOCKS_EXCLUDED(mutex_) {
    if (size_.load() == 0) return {};
    absl::MutexLock lock(&mutex_);
    return {requesters_.begin(), requesters_.end()};
  }

 private:
  std::atomic<size_t> size_{0};  // Of requesters_.
  mutable absl::Mutex mutex_;
  absl::btree_set<uint32_t> requesters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_QUARANTINE_LIST_H_
