// The steps that make and remove objects; those that move bytes are in session_dma.cc.
#include "clients/demo/session.h"

#include "absl/strings/str_cat.h"
#include "clients/demo/session_objects.h"
#include "clients/demo/transcript.h"
#include "google/protobuf/empty.pb.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/domain.grpc.pb.h"
#include "viommu/v1/host.grpc.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"

namespace viommu {
namespace {

template <typename Stub, typename Request>
absl::Status Delete(Client& client,
                    grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                 google::protobuf::Empty*),
                    const std::string& name) {
  Request request;
  request.set_name(name);
  return client.Call(method, request).status();
}

absl::Status Unexpected(absl::string_view what, absl::string_view found) {
  return absl::InternalError(absl::StrCat(what, ", but found ", found));
}

}  // namespace

Session::Told Session::GreetHost() {
  const auto host = client_.Call(&v1::HostService::Stub::GetHost, v1::GetHostRequest());
  if (!host.ok()) return host.status();
  if (host->backend() != "soft") return Unexpected("expected the backend soft", host->backend());
  return absl::StrCat("viommud ", host->version(), " with the backend ", host->backend());
}

absl::StatusOr<bool> Session::IsSuitable(const v1::Device& device) {
  if (device.ownership() != v1::DEVICE_OWNERSHIP_HOST || device.group_members_size() > 0) {
    return false;
  }
  v1::ListReservedRegionsRequest request;
  request.set_parent(device.name());
  const auto reserved = client_.Call(&v1::DeviceService::Stub::ListReservedRegions, request);
  if (!reserved.ok()) return reserved.status();
  for (const v1::ReservedRegion& region : reserved->reserved_regions()) {
    if (region.type() == v1::RESERVED_REGION_TYPE_DIRECT) return false;
  }
  return true;
}

Session::Told Session::FindDevice() {
  const auto devices =
      client_.Call(&v1::DeviceService::Stub::ListDevices, v1::ListDevicesRequest());
  if (!devices.ok()) return devices.status();
  for (const v1::Device& device : devices->devices()) {
    const absl::StatusOr<bool> suitable = IsSuitable(device);
    if (!suitable.ok()) return suitable.status();
    if (!*suitable) continue;
    device_ = device.name();
    return absl::StrCat(device_, " behind ", device.iommu(), ", one of ", devices->devices_size());
  }
  return absl::NotFoundError(absl::StrCat("none of ", devices->devices_size(), " can be claimed"));
}

Session::Told Session::ClaimDevice() {
  v1::ClaimDeviceRequest request;
  request.set_name(device_);
  const auto device = client_.Call(&v1::DeviceService::Stub::ClaimDevice, request);
  if (!device.ok()) return device.status();
  ++transitions_;
  if (device->domain() != "domains/blocked") {
    return Unexpected("a claimed device must be on domains/blocked", device->domain());
  }
  return absl::StrCat("claimed by ", device->claimed_by(), ", on ", device->domain());
}

Session::Told Session::CreateMemoryRegions() {
  for (const Side& side : kSides) {
    v1::CreateMemoryRegionRequest request;
    request.set_memory_region_id(side.id);
    request.mutable_memory_region()->set_size_bytes(kRegionBytes);
    const auto region = client_.Call(&v1::MemoryService::Stub::CreateMemoryRegion, request);
    if (!region.ok()) return region.status();
  }
  return absl::StrCat(kOld.region, ", ", kNew.region, ": ", FormatBytes(kRegionBytes), " each");
}

Session::Told Session::CreateIoas() {
  for (const Side& side : kSides) {
    v1::CreateIoasRequest request;
    request.set_ioas_id(side.id);
    const auto ioas = client_.Call(&v1::IoasService::Stub::CreateIoas, request);
    if (!ioas.ok()) return ioas.status();
  }
  return absl::StrCat(kOld.ioas, ", ", kNew.ioas);
}

Session::Told Session::CreateDomains() {
  std::string format;
  for (const Side& side : kSides) {
    v1::CreateDomainRequest request;
    request.set_domain_id(side.id);
    request.mutable_domain()->mutable_paging()->set_ioas(side.ioas);
    request.mutable_domain()->mutable_paging()->set_device(device_);
    const auto domain = client_.Call(&v1::DomainService::Stub::CreateDomain, request);
    if (!domain.ok()) return domain.status();
    format = absl::StrCat(domain->paging().format(), ", ", domain->paging().levels(), " levels");
  }
  return absl::StrCat(kOld.domain, ", ", kNew.domain, "\n", format);
}

Session::Told Session::MapOneGibibyte() {
  for (const Side& side : kSides) {
    v1::MapRequest request;
    request.set_name(side.ioas);
    v1::MapEntry* entry = request.add_mappings();
    entry->set_iova(kIova);
    entry->set_memory_region(side.region);
    entry->set_length(kRegionBytes);
    const auto mapped = client_.Call(&v1::IoasService::Stub::Map, request);
    if (!mapped.ok()) return mapped.status();
    v1::GetIoasRequest get;
    get.set_name(side.ioas);
    const auto ioas = client_.Call(&v1::IoasService::Stub::GetIoas, get);
    if (!ioas.ok()) return ioas.status();
    if (ioas->mapped_bytes() != kRegionBytes) {
      return Unexpected("expected 1 GiB to be mapped", FormatBytes(ioas->mapped_bytes()));
    }
  }
  return absl::StrCat("[0x", absl::Hex(kIova), ", 0x", absl::Hex(kIova + kRegionBytes - 1), "]");
}

Session::Told Session::AttachDevice() {
  v1::AttachDeviceRequest request;
  request.set_name(device_);
  request.set_domain(kOld.domain);
  const auto attached = client_.Call(&v1::DeviceService::Stub::AttachDevice, request);
  if (!attached.ok()) return attached.status();
  ++transitions_;
  return absl::StrCat(device_, " to ", attached->attachment().domain());
}

Session::Told Session::Unmap() {
  v1::UnmapRequest request;
  request.set_name(kNew.ioas);
  v1::UnmapEntry* range = request.add_ranges();
  range->set_iova(kIova);
  range->set_length(kRegionBytes);
  const auto unmapped = client_.Call(&v1::IoasService::Stub::Unmap, request);
  if (!unmapped.ok()) return unmapped.status();
  if (unmapped->unmapped_bytes() != kRegionBytes) {
    return Unexpected("expected 1 GiB to go", FormatBytes(unmapped->unmapped_bytes()));
  }
  return absl::StrCat(FormatBytes(unmapped->unmapped_bytes()), " of ", kNew.ioas);
}

Session::Told Session::DetachDevice() {
  v1::DetachDeviceRequest request;
  request.set_name(device_);
  const auto detached = client_.Call(&v1::DeviceService::Stub::DetachDevice, request);
  if (!detached.ok()) return detached.status();
  ++transitions_;
  // The old side is still mapped: what blocks the device now is that it is attached to nothing.
  return BothAreBlocked(kIova);
}

Session::Told Session::DeleteEverything() {
  for (const Side& side : kSides) {
    // Users before what they use.
    for (const absl::Status& status :
         {Delete(client_, &v1::DomainService::Stub::DeleteDomain, side.domain),
          Delete(client_, &v1::IoasService::Stub::DeleteIoas, side.ioas),
          Delete(client_, &v1::MemoryService::Stub::DeleteMemoryRegion, side.region)}) {
      if (!status.ok()) return status;
    }
  }
  const auto left =
      client_.Call(&v1::MemoryService::Stub::ListMemoryRegions, v1::ListMemoryRegionsRequest());
  if (!left.ok()) return left.status();
  if (left->memory_regions_size() > 0) {
    return Unexpected("expected no memory region", left->memory_regions(0).name());
  }
  return "two domains, two IO address spaces, two memory regions";
}

Session::Told Session::ReleaseDevice() {
  v1::ReleaseDeviceRequest request;
  request.set_name(device_);
  const auto device = client_.Call(&v1::DeviceService::Stub::ReleaseDevice, request);
  if (!device.ok()) return device.status();
  ++transitions_;
  if (device->ownership() != v1::DEVICE_OWNERSHIP_HOST) {
    return Unexpected("expected the host to have it", device->claimed_by());
  }
  return absl::StrCat(device_, " is the host's again");
}

}  // namespace viommu
