// server/memory_service.h -- MemoryService over the engine. Stateless, thread-safe.
#ifndef VIOMMU_SERVER_MEMORY_SERVICE_H_
#define VIOMMU_SERVER_MEMORY_SERVICE_H_

#include "engine/engine.h"
#include "server/admission.h"
#include "viommu/v1/memory.grpc.pb.h"

namespace viommu {

// Contract of each call: viommu/v1/memory.proto.
class MemoryService final : public v1::MemoryService::Service {
 public:
  // Both outlive the service.
  MemoryService(Engine* engine, Admission* admission) : engine_(*engine), admission_(*admission) {}

  grpc::Status CreateMemoryRegion(grpc::ServerContext* context,
                                  const v1::CreateMemoryRegionRequest* request,
                                  v1::MemoryRegion* response) override;
  grpc::Status GetMemoryRegion(grpc::ServerContext* context,
                               const v1::GetMemoryRegionRequest* request,
                               v1::MemoryRegion* response) override;
  grpc::Status ListMemoryRegions(grpc::ServerContext* context,
                                 const v1::ListMemoryRegionsRequest* request,
                                 v1::ListMemoryRegionsResponse* response) override;
  grpc::Status DeleteMemoryRegion(grpc::ServerContext* context,
                                  const v1::DeleteMemoryRegionRequest* request,
                                  google::protobuf::Empty* response) override;

 private:
  Engine& engine_;
  Admission& admission_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_MEMORY_SERVICE_H_
