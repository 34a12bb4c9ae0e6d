#include "server/no_listener_service.h"

#include "engine/base/errors.h"
#include "server/handler.h"

namespace viommu {
namespace {

template <typename Request>
grpc::Status Refuse(Admission& admission, const grpc::ServerContext& context,
                    const Request& request) {
  return Handle(admission, context, request,
                [](const CallContext&) { return ListenersAreForOperators(); });
}

}  // namespace

absl::Status ListenersAreForOperators() {
  return Error(absl::StatusCode::kPermissionDenied, "NOT_OPERATOR",
               "only an operator may make, see and delete listeners")
      .Errno("EACCES");
}

grpc::Status NoListenerService::CreateListener(grpc::ServerContext* context,
                                               const v1::CreateListenerRequest* request,
                                               v1::Listener*) {
  return Refuse(admission_, *context, *request);
}

grpc::Status NoListenerService::GetListener(grpc::ServerContext* context,
                                            const v1::GetListenerRequest* request, v1::Listener*) {
  return Refuse(admission_, *context, *request);
}

grpc::Status NoListenerService::ListListeners(grpc::ServerContext* context,
                                              const v1::ListListenersRequest* request,
                                              v1::ListListenersResponse*) {
  return Refuse(admission_, *context, *request);
}

grpc::Status NoListenerService::DeleteListener(grpc::ServerContext* context,
                                               const v1::DeleteListenerRequest* request,
                                               google::protobuf::Empty*) {
  return Refuse(admission_, *context, *request);
}

}  // namespace viommu
