#include "server/admission.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

constexpr absl::string_view kRevokes[] = {
    "DeleteDomain",        "DeleteIoas",         "DeleteMemoryRegion",
    "DetachDevice",        "HostUnmap",          "Unmap",
    "ReleaseDevice",       "RevokeMemoryRegion", "UnloadReservedRegions",
    "UnplugDevice",        "FreePasid",          "Invalidate",
    "DeleteViommu",        "DeleteVdevice",      "DeleteEventQueue",
    "DeleteHardwareQueue", "DeleteFaultQueue",   "RespondFault",
    "DeleteListener",
};

// No call for so long: those that were on their way have arrived.
constexpr absl::Duration kQuiet = absl::Milliseconds(100);
// Callers that do not heed a refusal must not keep us.
constexpr absl::Duration kMaxLinger = absl::Seconds(1);

absl::Status Full(absl::string_view reason, absl::string_view limit, uint32_t most,
                  absl::string_view what) {
  return Error(absl::StatusCode::kResourceExhausted, reason,
               absl::StrCat(most, " ", what, " (", limit, "); nothing changed"))
      .Meta("limit", limit)
      .Meta("value", absl::StrCat(most));
}

absl::string_view NameOfLimit(CallKind kind) {
  switch (kind) {
    case CallKind::kRevoke:
      return "max_revokes";
    case CallKind::kStream:
      return "max_streams";
    case CallKind::kCall:
      break;
  }
  return "max_calls";
}

// `where`: of which calls there are `most`.
absl::Status TooMany(CallKind kind, uint32_t most, absl::string_view where) {
  const bool stream = kind == CallKind::kStream;
  return Full(stream ? "TOO_MANY_STREAMS" : "TOO_MANY_CALLS", NameOfLimit(kind), most,
              absl::StrCat(stream ? "streams are open " : "calls of this kind run ", where));
}

// What must leave a reserve to others: all of tenants, and of operators the streams over TCP.
bool IsShared(CallKind kind, Transport transport) {
  return transport == Transport::kListener ||
         (transport == Transport::kTcp && kind == CallKind::kStream);
}

uint32_t MostShared(uint32_t most) { return most < 2 ? most : most - std::max(1u, most / 8); }

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

absl::Status Admission::Draining() const {
  return Error(absl::StatusCode::kUnavailable, "DRAINING",
               whole_ == nullptr ? "the server is being stopped; nothing changed"
                                 : "the listener is being deleted; nothing changed");
}

absl::Status Admission::CheckRoom(CallKind kind, Transport transport) const {
  const uint32_t most = LimitOf(kind);
  if (running_[static_cast<size_t>(kind)] >= most) {
    return TooMany(kind, most, whole_ == nullptr ? "already" : "through this listener already");
  }
  if (whole_ != nullptr || !IsShared(kind, transport)) return absl::OkStatus();
  if (shared_[static_cast<size_t>(kind)] < MostShared(most)) return absl::OkStatus();
  return TooMany(
      kind, MostShared(most),
      transport == Transport::kTcp
          ? "over TCP and through listeners already, the rest is kept for the unix socket"
          : "of tenants already, the rest is kept for operators");
}

absl::Status Admission::AdmitHere(CallKind kind, Transport transport) {
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
  if (IsShared(kind, transport)) ++shared_[static_cast<size_t>(kind)];
  if (metrics_ != nullptr && whole_ == nullptr) metrics_->Began(kind);
  return absl::OkStatus();
}

absl::StatusOr<Admission::Ticket> Admission::Admit(CallKind kind, Transport transport) {
  if (whole_ != nullptr) transport = Transport::kListener;
  RETURN_IF_ERROR(AdmitHere(kind, transport));
  if (whole_ == nullptr) return Ticket(this, kind, transport);
  absl::Status admitted = whole_->AdmitHere(kind, transport);
  if (admitted.ok()) return Ticket(this, kind, transport);
  ReturnHere(kind, transport);
  return admitted;
}

absl::Status Admission::CheckServing() const {
  if (whole_ != nullptr) RETURN_IF_ERROR(whole_->CheckServing());
  absl::MutexLock lock(&mutex_);
  return draining_ ? Draining() : absl::OkStatus();
}

void Admission::Return(CallKind kind, Transport transport) {
  ReturnHere(kind, transport);
  if (whole_ != nullptr) whole_->ReturnHere(kind, transport);
}

void Admission::ReturnHere(CallKind kind, Transport transport) {
  absl::MutexLock lock(&mutex_);
  --running_[static_cast<size_t>(kind)];
  if (IsShared(kind, transport)) --shared_[static_cast<size_t>(kind)];
  if (metrics_ != nullptr && whole_ == nullptr) metrics_->Ended(kind);
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
