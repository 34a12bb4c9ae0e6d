#include "server/ioas_service.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "server/batches.h"
#include "server/convert.h"
#include "server/describe.h"
#include "server/handler.h"
#include "server/names.h"
#include "server/request_check.h"

namespace viommu {
namespace {

absl::StatusOr<IovaRange> ParseWindow(const v1::ListMappingsRequest& request) {
  IovaRange window{0, kMaxAddress};
  if (request.has_first_iova()) window.first = request.first_iova();
  if (request.has_last_iova()) window.last = request.last_iova();
  if (window.first <= window.last) return window;
  return Error(absl::StatusCode::kInvalidArgument, "RANGE_INVALID",
               absl::StrCat("last_iova ", Hex(window.last), " is below first_iova ",
                            Hex(window.first)))
      .Errno("EINVAL")
      .Field("last_iova")
      .ToStatus();
}

absl::StatusOr<CopyRequest> ParseCopy(const v1::CopyMappingsRequest& request) {
  CopyRequest copy;
  ASSIGN_OR_RETURN(copy.source, ParseName(NameKind::kIoas, "source", request.source()));
  RETURN_IF_ERROR(Require(request.has_source_iova(), "source_iova"));
  copy.source_iova = request.source_iova();
  copy.length_bytes = request.length();
  if (request.has_iova()) copy.iova = request.iova();
  ASSIGN_OR_RETURN(copy.permission,
                   ParsePermission("permission", request.permission(), Permission::kReadWrite));
  return copy;
}

template <typename Response>
void DescribeAnswer(const MapAnswer& answer, Response* response) {
  response->mutable_iovas()->Add(answer.iovas.begin(), answer.iovas.end());
  response->set_mapping_revision(answer.mapping_revision);
  for (const DomainLeaves& planned : answer.planned_leaves) {
    v1::DomainLeaves* const out = response->add_planned_leaves();
    out->set_domain(planned.domain);
    for (const LeafCount& leaf : planned.leaves) {
      v1::LeafCount* const count = out->add_leaves();
      count->set_page_size_bytes(leaf.page_size_bytes);
      count->set_count(leaf.count);
    }
  }
}

}  // namespace

grpc::Status IoasService::CreateIoas(grpc::ServerContext* context,
                                     const v1::CreateIoasRequest* request, v1::Ioas* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    RETURN_IF_ERROR(CheckNewId("ioas_id", request->ioas_id()));
    IoasOptions options;
    ASSIGN_OR_RETURN(options.mode, ParseIoasMode("ioas.mode", request->ioas().mode()));
    if (request->ioas().has_large_pages()) options.large_pages = request->ioas().large_pages();
    ASSIGN_OR_RETURN(const IoasView view, engine_.CreateIoas(call, request->ioas_id(), options));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status IoasService::GetIoas(grpc::ServerContext* context, const v1::GetIoasRequest* request,
                                  v1::Ioas* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kIoas, "name", request->name()));
    ASSIGN_OR_RETURN(const IoasView view, engine_.GetIoas(call, ref));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status IoasService::ListIoas(grpc::ServerContext* context, const v1::ListIoasRequest* request,
                                   v1::ListIoasResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) {
    return AnswerPage(
        *request, "", [&](const PageRequest& page) { return engine_.ListIoas(call, page); },
        [&](const IoasView& view) { *response->add_ioas() = Describe(view, call); }, response);
  });
}

grpc::Status IoasService::DeleteIoas(grpc::ServerContext* context,
                                     const v1::DeleteIoasRequest* request,
                                     google::protobuf::Empty*) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kIoas, "name", request->name()));
    return engine_.DeleteIoas(call, ref, request->etag());
  });
}

grpc::Status IoasService::Map(grpc::ServerContext* context, const v1::MapRequest* request,
                              v1::MapResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kIoas, "name", request->name()));
    ASSIGN_OR_RETURN(const MapBatch batch, ParseMap(*request));
    const absl::Time start = absl::Now();
    const absl::StatusOr<MapAnswer> answer = engine_.Map(call, ref, batch);
    if (metrics_ != nullptr) {
      metrics_->ObserveMap(MappingMetrics::Path::kUnary, batch.entries.size(), absl::Now() - start);
    }
    RETURN_IF_ERROR(answer.status());
    DescribeAnswer(*answer, response);
    return absl::OkStatus();
  });
}

grpc::Status IoasService::Unmap(grpc::ServerContext* context, const v1::UnmapRequest* request,
                                v1::UnmapResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kIoas, "name", request->name()));
    ASSIGN_OR_RETURN(const UnmapBatch batch, ParseUnmap(*request));
    const absl::Time start = absl::Now();
    const absl::StatusOr<UnmapAnswer> answer = engine_.Unmap(call, ref, batch);
    if (metrics_ != nullptr) {
      metrics_->ObserveUnmap(MappingMetrics::Path::kUnary, batch.entries.size(),
                             absl::Now() - start);
    }
    RETURN_IF_ERROR(answer.status());
    response->set_unmapped_bytes(answer->unmapped_bytes);
    response->set_unmapped_count(answer->unmapped_areas);
    response->set_mapping_revision(answer->mapping_revision);
    return absl::OkStatus();
  });
}

grpc::Status IoasService::CopyMappings(grpc::ServerContext* context,
                                       const v1::CopyMappingsRequest* request,
                                       v1::CopyMappingsResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kIoas, "name", request->name()));
    ASSIGN_OR_RETURN(const CopyRequest copy, ParseCopy(*request));
    ASSIGN_OR_RETURN(const MapAnswer answer, engine_.CopyMappings(call, ref, copy));
    DescribeAnswer(answer, response);
    return absl::OkStatus();
  });
}

grpc::Status IoasService::ListMappings(grpc::ServerContext* context,
                                       const v1::ListMappingsRequest* request,
                                       v1::ListMappingsResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kIoas, "parent", request->parent()));
    ASSIGN_OR_RETURN(const IovaRange window, ParseWindow(*request));
    return AnswerPage(
        *request, absl::StrCat(request->parent(), ToString(window)),
        [&](const PageRequest& page) { return engine_.ListMappings(call, ref, window, page); },
        [&](const MappingView& view) { *response->add_mappings() = Describe(view); }, response);
  });
}

grpc::Status IoasService::Translate(grpc::ServerContext* context,
                                    const v1::TranslateRequest* request,
                                    v1::TranslateResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kIoas, "name", request->name()));
    RETURN_IF_ERROR(Require(request->has_iova(), "iova"));
    ASSIGN_OR_RETURN(const TranslationView view, engine_.Translate(call, ref, request->iova()));
    *response = Describe(view);
    return absl::OkStatus();
  });
}

grpc::Status IoasService::ListIovaRanges(grpc::ServerContext* context,
                                         const v1::ListIovaRangesRequest* request,
                                         v1::ListIovaRangesResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kIoas, "parent", request->parent()));
    ASSIGN_OR_RETURN(const std::vector<IovaRange> ranges, engine_.ListIovaRanges(call, ref));
    for (const IovaRange& range : ranges) *response->add_ranges() = ToProto(range);
    return absl::OkStatus();
  });
}

grpc::Status IoasService::SetAllowedIovaRanges(grpc::ServerContext* context,
                                               const v1::SetAllowedIovaRangesRequest* request,
                                               v1::Ioas* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kIoas, "name", request->name()));
    std::vector<IovaRange> ranges;
    for (const v1::IovaRange& range : request->ranges()) ranges.push_back(ParseRange(range));
    ASSIGN_OR_RETURN(const IoasView view,
                     engine_.SetAllowedIovaRanges(call, ref, ranges, request->etag()));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status IoasService::SetLargePages(grpc::ServerContext* context,
                                        const v1::SetLargePagesRequest* request,
                                        v1::Ioas* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kIoas, "name", request->name()));
    RETURN_IF_ERROR(Require(request->has_large_pages(), "large_pages"));
    ASSIGN_OR_RETURN(const IoasView view,
                     engine_.SetLargePages(call, ref, request->large_pages(), request->etag()));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status IoasService::LoadReservedRegions(grpc::ServerContext* context,
                                              const v1::LoadReservedRegionsRequest* request,
                                              v1::Ioas* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kIoas, "name", request->name()));
    ASSIGN_OR_RETURN(const std::string device,
                     ParseHostName(NameKind::kDevice, "device", request->device()));
    ASSIGN_OR_RETURN(const IoasView view,
                     engine_.LoadReservedRegions(call, ref, device, request->etag()));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status IoasService::UnloadReservedRegions(grpc::ServerContext* context,
                                                const v1::UnloadReservedRegionsRequest* request,
                                                v1::Ioas* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kIoas, "name", request->name()));
    ASSIGN_OR_RETURN(const std::string device,
                     ParseHostName(NameKind::kDevice, "device", request->device()));
    ASSIGN_OR_RETURN(const IoasView view,
                     engine_.UnloadReservedRegions(call, ref, device, request->etag()));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

}  // namespace viommu
