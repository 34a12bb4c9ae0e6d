// server/admission_metrics.h -- How many calls run, and how many were refused before they did.
//
//   viommu_calls_in_flight          {kind="call|revoke|stream"}
//   viommu_calls_limit              {kind}: how many may run
//   viommu_calls_refused_total      {reason="TOO_MANY_CALLS|TOO_MANY_STREAMS|DRAINING"}
//   viommu_serving                  1 until the server drains
#ifndef VIOMMU_SERVER_ADMISSION_METRICS_H_
#define VIOMMU_SERVER_ADMISSION_METRICS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/registry.h"

namespace viommu {

// Each kind has a limit of its own; see admission.h.
enum class CallKind {
  kCall,    // Unary, and not kRevoke: queries too.
  kRevoke,  // Unary, takes something away.
  kStream,  // A mapping stream, while it is open.
};
inline constexpr size_t kCallKinds = 3;

enum class CallRefusal { kTooManyCalls, kTooManyStreams, kDraining };
inline constexpr size_t kCallRefusals = 3;

// Thread-safe.
class AdmissionMetrics {
 public:
  // The series live in `registry`, which must outlive this.
  explicit AdmissionMetrics(prometheus::Registry* registry);

  // Calls are let in from now on, `limit` of each kind at a time.
  void Serving(const std::array<uint32_t, kCallKinds>& limits);
  // None is let in any more.
  void Draining() { serving_->Set(0); }

  void Began(CallKind kind) { in_flight_[static_cast<size_t>(kind)]->Increment(); }
  void Ended(CallKind kind) { in_flight_[static_cast<size_t>(kind)]->Decrement(); }
  void Refused(CallRefusal reason) { refused_[static_cast<size_t>(reason)]->Increment(); }

 private:
  std::array<prometheus::Gauge*, kCallKinds> in_flight_ = {};
  std::array<prometheus::Gauge*, kCallKinds> limits_ = {};
  std::array<prometheus::Counter*, kCallRefusals> refused_ = {};
  prometheus::Gauge* serving_ = nullptr;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_ADMISSION_METRICS_H_
