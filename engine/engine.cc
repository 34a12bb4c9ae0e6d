#include "engine/engine.h"

#include <variant>

#include "absl/strings/str_format.h"
#include "engine/core.h"
#include "engine/model/default_domains.h"
#include "engine/model/views.h"
#include "engine/operations/attach_operations.h"
#include "engine/operations/claim_operations.h"
#include "engine/operations/detach_operation.h"
#include "engine/operations/dirty_operations.h"
#include "engine/operations/domain_operations.h"
#include "engine/operations/invalidate_operation.h"
#include "engine/operations/ioas_operations.h"
#include "engine/operations/mapping_operations.h"
#include "engine/operations/memory_region_operations.h"
#include "engine/operations/move_claim_operation.h"
#include "engine/operations/nested_domain_operations.h"
#include "engine/operations/pasid_operations.h"
#include "engine/operations/reserved_region_operations.h"
#include "engine/operations/reset_operation.h"
#include "engine/operations/sva_domain_operations.h"
#include "engine/operations/unmap_operation.h"

namespace viommu {
namespace {

constexpr uint64_t kPageBytes = 4096;

// The host's DMA API allocates whole pages, clear of what the devices of the group reserve.
absl::Status SetUpHostSpace(const Model& model, const Backend& backend, Group& group) {
  IovaSpace& space = group.host.space;
  space.AddAlignment(group.uid, kPageBytes);
  for (const DeviceIndex index : group.members) {
    ASSIGN_OR_RETURN(const DomainProperties properties, backend.PlanDomain({0, index}));
    RETURN_IF_ERROR(space.ReserveOutside(properties.aperture, group.uid, "outside the aperture"));
    for (const ReservedRegion& region : model.devices[index].spec.reserved_regions) {
      RETURN_IF_ERROR(space.Reserve(region.range, group.uid, "reserved region of a device"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Engine::Core::ExecuteVoid(Operation& operation) {
  const CallContext& context = operation.context();
  const bool remembered = !context.request_id.empty() && !context.validate_only;
  if (remembered) {
    ASSIGN_OR_RETURN(const std::any first, requests.Begin(context));
    if (first.has_value()) return absl::OkStatus();
  }
  absl::Status status = pipeline.Run(operation);
  AnswerPageGroups();
  if (remembered && status.ok()) requests.Succeed(context, true);
  if (remembered && !status.ok()) requests.Fail(context);
  return status;
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(Options options, Backend* backend,
                                                       Journal* journal, Env* env) {
  auto core = std::make_unique<Core>(std::move(options), backend, journal, env);
  core->boot_id = absl::StrFormat("%016x%016x", env->Random(), env->Random());
  for (Group& group : core->model.groups) {
    group.default_domain = InitialDefaultDomain(core->model, group, &group.default_domain_fallback);
    RETURN_IF_ERROR(SetUpHostSpace(core->model, *backend, group));
    RETURN_IF_ERROR(backend->AssignDefault(group.members, group.default_domain).status());
  }
  if (backend->simulation() != nullptr) {
    ASSIGN_OR_RETURN(core->flusher,
                     HostFlusher::Start(&core->model, &core->pipeline.mutex(), backend, env));
  }
  return std::unique_ptr<Engine>(new Engine(std::move(core)));
}

Engine::Engine(std::unique_ptr<Core> core) : core_(std::move(core)) {}
Engine::~Engine() = default;

absl::StatusOr<MemoryRegionView> Engine::CreateMemoryRegion(const CallContext& context,
                                                            const std::string& id,
                                                            uint64_t size_bytes,
                                                            std::optional<int32_t> numa_node,
                                                            bool read_only) {
  CreateMemoryRegionOperation operation(context, id, size_bytes, numa_node, read_only);
  return core_->Execute(operation);
}

absl::Status Engine::DeleteMemoryRegion(const CallContext& context, const ObjectRef& ref,
                                        const std::string& etag) {
  DeleteMemoryRegionOperation operation(context, ref, etag);
  return core_->ExecuteVoid(operation);
}

absl::StatusOr<IoasView> Engine::CreateIoas(const CallContext& context, const std::string& id,
                                            const IoasOptions& options) {
  CreateIoasOperation operation(context, id, options);
  return core_->Execute(operation);
}

absl::Status Engine::DeleteIoas(const CallContext& context, const ObjectRef& ref,
                                const std::string& etag) {
  DeleteIoasOperation operation(context, ref, etag);
  return core_->ExecuteVoid(operation);
}

absl::StatusOr<MapAnswer> Engine::Map(const CallContext& context, const ObjectRef& ioas,
                                      const MapBatch& batch) {
  MapOperation operation(context, ioas, &batch);
  return core_->Execute(operation);
}

absl::StatusOr<UnmapAnswer> Engine::Unmap(const CallContext& context, const ObjectRef& ioas,
                                          const UnmapBatch& batch) {
  UnmapOperation operation(context, ioas, batch);
  return core_->Execute(operation);
}

absl::StatusOr<MapAnswer> Engine::CopyMappings(const CallContext& context, const ObjectRef& ioas,
                                               const CopyRequest& request) {
  CopyMappingsOperation operation(context, ioas, request);
  return core_->Execute(operation);
}

absl::StatusOr<IoasView> Engine::SetAllowedIovaRanges(const CallContext& context,
                                                      const ObjectRef& ioas,
                                                      const std::vector<IovaRange>& ranges,
                                                      const std::string& etag) {
  SetAllowedRangesOperation operation(context, ioas, ranges, etag);
  return core_->Execute(operation);
}

absl::StatusOr<IoasView> Engine::SetLargePages(const CallContext& context, const ObjectRef& ioas,
                                               bool large_pages, const std::string& etag) {
  SetLargePagesOperation operation(context, ioas, large_pages, etag);
  return core_->Execute(operation);
}

absl::StatusOr<IoasView> Engine::LoadReservedRegions(const CallContext& context,
                                                     const ObjectRef& ioas,
                                                     const std::string& device,
                                                     const std::string& etag) {
  LoadReservedRegionsOperation operation(context, ioas, device, etag);
  return core_->Execute(operation);
}

absl::StatusOr<IoasView> Engine::UnloadReservedRegions(const CallContext& context,
                                                       const ObjectRef& ioas,
                                                       const std::string& device,
                                                       const std::string& etag) {
  UnloadReservedRegionsOperation operation(context, ioas, device, etag);
  return core_->Execute(operation);
}

absl::StatusOr<DomainView> Engine::CreateDomain(const CallContext& context, const std::string& id,
                                                const DomainRequest& request) {
  if (const auto* nested = std::get_if<NestedDomainRequest>(&request)) {
    CreateNestedDomainOperation operation(context, id, *nested);
    return core_->Execute(operation);
  }
  if (const auto* sva = std::get_if<SvaDomainRequest>(&request)) {
    CreateSvaDomainOperation operation(context, id, *sva);
    return core_->Execute(operation);
  }
  CreateDomainOperation operation(context, id, std::get<PagingDomainRequest>(request));
  return core_->Execute(operation);
}

absl::StatusOr<InvalidateAnswer> Engine::Invalidate(const CallContext& context,
                                                    const ObjectRef& domain,
                                                    const InvalidationBatch& batch, Uid only) {
  InvalidateOperation operation(context, domain, &batch, only);
  return core_->Execute(operation);
}

absl::StatusOr<DomainView> Engine::SetDirtyTracking(const CallContext& context,
                                                    const ObjectRef& domain, bool enabled,
                                                    const std::string& etag) {
  SetDirtyTrackingOperation operation(context, domain, enabled, etag);
  return core_->Execute(operation);
}

absl::StatusOr<DirtyBitmap> Engine::ReadDirtyBitmap(const CallContext& context,
                                                    const ObjectRef& domain,
                                                    const DirtyRequest& request) {
  ReadDirtyOperation operation(context, domain, request);
  return core_->Execute(operation);
}

absl::Status Engine::DeleteDomain(const CallContext& context, const ObjectRef& ref,
                                  const std::string& etag) {
  if (!ref.owner.has_value() && (ref.id == kIdentityDomain || ref.id == kBlockedDomain)) {
    return Error(absl::StatusCode::kInvalidArgument, "STATIC_DOMAIN",
                 absl::StrCat("domains/", ref.id, " is always there"))
        .Errno("EINVAL")
        .Field("name");
  }
  DeleteDomainOperation operation(context, ref, etag);
  return core_->ExecuteVoid(operation);
}

absl::StatusOr<DeviceView> Engine::ClaimDevice(const CallContext& context, const std::string& id,
                                               const std::string& etag,
                                               const ClaimOptions& options) {
  const std::string& owner = options.owner.empty() ? context.principal : options.owner;
  if (!options.from_owner.empty()) {
    MoveClaimOperation operation(context, id, etag, {owner, options.from_owner});
    return core_->Execute(operation);
  }
  ClaimOperation operation(context, id, etag, owner);
  return core_->Execute(operation);
}

absl::StatusOr<DeviceView> Engine::ReleaseDevice(const CallContext& context, const std::string& id,
                                                 const std::string& etag,
                                                 const std::string& owner) {
  ReleaseOperation operation(context, id, etag, owner);
  return core_->Execute(operation);
}

absl::StatusOr<AttachAnswer> Engine::AttachDevice(const CallContext& context,
                                                  const std::string& device,
                                                  const AttachTarget& target,
                                                  std::optional<uint32_t> pasid) {
  AttachOperation operation(context, device, target, pasid);
  return core_->Execute(operation);
}

absl::StatusOr<AttachAnswer> Engine::ReplaceAttachment(const CallContext& context,
                                                       const std::string& device,
                                                       const AttachTarget& target,
                                                       std::optional<uint32_t> pasid) {
  ReplaceOperation operation(context, device, target, pasid);
  return core_->Execute(operation);
}

absl::StatusOr<DetachAnswer> Engine::DetachDevice(const CallContext& context,
                                                  const std::string& device,
                                                  std::optional<uint32_t> pasid,
                                                  const std::string& owner) {
  DetachOperation operation(context, device, pasid, owner);
  return core_->Execute(operation);
}

absl::StatusOr<PasidView> Engine::AllocatePasid(const CallContext& context,
                                                const std::string& device,
                                                const PasidRequest& request) {
  TakePasidOperation operation(context, device, request);
  return core_->Execute(operation);
}

absl::StatusOr<PasidView> Engine::ReservePasid(const CallContext& context,
                                               const std::string& device, uint32_t pasid,
                                               const std::string& label) {
  TakePasidOperation operation(context, device, pasid, label);
  return core_->Execute(operation);
}

absl::Status Engine::FreePasid(const CallContext& context, const std::string& device,
                               uint32_t pasid, const std::string& owner) {
  FreePasidOperation operation(context, device, pasid, owner);
  return core_->ExecuteVoid(operation);
}

absl::StatusOr<DeviceView> Engine::ResetDevice(const CallContext& context,
                                               const std::string& device) {
  ResetOperation operation(context, device);
  ASSIGN_OR_RETURN(ResetAnswer answer, core_->Execute(operation));
  RETURN_IF_ERROR(answer.outcome);
  return std::move(answer.device);
}

absl::StatusOr<DeviceView> Engine::SetDefaultDomain(const CallContext& context,
                                                    const std::string& device,
                                                    DefaultDomainType type) {
  SetDefaultDomainOperation operation(context, device, type);
  return core_->Execute(operation);
}

}  // namespace viommu
