// server/listener_service.h -- ListenerService for operators. Thread-safe.
#ifndef VIOMMU_SERVER_LISTENER_SERVICE_H_
#define VIOMMU_SERVER_LISTENER_SERVICE_H_

#include "server/admission.h"
#include "server/tenant_listeners.h"
#include "viommu/v1/listener.grpc.pb.h"

namespace viommu {

// Contract of each call: viommu/v1/listener.proto.
class ListenerService final : public v1::ListenerService::Service {
 public:
  // Both outlive the service; `listeners` may be null: the daemon has none.
  ListenerService(TenantListeners* listeners, Admission* admission)
      : listeners_(listeners), admission_(*admission) {}

  grpc::Status CreateListener(grpc::ServerContext* context,
                              const v1::CreateListenerRequest* request,
                              v1::Listener* response) override;
  grpc::Status GetListener(grpc::ServerContext* context, const v1::GetListenerRequest* request,
                           v1::Listener* response) override;
  grpc::Status ListListeners(grpc::ServerContext* context, const v1::ListListenersRequest* request,
                             v1::ListListenersResponse* response) override;
  grpc::Status DeleteListener(grpc::ServerContext* context,
                              const v1::DeleteListenerRequest* request,
                              google::protobuf::Empty* response) override;

 private:
  absl::Status CheckUsable(const CallContext& call) const;

  TenantListeners* const listeners_;
  Admission& admission_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_LISTENER_SERVICE_H_
