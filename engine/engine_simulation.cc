// The Engine's verbs that only a simulated host has: the device's and the guest's side.
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/core.h"
#include "engine/operations/claims.h"
#include "engine/operations/fault_queues.h"
#include "engine/operations/host_operations.h"
#include "engine/operations/plug_operations.h"
#include "engine/operations/region_loss_operations.h"

namespace viommu {
namespace {

absl::StatusOr<Simulation*> SimulationOf(Backend& backend) {
  if (Simulation* const simulation = backend.simulation()) return simulation;
  return Error(absl::StatusCode::kUnimplemented, "SIMULATION_NOT_AVAILABLE",
               absl::StrCat("the backend \"", backend.name(), "\" drives real devices"))
      .Errno("EOPNOTSUPP");
}

absl::StatusOr<TableObserver*> TablesOf(Backend& backend) {
  if (TableObserver* const tables = backend.tables()) return tables;
  return Error(absl::StatusCode::kUnimplemented, "SIMULATION_NOT_AVAILABLE",
               absl::StrCat("the tables of the backend \"", backend.name(), "\" can not be seen"))
      .Errno("EOPNOTSUPP");
}

// What can be reached of a region now; the backend goes by the size that it was made with.
absl::Status CheckReachable(const MemoryRegionView& region, uint64_t offset_bytes,
                            uint64_t size_bytes) {
  if (region.suspended) {
    return Error(absl::StatusCode::kFailedPrecondition, "REGION_SUSPENDED",
                 absl::StrCat("memoryRegions/", region.object.id, ": ", region.suspend_reason))
        .Errno("ENODEV")
        .Field("name");
  }
  if (offset_bytes < region.size_bytes && size_bytes <= region.size_bytes - offset_bytes) {
    return absl::OkStatus();
  }
  return Error(
             absl::StatusCode::kOutOfRange, "SOURCE_OUT_OF_BOUNDS",
             absl::StrCat("offset ", Hex(offset_bytes), " + length ", Hex(size_bytes),
                          " is not inside the memory region of ", Hex(region.size_bytes), " bytes"))
      .Errno("EINVAL")
      .Field("offset");
}

absl::Status CheckLength(uint64_t size_bytes) {
  if (size_bytes >= 1 && size_bytes <= kMaxAccessBytes) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "INVALID_LENGTH",
               absl::StrCat("length ", size_bytes, " is not from 1 to ", kMaxAccessBytes))
      .Errno("EINVAL")
      .Field("length");
}

// A request with PASID 0 is not one without: the device has to issue PASIDs for it too.
absl::Status CheckIssues(const Device& device, std::optional<uint32_t> pasid) {
  if (!pasid.has_value()) return absl::OkStatus();
  const int bits = device.spec.pasid_bits;
  if (bits > 0 && *pasid >> bits == 0) return absl::OkStatus();
  return Error(absl::StatusCode::kOutOfRange, "PASID_OUT_OF_RANGE",
               bits == 0 ? absl::StrCat(device.Name(), " issues no PASIDs")
                         : absl::StrCat("PASID ", *pasid, " has more than the ", bits,
                                        " bits that ", device.Name(), " issues"))
      .Errno("EINVAL")
      .Field("pasid")
      .Resource(device.Name());
}

// The device that a caller who holds it, or an operator, plays.
absl::StatusOr<const Device*> FindPlayed(Model& model, const CallContext& context,
                                         const std::string& id) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(id));
  if (!context.is_operator) RETURN_IF_ERROR(CheckClaimed(model, *device, context.principal));
  return device;
}

// The same, for what is asked with `pasid`.
template <typename Core>
absl::StatusOr<DeviceIndex> FindRequester(Core& core, const CallContext& context,
                                          const std::string& id, std::optional<uint32_t> pasid) {
  absl::MutexLock lock(&core.pipeline.mutex());
  ASSIGN_OR_RETURN(const Device* device, FindPlayed(core.model, context, id));
  RETURN_IF_ERROR(CheckIssues(*device, pasid));
  return device->index;
}

constexpr uint64_t kPageBytes = 4096;

absl::Status CheckFault(const Model& model, const Device& device, const PageFault& fault) {
  if (!HasPageFaults(model.UnitOf(device), device.spec)) {
    return Error(absl::StatusCode::kUnimplemented, "PAGE_REQUESTS_UNAVAILABLE",
                 NoPageFaults(model, device))
        .Errno("EOPNOTSUPP")
        .Resource(device.Name());
  }
  RETURN_IF_ERROR(CheckIssues(device, fault.pasid));
  if (fault.group > kMaxPageGroup) {
    return Error(absl::StatusCode::kOutOfRange, "GROUP_OUT_OF_RANGE",
                 absl::StrCat("group ", fault.group, " is above ", kMaxPageGroup))
        .Errno("EINVAL")
        .Field("group");
  }
  if (!IsAligned(fault.address, kPageBytes)) {
    return Error(
               absl::StatusCode::kInvalidArgument, "MISALIGNED",
               absl::StrCat("iova ", Hex(fault.address), " is not a multiple of ", Hex(kPageBytes)))
        .Errno("EINVAL")
        .Field("iova")
        .Meta("alignment", Hex(kPageBytes));
  }
  if (fault.read || fault.write) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "INVALID_ACCESS",
               "a page that is neither read nor written is not asked for")
      .Errno("EINVAL")
      .Field("access");
}

}  // namespace

absl::Status CheckSimulated(Backend& backend) { return SimulationOf(backend).status(); }

absl::StatusOr<DmaOutcome> Engine::Dma(const CallContext& context, const std::string& id, Iova iova,
                                       bool write, absl::Span<char> data,
                                       std::optional<uint32_t> pasid) {
  ASSIGN_OR_RETURN(Simulation * simulation, SimulationOf(*core_->backend));
  ASSIGN_OR_RETURN(const DeviceIndex index, FindRequester(*core_, context, id, pasid));
  RETURN_IF_ERROR(CheckLength(data.size()));
  if (iova > kMaxAddress - (data.size() - 1)) {
    return Error(absl::StatusCode::kOutOfRange, "IOVA_OVERFLOW",
                 absl::StrCat("iova ", Hex(iova), " + length ", Hex(data.size()),
                              " passes the end of the address space"))
        .Errno("EOVERFLOW")
        .Field("iova");
  }
  DmaOutcome outcome = simulation->Dma(index, pasid, iova, write, data);
  core_->events.Deliver();
  if (outcome.fault.has_value()) core_->DeliverPageFaults();  // It may wait for an answer.
  return outcome;
}

absl::Status Engine::ReadMemory(const CallContext& context, const ObjectRef& ref,
                                uint64_t offset_bytes, absl::Span<char> data) {
  ASSIGN_OR_RETURN(Simulation * simulation, SimulationOf(*core_->backend));
  RETURN_IF_ERROR(CheckLength(data.size()));
  ASSIGN_OR_RETURN(const MemoryRegionView region, GetMemoryRegion(context, ref));
  RETURN_IF_ERROR(CheckReachable(region, offset_bytes, data.size()));
  return simulation->ReadMemory(region.object.uid, offset_bytes, data);
}

absl::Status Engine::WriteMemory(const CallContext& context, const ObjectRef& ref,
                                 uint64_t offset_bytes, absl::Span<const char> data) {
  ASSIGN_OR_RETURN(Simulation * simulation, SimulationOf(*core_->backend));
  RETURN_IF_ERROR(CheckLength(data.size()));
  ASSIGN_OR_RETURN(const MemoryRegionView region, GetMemoryRegion(context, ref));
  RETURN_IF_ERROR(CheckReachable(region, offset_bytes, data.size()));
  return simulation->WriteMemory(region.object.uid, offset_bytes, data);
}

absl::StatusOr<MemoryRegionView> Engine::ResizeMemoryRegion(const CallContext& context,
                                                            const ObjectRef& region,
                                                            uint64_t size_bytes,
                                                            const std::string& etag) {
  RETURN_IF_ERROR(SimulationOf(*core_->backend).status());
  RegionLossOperation operation(context, region, size_bytes, etag);
  return core_->Execute(operation);
}

absl::StatusOr<MemoryRegionView> Engine::RevokeMemoryRegion(const CallContext& context,
                                                            const ObjectRef& region,
                                                            const std::string& etag) {
  RETURN_IF_ERROR(SimulationOf(*core_->backend).status());
  RegionLossOperation operation(context, region, std::nullopt, etag);
  return core_->Execute(operation);
}

absl::StatusOr<Iova> Engine::HostMap(const CallContext& context, const std::string& device,
                                     const ObjectRef& region, uint64_t offset_bytes,
                                     uint64_t length_bytes, Permission permission) {
  RETURN_IF_ERROR(SimulationOf(*core_->backend).status());
  HostMapOperation operation(context, device, {region, offset_bytes, length_bytes, permission});
  return core_->Execute(operation);
}

absl::Status Engine::HostUnmap(const CallContext& context, const std::string& device, Iova iova,
                               uint64_t length_bytes) {
  RETURN_IF_ERROR(SimulationOf(*core_->backend).status());
  HostUnmapOperation operation(context, device, iova, length_bytes);
  absl::Status status = core_->ExecuteVoid(operation);
  if (operation.deferred()) core_->flusher->Wake();
  return status;
}

absl::StatusOr<DeviceView> Engine::SetDeviceHealth(const CallContext& context,
                                                   const std::string& device, DeviceHealth health,
                                                   const std::string& reason, HealthReason cause) {
  RETURN_IF_ERROR(SimulationOf(*core_->backend).status());
  SetHealthOperation operation(context, device, health, cause, reason);
  return core_->Execute(operation);
}

absl::Status Engine::UnplugDevice(const CallContext& context, const std::string& device) {
  RETURN_IF_ERROR(SimulationOf(*core_->backend).status());
  UnplugOperation operation(context, device);
  return core_->ExecuteVoid(operation);
}

absl::StatusOr<DeviceView> Engine::PlugDevice(const CallContext& context,
                                              const std::string& device) {
  RETURN_IF_ERROR(SimulationOf(*core_->backend).status());
  PlugOperation operation(context, device);
  return core_->Execute(operation);
}

absl::Status Engine::RaisePageFault(const CallContext& context, const std::string& id,
                                    PageFault fault) {
  ASSIGN_OR_RETURN(Simulation * simulation, SimulationOf(*core_->backend));
  {
    absl::MutexLock lock(&core_->pipeline.mutex());
    ASSIGN_OR_RETURN(const Device* device, FindPlayed(core_->model, context, id));
    RETURN_IF_ERROR(CheckFault(core_->model, *device, fault));
    fault.device = device->index;
  }
  RETURN_IF_ERROR(simulation->RaisePageFault(fault));
  core_->DeliverPageFaults();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<PageGroupResponse>> Engine::ListPageResponses(const CallContext& context,
                                                                         const std::string& id) {
  ASSIGN_OR_RETURN(Simulation * simulation, SimulationOf(*core_->backend));
  ASSIGN_OR_RETURN(const DeviceIndex index, FindRequester(*core_, context, id, std::nullopt));
  return simulation->PageResponses(index);
}

absl::StatusOr<std::vector<TableEntryDump>> Engine::DumpTables(const CallContext& context,
                                                               const std::string& id, Iova iova,
                                                               std::optional<uint32_t> pasid) {
  ASSIGN_OR_RETURN(Simulation * simulation, SimulationOf(*core_->backend));
  ASSIGN_OR_RETURN(const DeviceIndex index, FindRequester(*core_, context, id, pasid));
  return simulation->DumpTables(index, pasid, iova);
}

absl::StatusOr<TranslationExplanation> Engine::ExplainTranslation(const CallContext& context,
                                                                  const std::string& id, Iova iova,
                                                                  bool write,
                                                                  std::optional<uint32_t> pasid) {
  ASSIGN_OR_RETURN(TableObserver * tables, TablesOf(*core_->backend));
  ASSIGN_OR_RETURN(const DeviceIndex index, FindRequester(*core_, context, id, pasid));
  return tables->ExplainTranslation(index, pasid, iova, write);
}

absl::StatusOr<TableImage> Engine::ExportTables(const CallContext& context) {
  ASSIGN_OR_RETURN(TableObserver * tables, TablesOf(*core_->backend));
  if (!context.is_operator) {
    return Error(absl::StatusCode::kPermissionDenied, "NOT_OPERATOR",
                 "only an operator may see everybody's tables")
        .Errno("EACCES");
  }
  absl::StatusOr<TableImage> image = TableImage();
  RETURN_IF_ERROR(core_->pipeline.WhileStill(context.deadline, [&] {
    image = tables->ExportTables();
    return image.status();
  }));
  return image;
}

}  // namespace viommu
