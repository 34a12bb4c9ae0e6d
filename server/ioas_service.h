// server/ioas_service.h -- IoasService over the engine. Stateless, thread-safe.
#ifndef VIOMMU_SERVER_IOAS_SERVICE_H_
#define VIOMMU_SERVER_IOAS_SERVICE_H_

#include "engine/engine.h"
#include "server/admission.h"
#include "server/mapping_metrics.h"
#include "viommu/v1/ioas.grpc.pb.h"

namespace viommu {

// Contract of each call: viommu/v1/ioas.proto.
class IoasService final : public v1::IoasService::Service {
 public:
  // All outlive the service; `metrics` may be null.
  IoasService(Engine* engine, Admission* admission, MappingMetrics* metrics)
      : engine_(*engine), admission_(*admission), metrics_(metrics) {}

  grpc::Status CreateIoas(grpc::ServerContext* context, const v1::CreateIoasRequest* request,
                          v1::Ioas* response) override;
  grpc::Status GetIoas(grpc::ServerContext* context, const v1::GetIoasRequest* request,
                       v1::Ioas* response) override;
  grpc::Status ListIoas(grpc::ServerContext* context, const v1::ListIoasRequest* request,
                        v1::ListIoasResponse* response) override;
  grpc::Status DeleteIoas(grpc::ServerContext* context, const v1::DeleteIoasRequest* request,
                          google::protobuf::Empty* response) override;
  grpc::Status Map(grpc::ServerContext* context, const v1::MapRequest* request,
                   v1::MapResponse* response) override;
  grpc::Status Unmap(grpc::ServerContext* context, const v1::UnmapRequest* request,
                     v1::UnmapResponse* response) override;
  grpc::Status CopyMappings(grpc::ServerContext* context, const v1::CopyMappingsRequest* request,
                            v1::CopyMappingsResponse* response) override;
  grpc::Status ListMappings(grpc::ServerContext* context, const v1::ListMappingsRequest* request,
                            v1::ListMappingsResponse* response) override;
  grpc::Status Translate(grpc::ServerContext* context, const v1::TranslateRequest* request,
                         v1::TranslateResponse* response) override;
  grpc::Status ListIovaRanges(grpc::ServerContext* context,
                              const v1::ListIovaRangesRequest* request,
                              v1::ListIovaRangesResponse* response) override;
  grpc::Status SetAllowedIovaRanges(grpc::ServerContext* context,
                                    const v1::SetAllowedIovaRangesRequest* request,
                                    v1::Ioas* response) override;
  grpc::Status SetLargePages(grpc::ServerContext* context, const v1::SetLargePagesRequest* request,
                             v1::Ioas* response) override;
  grpc::Status LoadReservedRegions(grpc::ServerContext* context,
                                   const v1::LoadReservedRegionsRequest* request,
                                   v1::Ioas* response) override;
  grpc::Status UnloadReservedRegions(grpc::ServerContext* context,
                                     const v1::UnloadReservedRegionsRequest* request,
                                     v1::Ioas* response) override;

 private:
  Engine& engine_;
  Admission& admission_;
  MappingMetrics* const metrics_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_IOAS_SERVICE_H_
