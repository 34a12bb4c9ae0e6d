#include "server/domain_service.h"

#include <algorithm>
#include <optional>
#include <string>

#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "server/describe.h"
#include "server/handler.h"
#include "server/names.h"
#include "server/request_check.h"

namespace viommu {
namespace {

absl::StatusOr<std::optional<ObjectRef>> ParseFaultQueue(absl::string_view field,
                                                         const std::string& name) {
  std::optional<ObjectRef> queue;
  if (name.empty()) return queue;
  ASSIGN_OR_RETURN(queue, ParseName(NameKind::kFaultQueue, field, name));
  return queue;
}

absl::StatusOr<PagingDomainRequest> ParsePaging(const v1::PagingDomain& paging) {
  PagingDomainRequest out;
  ASSIGN_OR_RETURN(out.ioas, ParseName(NameKind::kIoas, "domain.paging.ioas", paging.ioas()));
  ASSIGN_OR_RETURN(out.device,
                   ParseHostName(NameKind::kDevice, "domain.paging.device", paging.device()));
  out.nest_parent = paging.nest_parent();
  out.dirty_tracking = paging.dirty_tracking();
  out.pasid = paging.pasid();
  ASSIGN_OR_RETURN(out.fault_queue,
                   ParseFaultQueue("domain.paging.fault_queue", paging.fault_queue()));
  return out;
}

// Widths that the engine refuses stay what they are.
VtdStage1 ParseStage1(const v1::VtdStage1& stage1) {
  VtdStage1 out;
  out.table_address = stage1.table_address();
  out.address_width_bits = static_cast<int>(std::min(stage1.address_width_bits(), 64u));
  out.supervisor_requests = stage1.supervisor_requests();
  out.write_protect = stage1.write_protect();
  out.extended_accessed = stage1.extended_accessed();
  return out;
}

// What the first stage stands on: a parent, or a Viommu.
absl::Status ParseBase(const v1::NestedDomain& nested, NestedDomainRequest* out) {
  if (nested.viommu().empty()) {
    ASSIGN_OR_RETURN(out->parent,
                     ParseName(NameKind::kDomain, "domain.nested.parent", nested.parent()));
    return absl::OkStatus();
  }
  if (!nested.parent().empty()) {
    return Error(absl::StatusCode::kInvalidArgument, "CONFLICTING_FIELDS",
                 "domain.nested.parent and domain.nested.viommu: a Viommu has its parent")
        .Errno("EINVAL")
        .Field("domain.nested.parent");
  }
  ASSIGN_OR_RETURN(out->viommu,
                   ParseName(NameKind::kViommu, "domain.nested.viommu", nested.viommu()));
  return absl::OkStatus();
}

absl::StatusOr<NestedDomainRequest> ParseNested(const v1::NestedDomain& nested) {
  NestedDomainRequest out;
  RETURN_IF_ERROR(ParseBase(nested, &out));
  ASSIGN_OR_RETURN(out.device,
                   ParseHostName(NameKind::kDevice, "domain.nested.device", nested.device()));
  RETURN_IF_ERROR(Require(nested.has_vtd() || nested.has_arm_smmu_v3(), "domain.nested.stage1"));
  if (nested.has_vtd()) {
    out.stage1 = ParseStage1(nested.vtd());
  } else {
    out.stage1 = ArmSmmuV3Stage1{{nested.arm_smmu_v3().ste_0(), nested.arm_smmu_v3().ste_1()}};
  }
  out.pasid = nested.pasid();
  ASSIGN_OR_RETURN(out.fault_queue,
                   ParseFaultQueue("domain.nested.fault_queue", nested.fault_queue()));
  return out;
}

absl::StatusOr<SvaDomainRequest> ParseSva(const v1::SvaDomain& sva) {
  SvaDomainRequest out;
  ASSIGN_OR_RETURN(out.process, ParseName(NameKind::kIoas, "domain.sva.process", sva.process()));
  ASSIGN_OR_RETURN(out.device, ParseHostName(NameKind::kDevice, "domain.sva.device", sva.device()));
  return out;
}

absl::StatusOr<DomainRequest> ParseDomain(const v1::Domain& domain) {
  RETURN_IF_ERROR(Require(domain.kind_case() != v1::Domain::KIND_NOT_SET, "domain.paging"));
  if (domain.has_sva()) return ParseSva(domain.sva());
  if (domain.has_nested()) return ParseNested(domain.nested());
  return ParsePaging(domain.paging());
}

}  // namespace

grpc::Status DomainService::CreateDomain(grpc::ServerContext* context,
                                         const v1::CreateDomainRequest* request,
                                         v1::Domain* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    const std::string& id = request->domain_id();
    RETURN_IF_ERROR(CheckNewId("domain_id", id));
    ASSIGN_OR_RETURN(const DomainRequest wanted, ParseDomain(request->domain()));
    ASSIGN_OR_RETURN(const DomainView view, engine_.CreateDomain(call, id, wanted));
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

grpc::Status DomainService::SetDirtyTracking(grpc::ServerContext* context,
                                             const v1::SetDirtyTrackingRequest* request,
                                             v1::Domain* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kDomain, "name", request->name()));
    RETURN_IF_ERROR(Require(request->has_enabled(), "enabled"));
    ASSIGN_OR_RETURN(const DomainView view,
                     engine_.SetDirtyTracking(call, ref, request->enabled(), request->etag()));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status DomainService::ReadDirtyBitmap(grpc::ServerContext* context,
                                            const v1::ReadDirtyBitmapRequest* request,
                                            v1::DirtyBitmap* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kDomain, "name", request->name()));
    RETURN_IF_ERROR(Require(request->has_iova(), "iova"));
    const DirtyRequest wanted{request->iova(), request->length(), request->page_size_bytes(),
                              request->no_clear()};
    ASSIGN_OR_RETURN(const DirtyBitmap bitmap, engine_.ReadDirtyBitmap(call, ref, wanted));
    response->set_iova(bitmap.range().first);
    response->set_page_size_bytes(bitmap.page_bytes());
    response->set_page_count(bitmap.page_count());
    response->set_dirty_page_count(bitmap.dirty_count());
    response->mutable_words()->Add(bitmap.words().begin(), bitmap.words().end());
    return absl::OkStatus();
  });
}

}  // namespace viommu
