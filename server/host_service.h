// server/host_service.h -- HostService over the engine. Stateless, thread-safe.
#ifndef VIOMMU_SERVER_HOST_SERVICE_H_
#define VIOMMU_SERVER_HOST_SERVICE_H_

#include <cstdint>

#include "engine/engine.h"
#include "server/admission.h"
#include "viommu/v1/host.grpc.pb.h"

namespace viommu {

// Contract of each call: viommu/v1/host.proto.
class HostService final : public v1::HostService::Service {
 public:
  // What of the frontend is shown among the limits.
  struct Limits {
    uint64_t max_message_bytes = 0;
    uint32_t max_listeners = 0;  // 0: there are no listeners.
  };

  // Both outlive the service.
  HostService(Engine* engine, Admission* admission, const Limits& limits)
      : engine_(*engine), admission_(*admission), limits_(limits) {}

  grpc::Status GetHost(grpc::ServerContext* context, const v1::GetHostRequest* request,
                       v1::Host* response) override;
  grpc::Status GetIommu(grpc::ServerContext* context, const v1::GetIommuRequest* request,
                        v1::Iommu* response) override;
  grpc::Status ListIommus(grpc::ServerContext* context, const v1::ListIommusRequest* request,
                          v1::ListIommusResponse* response) override;
  grpc::Status GetInvalidationQueue(grpc::ServerContext* context,
                                    const v1::GetInvalidationQueueRequest* request,
                                    v1::InvalidationQueue* response) override;
  grpc::Status ListInvalidationQueues(grpc::ServerContext* context,
                                      const v1::ListInvalidationQueuesRequest* request,
                                      v1::ListInvalidationQueuesResponse* response) override;

 private:
  Engine& engine_;
  Admission& admission_;
  const Limits limits_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_HOST_SERVICE_H_
