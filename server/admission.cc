#include "server/admission.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/errors.h"

namespace viommu {
namespace {

constexpr absl::string_view kRevokes[] = {
    "DeleteDomain", "DeleteIoas", "DeleteMemoryRegion", "DetachDevice",
    "HostUnmap",    "Unmap",      "ReleaseDevice",
};

// No call for so long: those that were on their way have arrived.
constexpr absl::Duration kQuiet = absl::Milliseconds(100);
// Callers that do not heed a refusal must not keep us.
constexpr absl::Duration kMaxLinger = absl::Seconds(1);

absl::Status Draining() {
  return Error(absl::StatusCode::kUnavailable, "DRAINING",
               "the server is being stopped; nothing changed");
}

}  // namespace

CallKind KindOf(absl::string_view method) {
  const bool revoke =
      std::find(std::begin(kRevokes), std::end(kRevokes), method) != std::end(kRevokes);
  return revoke ? CallKind::kRevoke : CallKind::kCall;
}

uint32_t Admission::LimitOf(CallKind kind) const {
  switch (kind) {
    case CallKind::kRevoke:
      return limits_.max_revokes;
    case CallKind::kStream:
      return limits_.max_streams;
    case CallKind::kCall:
      break;
  }
  return limits_.max_calls;
}

absl::Status Admission::Full(CallKind kind) const {
  const bool stream = kind == CallKind::kStream;
  const absl::string_view limit = stream                      ? "max_streams"
                                  : kind == CallKind::kRevoke ? "max_revokes"
                                                              : "max_calls";
  return Error(absl::StatusCode::kResourceExhausted, stream ? "TOO_MANY_STREAMS" : "TOO_MANY_CALLS",
               absl::StrCat(LimitOf(kind), stream ? " streams are open" : " calls of this kind run",
                            " already (", limit, "); nothing changed"))
      .Meta("limit", limit)
      .Meta("value", absl::StrCat(LimitOf(kind)));
}

absl::StatusOr<Admission::Ticket> Admission::Admit(CallKind kind) {
  absl::MutexLock lock(&mutex_);
  if (draining_) {
    last_arrival_ = absl::Now();
    if (metrics_ != nullptr) metrics_->Refused(CallRefusal::kDraining);
    return Draining();
  }
  uint32_t& running = running_[static_cast<size_t>(kind)];
  if (running >= LimitOf(kind)) {
    const bool stream = kind == CallKind::kStream;
    if (metrics_ != nullptr) {
      metrics_->Refused(stream ? CallRefusal::kTooManyStreams : CallRefusal::kTooManyCalls);
    }
    return Full(kind);
  }
  ++running;
  if (metrics_ != nullptr) metrics_->Began(kind);
  return Ticket(this, kind);
}

void Admission::Return(CallKind kind) {
  absl::MutexLock lock(&mutex_);
  --running_[static_cast<size_t>(kind)];
  if (metrics_ != nullptr) metrics_->Ended(kind);
  if (draining_) returned_.SignalAll();
}

void Admission::Drain() {
  absl::MutexLock lock(&mutex_);
  if (!draining_) last_arrival_ = absl::Now();
  draining_ = true;
}

bool Admission::Idle() const {
  return std::all_of(running_.begin(), running_.end(), [](uint32_t n) { return n == 0; });
}

void Admission::AwaitQuiet(absl::Time deadline) {
  absl::MutexLock lock(&mutex_);
  while (!Idle()) {
    if (returned_.WaitWithDeadline(&mutex_, deadline)) return;
  }
  last_arrival_ = absl::Now();  // As if: what is answered now may be followed by another call.
  const absl::Time latest = std::min(deadline, last_arrival_ + kMaxLinger);
  while (true) {
    const absl::Time quiet = std::min(latest, last_arrival_ + kQuiet);
    if (absl::Now() >= quiet) return;
    returned_.WaitWithDeadline(&mutex_, quiet);
  }
}

}  // namespace viommu
