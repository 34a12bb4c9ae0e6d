// server/write_watchdog.h -- Ends streams whose clients do not read their answers.
//
// A synchronous Write waits as long as the client's flow control says, which may be for ever. One
// thread looks after all streams, and does nothing while there are none.
#ifndef VIOMMU_SERVER_WRITE_WATCHDOG_H_
#define VIOMMU_SERVER_WRITE_WATCHDOG_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/server_context.h"

namespace viommu {

// Thread-safe.
class WriteWatchdog {
 public:
  // One stream, between its start and its end. Begin and End belong to the writing thread.
  class Guard {
   public:
    // Both outlive this.
    Guard(WriteWatchdog* watchdog, grpc::ServerContext* context);
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

    // A Write begins; it has ended.
    void Begin();
    void End() { since_.store(kNotWriting, std::memory_order_relaxed); }

    // kResourceExhausted SLOW_READER: the stream was ended because a Write took too long.
    absl::Status status() const;

   private:
    friend class WriteWatchdog;
    static constexpr int64_t kNotWriting = -1;

    WriteWatchdog& watchdog_;
    grpc::ServerContext& context_;
    std::atomic<int64_t> since_{kNotWriting};  // Of the steady clock, in nanoseconds.
    std::atomic<bool> cut_{false};
  };

  // A Write may take `timeout`; it is noticed a tenth of that later at most.
  explicit WriteWatchdog(absl::Duration timeout);
  ~WriteWatchdog();  // No Guard is left.

 private:
  void Look() ABSL_LOCKS_EXCLUDED(mutex_);
  void CutIfLate(Guard& guard) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status SlowReader() const;

  const absl::Duration timeout_;
  absl::Mutex mutex_;
  absl::CondVar changed_;
  absl::flat_hash_set<Guard*> guards_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_WRITE_WATCHDOG_H_
