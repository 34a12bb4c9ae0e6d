#include "server/domain_service.h"

#include <string>

#include "engine/base/status_macros.h"
#include "server/describe.h"
#include "server/handler.h"
#include "server/names.h"
#include "server/request_check.h"

namespace viommu {

grpc::Status DomainService::CreateDomain(grpc::ServerContext* context,
                                         const v1::CreateDomainRequest* request,
                                         v1::Domain* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    const std::string& id = request->domain_id();
    RETURN_IF_ERROR(CheckNewId("domain_id", id));
    RETURN_IF_ERROR(Require(request->domain().has_paging(), "domain.paging"));
    const v1::PagingDomain& paging = request->domain().paging();
    ASSIGN_OR_RETURN(const ObjectRef ioas,
                     ParseName(NameKind::kIoas, "domain.paging.ioas", paging.ioas()));
    ASSIGN_OR_RETURN(const std::string device,
                     ParseHostName(NameKind::kDevice, "domain.paging.device", paging.device()));
    ASSIGN_OR_RETURN(const DomainView view, engine_.CreateDomain(call, id, ioas, device));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status DomainService::GetDomain(grpc::ServerContext* context,
                                      const v1::GetDomainRequest* request, v1::Domain* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kDomain, "name", request->name()));
    ASSIGN_OR_RETURN(const DomainView view, engine_.GetDomain(call, ref));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status DomainService::ListDomains(grpc::ServerContext* context,
                                        const v1::ListDomainsRequest* request,
                                        v1::ListDomainsResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) {
    return AnswerPage(
        *request, "", [&](const PageRequest& page) { return engine_.ListDomains(call, page); },
        [&](const DomainView& view) { *response->add_domains() = Describe(view, call); }, response);
  });
}

grpc::Status DomainService::DeleteDomain(grpc::ServerContext* context,
                                         const v1::DeleteDomainRequest* request,
                                         google::protobuf::Empty*) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kDomain, "name", request->name()));
    return engine_.DeleteDomain(call, ref, request->etag());
  });
}

}  // namespace viommu
