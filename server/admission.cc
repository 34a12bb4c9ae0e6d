#include "server/admission.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/errors.h"

namespace viommu {
namespace {

constexpr absl::string_view kRevokes[] = {
    "DeleteDomain",        "DeleteIoas",         "DeleteMemoryRegion",
    "DetachDevice",        "HostUnmap",          "Unmap",
    "ReleaseDevice",       "RevokeMemoryRegion", "UnloadReservedRegions",
    "UnplugDevice",        "FreePasid",          "Invalidate",
    "DeleteViommu",        "DeleteVdevice",      "DeleteEventQueue",
    "DeleteHardwareQueue", "DeleteFaultQueue",   "RespondFault",
};

// No call for so long: those that were on their way have arrived.
constexpr absl::Duration kQuiet = absl::Milliseconds(100);
// Callers that do not heed a refusal must not keep us.
constexpr absl::Duration kMaxLinger = absl::Seconds(1);

absl::Status Draining() {
  return Error(absl::StatusCode::kUnavailable, "DRAINING",
               "the server is being stopped; nothing changed");
}

absl::Status Full(absl::string_view reason, absl::string_view limit, uint32_t most,
                  absl::string_view what) {
  return Error(absl::StatusCode::kResourceExhausted, reason,
               absl::StrCat(most, " ", what, " (", limit, "); nothing changed"))
      .Meta("limit", limit)
      .Meta("value", absl::StrCat(most));
}

}  // namespace

CallKind KindOf(absl::string_view method) {
  const bool revoke =
      std::find(std::begin(kRevokes), std::end(kRevokes), method) != std::end(kRevokes);
  return revoke ? CallKind::kRevoke : CallKind::kCall;
}

Admission::Admission(const AdmissionLimits& limits, AdmissionMetrics* metrics)
    : limits_(limits), metrics_(metrics) {
  if (metrics_ == nullptr) return;
  metrics_->Serving(
      {LimitOf(CallKind::kCall), LimitOf(CallKind::kRevoke), LimitOf(CallKind::kStream)});
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

uint32_t Admission::MostStreamsOverTcp() const {
  const uint32_t most = limits_.max_streams;
  return most < 2 ? most : most - std::max(1u, most / 8);
}

absl::Status Admission::CheckRoom(CallKind kind, Transport transport) const {
  const uint32_t most = LimitOf(kind);
  if (running_[static_cast<size_t>(kind)] >= most) {
    if (kind == CallKind::kStream) {
      return Full("TOO_MANY_STREAMS", "max_streams", most, "streams are open already");
    }
    return Full("TOO_MANY_CALLS", kind == CallKind::kRevoke ? "max_revokes" : "max_calls", most,
                "calls of this kind run already");
  }
  if (kind == CallKind::kStream && transport == Transport::kTcp &&
      streams_over_tcp_ >= MostStreamsOverTcp()) {
    return Full("TOO_MANY_STREAMS", "max_streams", MostStreamsOverTcp(),
                "streams are open over TCP already, the rest is kept for the unix socket");
  }
  return absl::OkStatus();
}

absl::StatusOr<Admission::Ticket> Admission::Admit(CallKind kind, Transport transport) {
  absl::MutexLock lock(&mutex_);
  if (draining_) {
    last_arrival_ = absl::Now();
    if (metrics_ != nullptr) metrics_->Refused(CallRefusal::kDraining);
    return Draining();
  }
  absl::Status room = CheckRoom(kind, transport);
  if (!room.ok()) {
    const bool stream = kind == CallKind::kStream;
    if (metrics_ != nullptr) {
      metrics_->Refused(stream ? CallRefusal::kTooManyStreams : CallRefusal::kTooManyCalls);
    }
    return room;
  }
  ++running_[static_cast<size_t>(kind)];
  if (kind == CallKind::kStream && transport == Transport::kTcp) ++streams_over_tcp_;
  if (metrics_ != nullptr) metrics_->Began(kind);
  return Ticket(this, kind, transport);
}

absl::Status Admission::CheckServing() const {
  absl::MutexLock lock(&mutex_);
  return draining_ ? Draining() : absl::OkStatus();
}

void Admission::Return(CallKind kind, Transport transport) {
  absl::MutexLock lock(&mutex_);
  --running_[static_cast<size_t>(kind)];
  if (kind == CallKind::kStream && transport == Transport::kTcp) --streams_over_tcp_;
  if (metrics_ != nullptr) metrics_->Ended(kind);
  if (draining_) returned_.SignalAll();
}

Admission::OpenCall::OpenCall(Admission* admission, const grpc::ServerContextBase* context)
    : admission_(*admission), context_(context) {
  absl::MutexLock lock(&admission_.mutex_);
  admission_.open_calls_.emplace(context, this);
}

Admission::OpenCall::~OpenCall() {
  absl::MutexLock lock(&admission_.mutex_);
  admission_.open_calls_.erase(context_);
}

void Admission::Keep(const grpc::ServerContextBase& context, Ticket ticket) {
  absl::MutexLock lock(&mutex_);
  const auto found = open_calls_.find(&context);
  if (found != open_calls_.end()) found->second->ticket_.emplace(std::move(ticket));
}

void Admission::Drain() {
  absl::MutexLock lock(&mutex_);
  if (!draining_) last_arrival_ = absl::Now();
  draining_ = true;
  if (metrics_ != nullptr) metrics_->Draining();
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
