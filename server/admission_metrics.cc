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
  auto& limit = prometheus::BuildGauge()
                    .Name("viommu_calls_limit")
                    .Help("Calls that may run at once, and streams that may be open.")
                    .Register(*registry);
  auto& refused = prometheus::BuildCounter()
                      .Name("viommu_calls_refused_total")
                      .Help("Calls and streams that were refused before they did anything.")
                      .Register(*registry);
  for (size_t i = 0; i < kCallKinds; ++i) {
    in_flight_[i] = &in_flight.Add({{"kind", kKindNames[i]}});
    limits_[i] = &limit.Add({{"kind", kKindNames[i]}});
  }
  for (size_t i = 0; i < kCallRefusals; ++i) refused_[i] = &refused.Add({{"reason", kReasons[i]}});
  serving_ = &prometheus::BuildGauge()
                  .Name("viommu_serving")
                  .Help("1 while calls are let in, 0 from the start of a drain.")
                  .Register(*registry)
                  .Add({});
}

void AdmissionMetrics::Serving(const std::array<uint32_t, kCallKinds>& limits) {
  for (size_t i = 0; i < kCallKinds; ++i) limits_[i]->Set(limits[i]);
  serving_->Set(1);
}

}  // namespace viommu
