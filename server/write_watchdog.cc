#include "server/write_watchdog.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "grpc/grpc.h"

namespace viommu {
namespace {

constexpr int kLooksPerTimeout = 10;

int64_t SteadyNanoseconds() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

WriteWatchdog::Guard::Guard(WriteWatchdog* watchdog, grpc::ServerContext* context)
    : watchdog_(*watchdog), context_(*context) {
  absl::MutexLock lock(&watchdog_.mutex_);
  watchdog_.guards_.insert(this);
  if (watchdog_.guards_.size() == 1) watchdog_.changed_.Signal();
}

WriteWatchdog::Guard::~Guard() {
  absl::MutexLock lock(&watchdog_.mutex_);
  watchdog_.guards_.erase(this);
}

void WriteWatchdog::Guard::Begin() { since_.store(SteadyNanoseconds(), std::memory_order_relaxed); }

absl::Status WriteWatchdog::Guard::status() const {
  return cut_.load() ? watchdog_.SlowReader() : absl::OkStatus();
}

WriteWatchdog::WriteWatchdog(absl::Duration timeout)
    : timeout_(timeout), thread_([this] { Look(); }) {}

WriteWatchdog::~WriteWatchdog() {
  {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
    changed_.Signal();
  }
  thread_.join();
}

void WriteWatchdog::Look() {
  absl::MutexLock lock(&mutex_);
  while (!ending_) {
    if (guards_.empty()) {
      changed_.Wait(&mutex_);
    } else {
      changed_.WaitWithTimeout(&mutex_, timeout_ / kLooksPerTimeout);
    }
    for (Guard* const guard : guards_) CutIfLate(*guard);
  }
}

void WriteWatchdog::CutIfLate(Guard& guard) {
  const int64_t since = guard.since_.load(std::memory_order_relaxed);
  if (since == Guard::kNotWriting || guard.cut_.load()) return;
  if (absl::Nanoseconds(SteadyNanoseconds() - since) < timeout_) return;
  guard.cut_.store(true);
  // Trailers of the handler would wait behind the blocked message. These do not, and unlike those
  // of TryCancel they say why; there is no room for more than a code and a text.
  grpc_call_cancel_with_status(guard.context_.c_call(), GRPC_STATUS_RESOURCE_EXHAUSTED,
                               std::string(SlowReader().message()).c_str(), nullptr);
}

absl::Status WriteWatchdog::SlowReader() const {
  return Error(
      absl::StatusCode::kResourceExhausted, "SLOW_READER",
      absl::StrCat("SLOW_READER: the client took no answer for ", absl::FormatDuration(timeout_),
                   "; batches that were read by then are finished"));
}

}  // namespace viommu
