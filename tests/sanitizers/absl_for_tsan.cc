// tests/sanitizers/absl_for_tsan.cc -- Shows ThreadSanitizer the synchronisation that happens
// inside Debian's libabsl and libgrpc.
//
// Those libraries are not instrumented, so TSan would take everything an absl::Mutex guards for a
// race. A definition in the executable comes before the one in a shared library, for all callers:
// each function here calls the library's own and tells TSan which thread handed what to which. Only
// --config=tsan links this file, into every binary (see .bazelrc).
#include <dlfcn.h>
#include <grpc/grpc.h>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

// Exported by TSan's runtime; clang 14 ships no header that declares them.
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);

namespace {

template <typename Function>
Function* NextDefinition(const char* symbol) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, symbol));
}

// A Condition that is evaluated inside the library, by a waiter or by the thread that unlocks, at
// a time when TSan knows nothing of the lock being held.
struct ShownCondition {
  absl::Mutex* mutex;
  const absl::Condition* condition;

  static bool Eval(ShownCondition* self) {
    __tsan_acquire(self->mutex);
    const bool holds = self->condition->Eval();
    __tsan_release(self->mutex);
    return holds;
  }
};

}  // namespace

// The library's definition of the enclosing function; `symbol` is its mangled name.
#define LIBRARY(result, symbol, ...) \
  static auto* const library = NextDefinition<result(__VA_ARGS__)>(symbol)

#define LOCKS(method, symbol)      \
  void Mutex::method() {           \
    LIBRARY(void, symbol, Mutex*); \
    library(this);                 \
    __tsan_acquire(this);          \
  }

#define UNLOCKS(method, symbol)    \
  void Mutex::method() {           \
    LIBRARY(void, symbol, Mutex*); \
    __tsan_release(this);          \
    library(this);                 \
  }

#define TRIES_TO_LOCK(method, symbol)  \
  bool Mutex::method() {               \
    LIBRARY(bool, symbol, Mutex*);     \
    const bool locked = library(this); \
    if (locked) __tsan_acquire(this);  \
    return locked;                     \
  }

// Await*() gives the lock up and takes it again; LockWhen*() takes it. For the latter the release
// only says that this thread's past happens before what it locks next, which is true.
#define WAITS(method, symbol)                                \
  void Mutex::method(const Condition& condition) {           \
    LIBRARY(void, symbol, Mutex*, const Condition&);         \
    ShownCondition shown{this, &condition};                  \
    __tsan_release(this);                                    \
    library(this, Condition(&ShownCondition::Eval, &shown)); \
    __tsan_acquire(this);                                    \
  }

#define WAITS_UNTIL(method, Limit, symbol)                                            \
  bool Mutex::method(const Condition& condition, Limit limit) {                       \
    LIBRARY(bool, symbol, Mutex*, const Condition&, Limit);                           \
    ShownCondition shown{this, &condition};                                           \
    __tsan_release(this);                                                             \
    const bool held = library(this, Condition(&ShownCondition::Eval, &shown), limit); \
    __tsan_acquire(this);                                                             \
    return held;                                                                      \
  }

namespace absl {
ABSL_NAMESPACE_BEGIN

LOCKS(Lock, "_ZN4absl7debian35Mutex4LockEv")
LOCKS(ReaderLock, "_ZN4absl7debian35Mutex10ReaderLockEv")
UNLOCKS(Unlock, "_ZN4absl7debian35Mutex6UnlockEv")
UNLOCKS(ReaderUnlock, "_ZN4absl7debian35Mutex12ReaderUnlockEv")
TRIES_TO_LOCK(TryLock, "_ZN4absl7debian35Mutex7TryLockEv")
TRIES_TO_LOCK(ReaderTryLock, "_ZN4absl7debian35Mutex13ReaderTryLockEv")
WAITS(Await, "_ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE")
WAITS(LockWhen, "_ZN4absl7debian35Mutex8LockWhenERKNS0_9ConditionE")
WAITS(ReaderLockWhen, "_ZN4absl7debian35Mutex14ReaderLockWhenERKNS0_9ConditionE")
WAITS_UNTIL(AwaitWithTimeout, Duration,
            "_ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE")
WAITS_UNTIL(AwaitWithDeadline, Time,
            "_ZN4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE")
WAITS_UNTIL(LockWhenWithTimeout, Duration,
            "_ZN4absl7debian35Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE")
WAITS_UNTIL(LockWhenWithDeadline, Time,
            "_ZN4absl7debian35Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE")

void CondVar::Wait(Mutex* mutex) {
  LIBRARY(void, "_ZN4absl7debian37CondVar4WaitEPNS0_5MutexE", CondVar*, Mutex*);
  __tsan_release(mutex);
  library(this, mutex);
  __tsan_acquire(mutex);
}

bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  LIBRARY(bool, "_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE", CondVar*,
          Mutex*, Duration);
  __tsan_release(mutex);
  const bool timed_out = library(this, mutex, timeout);
  __tsan_acquire(mutex);
  return timed_out;
}

bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  LIBRARY(bool, "_ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE", CondVar*,
          Mutex*, Time);
  __tsan_release(mutex);
  const bool timed_out = library(this, mutex, deadline);
  __tsan_acquire(mutex);
  return timed_out;
}

bool BlockingCounter::DecrementCount() {
  LIBRARY(bool, "_ZN4absl7debian315BlockingCounter14DecrementCountEv", BlockingCounter*);
  __tsan_release(this);
  return library(this);
}

void BlockingCounter::Wait() {
  LIBRARY(void, "_ZN4absl7debian315BlockingCounter4WaitEv", BlockingCounter*);
  library(this);
  __tsan_acquire(this);
}

// HasBeenNotified is inline: its atomic load, which TSan does see, must meet a release at the very
// address of the flag, the member behind the mutex.
void Notification::Notify() {
  LIBRARY(void, "_ZN4absl7debian312Notification6NotifyEv", Notification*);
  __tsan_release(this);
  __tsan_release(reinterpret_cast<char*>(this) + sizeof(Mutex));
  library(this);
}

void Notification::WaitForNotification() const {
  LIBRARY(void, "_ZNK4absl7debian312Notification19WaitForNotificationEv", const Notification*);
  library(this);
  __tsan_acquire(const_cast<Notification*>(this));
}

bool Notification::WaitForNotificationWithTimeout(Duration timeout) const {
  LIBRARY(bool, "_ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE",
          const Notification*, Duration);
  const bool notified = library(this, timeout);
  if (notified) __tsan_acquire(const_cast<Notification*>(this));
  return notified;
}

ABSL_NAMESPACE_END
}  // namespace absl

// gRPC hands an operation's tag from the thread that starts it to the one that takes it off the
// completion queue.
extern "C" {

grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* ops, size_t count, void* tag,
                                      void* reserved) {
  static auto* const library =
      NextDefinition<grpc_call_error(grpc_call*, const grpc_op*, size_t, void*, void*)>(
          "grpc_call_start_batch");
  __tsan_release(tag);
  return library(call, ops, count, tag, reserved);
}

grpc_event grpc_completion_queue_next(grpc_completion_queue* queue, gpr_timespec deadline,
                                      void* reserved) {
  static auto* const library =
      NextDefinition<grpc_event(grpc_completion_queue*, gpr_timespec, void*)>(
          "grpc_completion_queue_next");
  const grpc_event event = library(queue, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE) __tsan_acquire(event.tag);
  return event;
}

grpc_event grpc_completion_queue_pluck(grpc_completion_queue* queue, void* tag,
                                       gpr_timespec deadline, void* reserved) {
  static auto* const library =
      NextDefinition<grpc_event(grpc_completion_queue*, void*, gpr_timespec, void*)>(
          "grpc_completion_queue_pluck");
  const grpc_event event = library(queue, tag, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE) __tsan_acquire(event.tag);
  return event;
}

}  // extern "C"

// gRPC's own handler for methods that are not served (grpcurl asks for a newer reflection first)
// hands its state between threads by a reference count inside libgrpc. It is inlined into our
// binaries, where TSan sees half of it. None of our code runs in it: all our services are
// synchronous.
extern "C" const char* __tsan_default_suppressions() {
  return "race:grpc::internal::CallbackBidiHandler\n";
}
