#include "server/host_service.h"

#include <string>

#include "engine/base/status_macros.h"
#include "server/describe.h"
#include "server/handler.h"
#include "server/names.h"

namespace viommu {

grpc::Status HostService::GetHost(grpc::ServerContext* context, const v1::GetHostRequest* request,
                                  v1::Host* response) {
  return Handle(admission_, *context, *request, [&](const CallContext&) {
    *response = Describe(engine_.GetHost(), limits_.max_message_bytes);
    response->set_listeners(limits_.max_listeners > 0);
    response->mutable_limits()->set_max_listeners(limits_.max_listeners);
    return absl::OkStatus();
  });
}

grpc::Status HostService::GetIommu(grpc::ServerContext* context, const v1::GetIommuRequest* request,
                                   v1::Iommu* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id,
                     ParseHostName(NameKind::kIommu, "name", request->name()));
    ASSIGN_OR_RETURN(const IommuView view, engine_.GetIommu(call, id));
    *response = Describe(view);
    return absl::OkStatus();
  });
}

grpc::Status HostService::ListIommus(grpc::ServerContext* context,
                                     const v1::ListIommusRequest* request,
                                     v1::ListIommusResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) {
    return AnswerPage(
        *request, "", [&](const PageRequest& page) { return engine_.ListIommus(call, page); },
        [&](const IommuView& view) { *response->add_iommus() = Describe(view); }, response);
  });
}

grpc::Status HostService::GetInvalidationQueue(grpc::ServerContext* context,
                                               const v1::GetInvalidationQueueRequest* request,
                                               v1::InvalidationQueue* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string iommu, ParseQueueName("name", request->name()));
    ASSIGN_OR_RETURN(const QueueState state, engine_.GetInvalidationQueue(call, iommu));
    *response = Describe(state);
    return absl::OkStatus();
  });
}

grpc::Status HostService::ListInvalidationQueues(grpc::ServerContext* context,
                                                 const v1::ListInvalidationQueuesRequest* request,
                                                 v1::ListInvalidationQueuesResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) {
    return AnswerPage(
        *request, "",
        [&](const PageRequest& page) { return engine_.ListInvalidationQueues(call, page); },
        [&](const QueueState& state) { *response->add_invalidation_queues() = Describe(state); },
        response);
  });
}

}  // namespace viommu
