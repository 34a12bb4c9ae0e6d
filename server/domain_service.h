// server/domain_service.h -- DomainService over the engine. Stateless, thread-safe.
#ifndef VIOMMU_SERVER_DOMAIN_SERVICE_H_
#define VIOMMU_SERVER_DOMAIN_SERVICE_H_

#include "engine/engine.h"
#include "server/admission.h"
#include "viommu/v1/domain.grpc.pb.h"

namespace viommu {

// Contract of each call: viommu/v1/domain.proto.
class DomainService final : public v1::DomainService::Service {
 public:
  // Both outlive the service.
  DomainService(Engine* engine, Admission* admission) : engine_(*engine), admission_(*admission) {}

  grpc::Status CreateDomain(grpc::ServerContext* context, const v1::CreateDomainRequest* request,
                            v1::Domain* response) override;
  grpc::Status GetDomain(grpc::ServerContext* context, const v1::GetDomainRequest* request,
                         v1::Domain* response) override;
  grpc::Status ListDomains(grpc::ServerContext* context, const v1::ListDomainsRequest* request,
                           v1::ListDomainsResponse* response) override;
  grpc::Status DeleteDomain(grpc::ServerContext* context, const v1::DeleteDomainRequest* request,
                            google::protobuf::Empty* response) override;
  grpc::Status SetDirtyTracking(grpc::ServerContext* context,
                                const v1::SetDirtyTrackingRequest* request,
                                v1::Domain* response) override;
  grpc::Status ReadDirtyBitmap(grpc::ServerContext* context,
                               const v1::ReadDirtyBitmapRequest* request,
                               v1::DirtyBitmap* response) override;

 private:
  Engine& engine_;
  Admission& admission_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_DOMAIN_SERVICE_H_
