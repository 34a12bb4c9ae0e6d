// server/no_listener_service.h -- ListenerService as tenants meet it: refused. Stateless,
// thread-safe.
#ifndef VIOMMU_SERVER_NO_LISTENER_SERVICE_H_
#define VIOMMU_SERVER_NO_LISTENER_SERVICE_H_

#include "absl/status/status.h"
#include "server/admission.h"
#include "viommu/v1/listener.grpc.pb.h"

namespace viommu {

// kPermissionDenied NOT_OPERATOR
absl::Status ListenersAreForOperators();

// Answers every call with ListenersAreForOperators. What makes and deletes listeners is not behind
// a tenant's door at all.
class NoListenerService final : public v1::ListenerService::Service {
 public:
  // It outlives the service.
  explicit NoListenerService(Admission* admission) : admission_(*admission) {}

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
  Admission& admission_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_NO_LISTENER_SERVICE_H_
