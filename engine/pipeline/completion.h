// engine/pipeline/completion.h -- The journal's answer to one record, waited for without any lock.
#ifndef VIOMMU_ENGINE_PIPELINE_COMPLETION_H_
#define VIOMMU_ENGINE_PIPELINE_COMPLETION_H_

#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace viommu {

// Thread-safe. Shared by the journal, which sets it once, and the thread that waits.
class Completion {
 public:
  void Set(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    status_ = status;
    done_.SignalAll();
  }

  bool done() {
    absl::MutexLock lock(&mutex_);
    return status_.has_value();
  }

  absl::Status Wait() {
    absl::MutexLock lock(&mutex_);
    while (!status_.has_value()) done_.Wait(&mutex_);
    return *status_;
  }

 private:
  absl::Mutex mutex_;
  absl::CondVar done_;
  std::optional<absl::Status> status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PIPELINE_COMPLETION_H_
