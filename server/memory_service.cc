#include "server/memory_service.h"

#include <optional>
#include <string>

#include "engine/base/status_macros.h"
#include "server/describe.h"
#include "server/handler.h"
#include "server/names.h"
#include "server/request_check.h"

namespace viommu {

grpc::Status MemoryService::CreateMemoryRegion(grpc::ServerContext* context,
                                               const v1::CreateMemoryRegionRequest* request,
                                               v1::MemoryRegion* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    const std::string& id = request->memory_region_id();
    RETURN_IF_ERROR(CheckNewId("memory_region_id", id));
    RETURN_IF_ERROR(Require(request->has_memory_region(), "memory_region"));
    const v1::MemoryRegion& wanted = request->memory_region();
    std::optional<int32_t> numa_node;
    if (wanted.has_numa_node()) numa_node = wanted.numa_node();
    ASSIGN_OR_RETURN(
        const MemoryRegionView view,
        engine_.CreateMemoryRegion(call, id, wanted.size_bytes(), numa_node, wanted.read_only()));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status MemoryService::GetMemoryRegion(grpc::ServerContext* context,
                                            const v1::GetMemoryRegionRequest* request,
                                            v1::MemoryRegion* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref,
                     ParseName(NameKind::kMemoryRegion, "name", request->name()));
    ASSIGN_OR_RETURN(const MemoryRegionView view, engine_.GetMemoryRegion(call, ref));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status MemoryService::ListMemoryRegions(grpc::ServerContext* context,
                                              const v1::ListMemoryRegionsRequest* request,
                                              v1::ListMemoryRegionsResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) {
    return AnswerPage(
        *request, "",
        [&](const PageRequest& page) { return engine_.ListMemoryRegions(call, page); },
        [&](const MemoryRegionView& view) {
          *response->add_memory_regions() = Describe(view, call);
        },
        response);
  });
}

grpc::Status MemoryService::DeleteMemoryRegion(grpc::ServerContext* context,
                                               const v1::DeleteMemoryRegionRequest* request,
                                               google::protobuf::Empty*) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref,
                     ParseName(NameKind::kMemoryRegion, "name", request->name()));
    return engine_.DeleteMemoryRegion(call, ref, request->etag());
  });
}

}  // namespace viommu
