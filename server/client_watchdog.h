// server/client_watchdog.h -- Ends calls whose clients keep a thread waiting.
//
// What is sent to a client waits as long as its flow control says, which may be for ever; so does a
// stream for its first message. One thread looks after all that wait, and sleeps while none does.
#ifndef VIOMMU_SERVER_CLIENT_WATCHDOG_H_
#define VIOMMU_SERVER_CLIENT_WATCHDOG_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpc/grpc.h"
#include "grpcpp/server_context.h"

namespace viommu {

// Thread-safe.
class ClientWatchdog {
 public:
  // What a thread of ours waits for.
  enum class Wait {
    kAnswerTaken,  // SLOW_READER
    kOpening,      // OPEN_TIMEOUT
  };

  // One call. Begin and End belong to one thread at a time.
  class Guard {
   public:
    // The watchdog outlives this; `context` is that of a call which gRPC has begun.
    Guard(ClientWatchdog* watchdog, grpc::ServerContextBase* context);
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

    // A wait begins; it has ended.
    void Begin(Wait wait);
    void End() { since_.store(kNotWaiting, std::memory_order_relaxed); }

    // Ends the call from another thread than its handler's, which waits for its client. There is no
    // room for more than a code and a text.
    void Cut(const absl::Status& why);

    // Why the watchdog ended the call, if it did:
    // kResourceExhausted SLOW_READER: an answer was not taken in time.
    // kDeadlineExceeded OPEN_TIMEOUT: the first message did not come in time.
    absl::Status status() const;

   private:
    friend class ClientWatchdog;
    static constexpr int64_t kNotWaiting = -1;

    ClientWatchdog& watchdog_;
    grpc_call* const call_;                    // With a reference of ours.
    std::atomic<int64_t> since_{kNotWaiting};  // Of the steady clock, in nanoseconds.
    std::atomic<Wait> wait_{Wait::kAnswerTaken};
    std::atomic<bool> cut_{false};
  };

  // A wait may take `timeout`; it is noticed a tenth of that later at most.
  explicit ClientWatchdog(absl::Duration timeout);
  ~ClientWatchdog();  // No Guard is left.

 private:
  void Look() ABSL_LOCKS_EXCLUDED(mutex_);
  void CutIfLate(Guard& guard) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Late(Wait wait) const;

  const absl::Duration timeout_;
  absl::Mutex mutex_;
  absl::CondVar changed_;
  absl::flat_hash_set<Guard*> guards_ ABSL_GUARDED_BY(mutex_);
  bool asleep_ ABSL_GUARDED_BY(mutex_) = false;  // Until there is a guard.
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_CLIENT_WATCHDOG_H_
