// server/admission.h -- Which calls may run: so many of each kind, and none once the server drains.
//
// gRPC has one limit for all threads and refuses without a reason when it is met. Ours lie below it
// and are apart, so that waiting grants leave room for calls that take something away, and open
// streams leave room for both. A unary call runs until its client has the answer: so long it keeps
// a thread of gRPC's.
//
// Every door (door.h) has an Admission. That of a tenant's takes from the one of all doors, too,
// and no more than a share; what all tenants take together leaves operators a reserve.
#ifndef VIOMMU_SERVER_ADMISSION_H_
#define VIOMMU_SERVER_ADMISSION_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "server/admission_metrics.h"
#include "server/caller.h"
#include "server/transport.h"

namespace viommu {

// The kind of a unary method of the API, "Unmap": kRevoke for those that take something away,
// otherwise kCall.
CallKind KindOf(absl::string_view method);

struct AdmissionLimits {
  // How many may run at once.
  uint32_t max_calls = 128;
  uint32_t max_revokes = 32;
  uint32_t max_streams = 64;
  // The longest that a kCall may wait for its turn, whatever its own deadline is: nobody may be
  // there any more to take the answer.
  absl::Duration max_wait = absl::Minutes(1);
};

// Thread-safe.
class Admission {
 public:
  // The right of one call to run, until it is destroyed. The Admission outlives it.
  class Ticket {
   public:
    Ticket(Ticket&& other) noexcept
        : admission_(other.admission_), kind_(other.kind_), transport_(other.transport_) {
      other.admission_ = nullptr;
    }
    Ticket& operator=(Ticket&&) = delete;
    ~Ticket() {
      if (admission_ != nullptr) admission_->Return(kind_, transport_);
    }

   private:
    friend class Admission;
    Ticket(Admission* admission, CallKind kind, Transport transport)
        : admission_(admission), kind_(kind), transport_(transport) {}

    Admission* admission_;
    CallKind kind_;
    Transport transport_;
  };

  // One call of a gRPC server, from before its handler runs until gRPC has done with it: its client
  // has the answer or is gone.
  class OpenCall {
   public:
    // The admission outlives this; `context` is the one that the handler gets.
    OpenCall(Admission* admission, const grpc::ServerContextBase* context);
    ~OpenCall();
    OpenCall(const OpenCall&) = delete;
    OpenCall& operator=(const OpenCall&) = delete;

   private:
    friend class Admission;

    Admission& admission_;
    const grpc::ServerContextBase* const context_;
    std::optional<Ticket> ticket_;
  };

  // Of operators. `metrics` may be null, or outlives this.
  Admission(const AdmissionLimits& limits, AdmissionMetrics* metrics)
      : Admission(limits, metrics, Caller::Operator(), nullptr) {}
  // Of a tenant. `whole` is that of all doors, and outlives this.
  Admission(const AdmissionLimits& share, AdmissionMetrics* metrics, Caller caller,
            Admission* whole)
      : limits_(share), metrics_(metrics), caller_(std::move(caller)), whole_(whole) {}

  const AdmissionLimits& limits() const { return limits_; }
  const Caller& caller() const { return caller_; }

  // Of each kind one in eight, if there are two at least, is kept from tenants; of the streams it
  // is kept for operators' unix sockets.
  // kResourceExhausted  TOO_MANY_CALLS, TOO_MANY_STREAMS: as many of its kind run as may
  // kUnavailable        DRAINING: Drain was called, of this one or of the whole
  absl::StatusOr<Ticket> Admit(CallKind kind, Transport transport = Transport::kUnix)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // For streams that would go on for ever. kUnavailable DRAINING: Drain was called
  absl::Status CheckServing() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Lets `ticket` last as long as the OpenCall of `context`; without one, it ends here.
  void Keep(const grpc::ServerContextBase& context, Ticket ticket) ABSL_LOCKS_EXCLUDED(mutex_);

  // From now on every call is refused.
  void Drain() ABSL_LOCKS_EXCLUDED(mutex_);

  // Drain was called. Waits, at most until `deadline`, until nothing runs and callers have been
  // told long enough that none has come for a moment.
  void AwaitQuiet(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  uint32_t LimitOf(CallKind kind) const;
  absl::Status Draining() const;
  absl::Status CheckRoom(CallKind kind, Transport transport) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AdmitHere(CallKind kind, Transport transport) ABSL_LOCKS_EXCLUDED(mutex_);
  void ReturnHere(CallKind kind, Transport transport) ABSL_LOCKS_EXCLUDED(mutex_);
  void Return(CallKind kind, Transport transport) ABSL_LOCKS_EXCLUDED(mutex_);
  bool Idle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const AdmissionLimits limits_;
  AdmissionMetrics* const metrics_;
  const Caller caller_;
  Admission* const whole_;     // Null: this one is it.
  mutable absl::Mutex mutex_;  // Never held together with that of `whole_`.
  absl::CondVar returned_;
  std::array<uint32_t, kCallKinds> running_ ABSL_GUARDED_BY(mutex_) = {};  // By CallKind.
  std::array<uint32_t, kCallKinds> shared_ ABSL_GUARDED_BY(mutex_) = {};   // Of those, IsShared.
  absl::flat_hash_map<const grpc::ServerContextBase*, OpenCall*> open_calls_
      ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time last_arrival_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();  // While draining.
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_ADMISSION_H_
