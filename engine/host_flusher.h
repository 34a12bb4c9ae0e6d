// engine/host_flusher.h -- The timer of the flush queues: one thread that flushes what has waited
// for as long as it may.
//
// It takes no lane: a flush is ordered against what else happens to the group by its number alone
// (engine/model/flush_queue.h), so that no operation that waits, for the journal or for hardware,
// keeps stale translations alive beyond the time-out. Flushes of several groups come one by one.
#ifndef VIOMMU_ENGINE_HOST_FLUSHER_H_
#define VIOMMU_ENGINE_HOST_FLUSHER_H_

#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "engine/backend/backend.h"
#include "engine/base/env.h"
#include "engine/model/model.h"

namespace viommu {

class HostFlusher {
 public:
  // `mutex` guards the model; all four outlive the flusher.
  // kResourceExhausted TOO_MANY_THREADS
  static absl::StatusOr<std::unique_ptr<HostFlusher>> Start(Model* model, absl::Mutex* mutex,
                                                            Backend* backend, Env* env);
  // Flushes what still waits. No operation is under way any more.
  ~HostFlusher() ABSL_LOCKS_EXCLUDED(*mutex_);
  HostFlusher(const HostFlusher&) = delete;
  HostFlusher& operator=(const HostFlusher&) = delete;

  // Something was queued.
  void Wake() { wake_.Signal(); }

 private:
  HostFlusher(Model* model, absl::Mutex* mutex, Backend* backend, Env* env)
      : model_(*model), mutex_(mutex), backend_(*backend), env_(*env) {}

  void Run() ABSL_LOCKS_EXCLUDED(*mutex_);
  // The earliest deadline of all queues; past when one is due.
  absl::Time NextDeadline() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(*mutex_);
  // Lets go of the lock meanwhile.
  void Flush(Group& group, FlushQueue::Cause cause) ABSL_EXCLUSIVE_LOCKS_REQUIRED(*mutex_);

  Model& model_;
  absl::Mutex* const mutex_;
  Backend& backend_;
  Env& env_;
  absl::CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(*mutex_) = false;
  std::thread thread_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_HOST_FLUSHER_H_
