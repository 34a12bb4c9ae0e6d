// server/mapping_service.h -- MappingService over the engine: one stream, two threads.
//
// The handler's thread reads and submits, a second one takes the engine's replies and writes them,
// so that batches flow while answers wait for the journal. What the two share ends with the stream;
// the service itself is stateless and thread-safe.
#ifndef VIOMMU_SERVER_MAPPING_SERVICE_H_
#define VIOMMU_SERVER_MAPPING_SERVICE_H_

#include "engine/engine.h"
#include "server/mapping_metrics.h"
#include "viommu/v1/mapping.grpc.pb.h"

namespace viommu {

// Contract: viommu/v1/mapping.proto.
class MappingService final : public v1::MappingService::Service {
 public:
  using Stream = grpc::ServerReaderWriter<v1::StreamMappingsResponse, v1::StreamMappingsRequest>;

  // Both outlive the service; `metrics` may be null.
  MappingService(Engine* engine, MappingMetrics* metrics) : engine_(*engine), metrics_(metrics) {}

  grpc::Status StreamMappings(grpc::ServerContext* context, Stream* stream) override;

 private:
  Engine& engine_;
  MappingMetrics* const metrics_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_MAPPING_SERVICE_H_
