// server/mapping_service.h -- MappingService over the engine: one stream, two threads.
//
// The handler's thread reads and submits, a second one takes the engine's replies and writes them,
// so that batches flow while answers wait for the journal. What the two share ends with the stream;
// the service itself is thread-safe. A client that does not read is held back first, by not reading
// from it either, and cut off in the end; what was read from it is carried out in any case.
#ifndef VIOMMU_SERVER_MAPPING_SERVICE_H_
#define VIOMMU_SERVER_MAPPING_SERVICE_H_

#include <cstddef>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "server/admission.h"
#include "server/client_watchdog.h"
#include "server/mapping_metrics.h"
#include "viommu/v1/mapping.grpc.pb.h"

namespace viommu {

// Contract: viommu/v1/mapping.proto.
class MappingService final : public v1::MappingService::Service {
 public:
  using Stream = grpc::ServerReaderWriter<v1::StreamMappingsResponse, v1::StreamMappingsRequest>;

  struct Limits {
    // While more bytes of a stream's batches are unanswered, its next message is not read.
    size_t max_bytes_in_flight;
  };

  // All outlive the service; `metrics` may be null.
  MappingService(Engine* engine, Admission* admission, ClientWatchdog* watchdog,
                 const Limits& limits, MappingMetrics* metrics)
      : engine_(*engine),
        admission_(*admission),
        watchdog_(*watchdog),
        max_bytes_in_flight_(limits.max_bytes_in_flight),
        metrics_(metrics) {}

  grpc::Status StreamMappings(grpc::ServerContext* context, Stream* stream) override;

 private:
  absl::Status Serve(grpc::ServerContext* context, Stream* stream);
  absl::Status Run(const CallContext& call, ClientWatchdog::Guard* guard, Stream* stream);

  Engine& engine_;
  Admission& admission_;
  ClientWatchdog& watchdog_;
  const size_t max_bytes_in_flight_;
  MappingMetrics* const metrics_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_MAPPING_SERVICE_H_
