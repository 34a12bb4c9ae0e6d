#include "server/client_watchdog.h"

#include <chrono>
#include <optional>
#include <string>

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

ClientWatchdog::Guard::Guard(ClientWatchdog* watchdog, grpc::ServerContextBase* context)
    : watchdog_(*watchdog), call_(context->c_call()) {
  grpc_call_ref(call_);
  absl::MutexLock lock(&watchdog_.mutex_);
  watchdog_.guards_.insert(this);
  // Not at the first one each time: calls that follow each other would wake it for nothing.
  if (watchdog_.asleep_) watchdog_.changed_.Signal();
}

ClientWatchdog::Guard::~Guard() {
  {
    absl::MutexLock lock(&watchdog_.mutex_);
    watchdog_.guards_.erase(this);
  }
  grpc_call_unref(call_);
}

void ClientWatchdog::Guard::Begin(Wait wait) {
  wait_.store(wait, std::memory_order_relaxed);
  since_.store(SteadyNanoseconds(), std::memory_order_release);
}

void ClientWatchdog::Guard::Cut(const absl::Status& why) {
  const std::optional<ErrorDetail> detail = DetailOf(why);
  const std::string text = detail.has_value() ? absl::StrCat(detail->reason, ": ", why.message())
                                              : std::string(why.message());
  grpc_call_cancel_with_status(call_, static_cast<grpc_status_code>(why.code()), text.c_str(),
                               nullptr);
}

absl::Status ClientWatchdog::Guard::status() const {
  return cut_.load() ? watchdog_.Late(wait_.load()) : absl::OkStatus();
}

ClientWatchdog::ClientWatchdog(absl::Duration timeout)
    : timeout_(timeout), thread_([this] { Look(); }) {}

ClientWatchdog::~ClientWatchdog() {
  {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
    changed_.Signal();
  }
  thread_.join();
}

void ClientWatchdog::Look() {
  absl::MutexLock lock(&mutex_);
  while (!ending_) {
    if (guards_.empty()) {
      asleep_ = true;
      changed_.Wait(&mutex_);
      asleep_ = false;
    } else {
      changed_.WaitWithTimeout(&mutex_, timeout_ / kLooksPerTimeout);
    }
    for (Guard* const guard : guards_) CutIfLate(*guard);
  }
}

void ClientWatchdog::CutIfLate(Guard& guard) {
  const int64_t since = guard.since_.load(std::memory_order_acquire);
  if (since == Guard::kNotWaiting || guard.cut_.load()) return;
  if (absl::Nanoseconds(SteadyNanoseconds() - since) < timeout_) return;
  guard.cut_.store(true);
  // Trailers of the handler would wait behind the blocked message. These do not, and unlike those
  // of TryCancel they say why; there is no room for more than a code and a text.
  const absl::Status why = Late(guard.wait_.load(std::memory_order_relaxed));
  grpc_call_cancel_with_status(guard.call_, static_cast<grpc_status_code>(why.code()),
                               std::string(why.message()).c_str(), nullptr);
}

absl::Status ClientWatchdog::Late(Wait wait) const {
  const std::string timeout = absl::FormatDuration(timeout_);
  if (wait == Wait::kOpening) {
    return Error(absl::StatusCode::kDeadlineExceeded, "OPEN_TIMEOUT",
                 absl::StrCat("OPEN_TIMEOUT: the first message of the stream did not come within ",
                              timeout));
  }
  return Error(
      absl::StatusCode::kResourceExhausted, "SLOW_READER",
      absl::StrCat("SLOW_READER: the client took no answer for ", timeout,
                   "; what had been read from it by then is done or refused all the same"));
}

}  // namespace viommu
