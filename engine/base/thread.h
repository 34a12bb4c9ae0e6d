// engine/base/thread.h -- Makes a thread, or says why there is none.
//
// The system refuses threads when a control group has as many as it may (pids.max), or when there
// is no memory for a stack. std::thread throws then, and nothing here catches.
#ifndef VIOMMU_ENGINE_BASE_THREAD_H_
#define VIOMMU_ENGINE_BASE_THREAD_H_

#include <functional>
#include <thread>

#include "absl/status/statusor.h"

namespace viommu {

// A thread that runs `body`.
// kResourceExhausted TOO_MANY_THREADS: the system gives no further one.
absl::StatusOr<std::thread> StartThread(std::function<void()> body);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BASE_THREAD_H_
