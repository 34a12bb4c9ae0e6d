#include "server/admission_metrics.h"

namespace viommu {
namespace {

constexpr const char* kKindNames[kCallKinds] = {"call", "revoke", "stream"};  // By CallKind.
constexpr const char* kReasons[kCallRefusals] = {"TOO_MANY_CALLS", "TOO_MANY_STREAMS", "DRAINING"};

}  // namespace

AdmissionMetrics::AdmissionMetrics(prometheus::Registry* registry) {
  auto& in_flight = prometheus::BuildGauge()
                        .Name("viommu_calls_in_flight")
                        .Help("Calls that run and streams that are open.")
                        .Register(*registry);
  auto& refused = prometheus::BuildCounter()
                      .Name("viommu_calls_refused_total")
                      .Help("Calls and streams that were refused before they did anything.")
                      .Register(*registry);
  for (size_t i = 0; i < kCallKinds; ++i) in_flight_[i] = &in_flight.Add({{"kind", kKindNames[i]}});
  for (size_t i = 0; i < kCallRefusals; ++i) refused_[i] = &refused.Add({{"reason", kReasons[i]}});
}

}  // namespace viommu
