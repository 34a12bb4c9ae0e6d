// What all kinds have in common: get, list, create, delete.
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/viommuctl/columns.h"
#include "clients/viommuctl/commands.h"
#include "clients/viommuctl/object_verbs.h"
#include "clients/viommuctl/values.h"
#include "google/protobuf/empty.pb.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/domain.grpc.pb.h"
#include "viommu/v1/fault.grpc.pb.h"
#include "viommu/v1/host.grpc.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/listener.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"
#include "viommu/v1/viommu.grpc.pb.h"

namespace viommu {
namespace {

// Of a choice that the command table offers; the default when none was made.
v1::IoasMode ModeCalled(absl::string_view word) {
  if (word == "native") return v1::IOAS_MODE_NATIVE;
  if (word == "vfio-type1") return v1::IOAS_MODE_VFIO_TYPE1;
  if (word == "vfio-type1v2") return v1::IOAS_MODE_VFIO_TYPE1V2;
  if (word == "process") return v1::IOAS_MODE_PROCESS;
  return v1::IOAS_MODE_UNSPECIFIED;
}

constexpr absl::string_view kStage1Flags[] = {"stage1-table", "stage1-width", "stage1-supervisor",
                                              "stage1-write-protect", "stage1-extended-accessed"};
constexpr int kUsualWidth = 48;

absl::Status FillPaging(const Invocation& call, v1::Domain* domain) {
  for (const absl::string_view flag : kStage1Flags) {
    if (call.Has(flag))
      return absl::InvalidArgumentError(absl::StrCat("--", flag, " goes with --parent"));
  }
  v1::PagingDomain& paging = *domain->mutable_paging();
  paging.set_ioas(call.Name("ioas"));
  paging.set_device(call.Name("device"));
  paging.set_nest_parent(call.Has("nest-parent"));
  paging.set_dirty_tracking(call.Has("dirty-tracking"));
  paging.set_pasid(call.Has("pasid"));
  if (call.Has("fault-queue")) paging.set_fault_queue(call.Name("fault-queue"));
  return absl::OkStatus();
}

absl::Status FillOnViommu(const Invocation& call, v1::Domain* domain) {
  for (const absl::string_view flag : kStage1Flags) {
    if (call.Has(flag))
      return absl::InvalidArgumentError(absl::StrCat("--", flag, " goes with --parent"));
  }
  v1::NestedDomain& nested = *domain->mutable_nested();
  nested.set_viommu(call.Name("viommu"));
  nested.set_device(call.Name("device"));
  nested.mutable_arm_smmu_v3()->set_ste_0(call.Address("ste-0"));
  nested.mutable_arm_smmu_v3()->set_ste_1(call.Address("ste-1"));
  return absl::OkStatus();
}

absl::Status FillNested(const Invocation& call, v1::Domain* domain) {
  for (const absl::string_view flag : {"nest-parent", "dirty-tracking"}) {
    if (call.Has(flag)) {
      return absl::InvalidArgumentError(absl::StrCat("--", flag, " goes with --ioas"));
    }
  }
  if (!call.Has("stage1-table")) return absl::InvalidArgumentError("--parent needs --stage1-table");
  v1::NestedDomain& nested = *domain->mutable_nested();
  nested.set_parent(call.Name("parent"));
  nested.set_device(call.Name("device"));
  nested.set_pasid(call.Has("pasid"));
  if (call.Has("fault-queue")) nested.set_fault_queue(call.Name("fault-queue"));
  v1::VtdStage1& stage1 = *nested.mutable_vtd();
  stage1.set_table_address(call.Address("stage1-table"));
  stage1.set_address_width_bits(call.Has("stage1-width") ? call.Number("stage1-width")
                                                         : kUsualWidth);
  stage1.set_supervisor_requests(call.Has("stage1-supervisor"));
  stage1.set_write_protect(call.Has("stage1-write-protect"));
  stage1.set_extended_accessed(call.Has("stage1-extended-accessed"));
  return absl::OkStatus();
}

}  // namespace

absl::Status GetRegion(Invocation& call) {
  return Get(call, &v1::MemoryService::Stub::GetMemoryRegion);
}
absl::Status GetIoas(Invocation& call) { return Get(call, &v1::IoasService::Stub::GetIoas); }
absl::Status GetDomain(Invocation& call) { return Get(call, &v1::DomainService::Stub::GetDomain); }
absl::Status GetFaultQueue(Invocation& call) {
  return Get(call, &v1::FaultService::Stub::GetFaultQueue);
}
absl::Status GetDevice(Invocation& call) { return Get(call, &v1::DeviceService::Stub::GetDevice); }
absl::Status GetIommu(Invocation& call) { return Get(call, &v1::HostService::Stub::GetIommu); }
absl::Status GetQueue(Invocation& call) {
  return Get(call, &v1::HostService::Stub::GetInvalidationQueue);
}

absl::Status GetHost(Invocation& call) {
  const auto host = call.Call(&v1::HostService::Stub::GetHost, v1::GetHostRequest());
  if (!host.ok()) return host.status();
  call.Show(*host, FieldsOf(*host));
  return absl::OkStatus();
}

absl::Status ListRegions(Invocation& call) {
  return List(call, &v1::MemoryService::Stub::ListMemoryRegions, v1::ListMemoryRegionsRequest(),
              &v1::ListMemoryRegionsResponse::memory_regions);
}
absl::Status ListIoas(Invocation& call) {
  return List(call, &v1::IoasService::Stub::ListIoas, v1::ListIoasRequest(),
              &v1::ListIoasResponse::ioas);
}
absl::Status ListDomains(Invocation& call) {
  return List(call, &v1::DomainService::Stub::ListDomains, v1::ListDomainsRequest(),
              &v1::ListDomainsResponse::domains);
}
absl::Status ListFaultQueues(Invocation& call) {
  return List(call, &v1::FaultService::Stub::ListFaultQueues, v1::ListFaultQueuesRequest(),
              &v1::ListFaultQueuesResponse::fault_queues);
}
absl::Status ListDevices(Invocation& call) {
  return List(call, &v1::DeviceService::Stub::ListDevices, v1::ListDevicesRequest(),
              &v1::ListDevicesResponse::devices);
}
absl::Status ListIommus(Invocation& call) {
  return List(call, &v1::HostService::Stub::ListIommus, v1::ListIommusRequest(),
              &v1::ListIommusResponse::iommus);
}
absl::Status ListQueues(Invocation& call) {
  return List(call, &v1::HostService::Stub::ListInvalidationQueues,
              v1::ListInvalidationQueuesRequest(),
              &v1::ListInvalidationQueuesResponse::invalidation_queues);
}

absl::Status ListAttachments(Invocation& call) {
  v1::ListAttachmentsRequest request;
  request.set_parent(call.Name("DEVICE"));
  return List(call, &v1::DeviceService::Stub::ListAttachments, std::move(request),
              &v1::ListAttachmentsResponse::attachments);
}

absl::Status CreateRegion(Invocation& call) {
  v1::CreateMemoryRegionRequest request;
  request.set_memory_region_id(call.Text("ID"));
  request.mutable_memory_region()->set_size_bytes(call.Size("size"));
  if (call.Has("numa-node")) {
    request.mutable_memory_region()->set_numa_node(call.Number("numa-node"));
  }
  request.mutable_memory_region()->set_read_only(call.Has("read-only"));
  return Created(call, call.Call(&v1::MemoryService::Stub::CreateMemoryRegion, request));
}

absl::Status CreateIoas(Invocation& call) {
  v1::CreateIoasRequest request;
  request.set_ioas_id(call.Text("ID"));
  request.mutable_ioas()->set_mode(ModeCalled(call.Text("mode")));
  if (call.Has("large-pages")) {
    request.mutable_ioas()->set_large_pages(call.Text("large-pages") == "on");
  }
  return Created(call, call.Call(&v1::IoasService::Stub::CreateIoas, request));
}

absl::Status CreateDomain(Invocation& call) {
  if (int{call.Has("ioas")} + int{call.Has("parent")} + int{call.Has("process")} +
          int{call.Has("viommu")} !=
      1) {
    return absl::InvalidArgumentError("say over what: --ioas, --parent, --viommu or --process");
  }
  v1::CreateDomainRequest request;
  request.set_domain_id(call.Text("ID"));
  absl::Status filled;
  if (call.Has("process")) {
    if (call.Has("fault-queue")) {
      return absl::InvalidArgumentError("--fault-queue goes with --ioas or --parent");
    }
    request.mutable_domain()->mutable_sva()->set_process(call.Name("process"));
    request.mutable_domain()->mutable_sva()->set_device(call.Name("device"));
  } else if (call.Has("viommu")) {
    filled = FillOnViommu(call, request.mutable_domain());
  } else {
    filled = call.Has("ioas") ? FillPaging(call, request.mutable_domain())
                              : FillNested(call, request.mutable_domain());
  }
  if (!filled.ok()) return filled;
  return Created(call, call.Call(&v1::DomainService::Stub::CreateDomain, request));
}

absl::Status CreateFaultQueue(Invocation& call) {
  v1::CreateFaultQueueRequest request;
  request.set_fault_queue_id(call.Text("ID"));
  if (call.Has("depth")) request.mutable_fault_queue()->set_depth(call.Number("depth"));
  return Created(call, call.Call(&v1::FaultService::Stub::CreateFaultQueue, request));
}

absl::Status DeleteRegion(Invocation& call) {
  return Delete(call, &v1::MemoryService::Stub::DeleteMemoryRegion);
}
absl::Status DeleteIoas(Invocation& call) {
  return Delete(call, &v1::IoasService::Stub::DeleteIoas);
}
absl::Status DeleteDomain(Invocation& call) {
  return Delete(call, &v1::DomainService::Stub::DeleteDomain);
}
absl::Status DeleteFaultQueue(Invocation& call) {
  return Delete(call, &v1::FaultService::Stub::DeleteFaultQueue);
}

std::vector<std::string> NamesOf(Kind kind, Invocation& call) {
  switch (kind) {
    case Kind::kRegion:
      return Names(call, &v1::MemoryService::Stub::ListMemoryRegions,
                   &v1::ListMemoryRegionsResponse::memory_regions);
    case Kind::kIoas:
      return Names(call, &v1::IoasService::Stub::ListIoas, &v1::ListIoasResponse::ioas);
    case Kind::kDomain:
      return Names(call, &v1::DomainService::Stub::ListDomains, &v1::ListDomainsResponse::domains);
    case Kind::kFaultQueue:
      return Names(call, &v1::FaultService::Stub::ListFaultQueues,
                   &v1::ListFaultQueuesResponse::fault_queues);
    case Kind::kDevice:
      return Names(call, &v1::DeviceService::Stub::ListDevices, &v1::ListDevicesResponse::devices);
    // Each IOMMU has one queue, of the same short name.
    case Kind::kQueue:
    case Kind::kIommu:
      return Names(call, &v1::HostService::Stub::ListIommus, &v1::ListIommusResponse::iommus);
    case Kind::kViommu:
      return Names(call, &v1::ViommuService::Stub::ListViommus, &v1::ListViommusResponse::viommus);
    case Kind::kListener:
      return Names(call, &v1::ListenerService::Stub::ListListeners,
                   &v1::ListListenersResponse::listeners);
    // Known only by Viommu.
    case Kind::kVdevice:
    case Kind::kEventQueue:
    case Kind::kHardwareQueue:
    case Kind::kNone:
      break;
  }
  return {};
}

}  // namespace viommu
