#include "tests/conformance/verbs.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/conformance/requests.h"
#include "tests/conformance/snapshot.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/domain.grpc.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu::conformance {
namespace {

constexpr uint64_t kPatternBytes = 16 * kPage;

using Devices = v1::DeviceService::Stub;
using Domains = v1::DomainService::Stub;
using IoasStub = v1::IoasService::Stub;
using Memory = v1::MemoryService::Stub;
using Simulations = v1::SimulationService::Stub;

absl::Status DoDeleteRegion(World& world, const std::string& id) {
  return world
      .Call(&Memory::DeleteMemoryRegion, Named<v1::DeleteMemoryRegionRequest>(World::Region(id)))
      .status();
}

absl::Status DoDeleteIoas(World& world, const std::string& id) {
  return world.Call(&IoasStub::DeleteIoas, Named<v1::DeleteIoasRequest>(World::Ioas(id))).status();
}

absl::Status DoDeleteDomain(World& world, const std::string& id) {
  return world.Call(&Domains::DeleteDomain, Named<v1::DeleteDomainRequest>(World::Domain(id)))
      .status();
}

absl::Status DoUnmapAll(World& world, const std::string& ioas) {
  auto request = Named<v1::UnmapRequest>(ioas);
  request.set_all(true);
  return world.Call(&IoasStub::Unmap, std::move(request)).status();
}

absl::Status DoDetach(World& world, const std::string& device) {
  return world.Call(&Devices::DetachDevice, Named<v1::DetachDeviceRequest>(world.Device(device)))
      .status();
}

absl::Status DoRelease(World& world, const std::string& device) {
  return world.Call(&Devices::ReleaseDevice, Named<v1::ReleaseDeviceRequest>(world.Device(device)))
      .status();
}

absl::Status DoSetDefault(World& world, const std::string& device, v1::DefaultDomainType type) {
  auto request = Named<v1::SetDefaultDomainRequest>(world.Device(device));
  request.set_default_domain(type);
  return world.Call(&Devices::SetDefaultDomain, std::move(request)).status();
}

absl::Status DoHostUnmap(World& world, const std::string& device, uint64_t iova, uint64_t length) {
  auto request = Named<v1::HostUnmapRequest>(world.Device(device));
  request.set_iova(iova);
  request.set_length(length);
  return world.Call(&Simulations::HostUnmap, std::move(request)).status();
}

absl::Status DoSetHealth(World& world, const std::string& device, v1::DeviceHealth health) {
  auto request = Named<v1::SetDeviceHealthRequest>(world.Device(device));
  request.set_health(health);
  return world.Call(&Simulations::SetDeviceHealth, std::move(request)).status();
}

absl::Status WritePattern(World& world, const std::string& id, uint64_t size_bytes) {
  auto request = Named<v1::WriteMemoryRequest>(World::Region(id));
  std::string pattern(std::min(size_bytes, kPatternBytes), '\0');
  for (size_t i = 0; i < pattern.size(); ++i) pattern[i] = static_cast<char>(i / kPage + 1);
  request.set_data(std::move(pattern));
  return world.Call(&Simulations::WriteMemory, std::move(request)).status();
}

absl::StatusOr<v1::DmaResponse> Dma(World& world, const std::string& device, uint64_t iova,
                                    bool write) {
  auto request = Named<v1::DmaRequest>(world.Device(device));
  request.set_iova(iova);
  if (write) {
    request.set_write_data("x");
  } else {
    request.set_read_length(1);
  }
  return world.Call(&Simulations::Dma, std::move(request));
}

Step ExpectFault(const std::string& device, uint64_t iova, bool write) {
  return [=](World& world) -> absl::Status {
    if (!world.simulated()) return absl::OkStatus();
    const auto response = Dma(world, device, iova, write);
    if (!response.ok()) return response.status();
    return Expect(response->has_fault(), absl::StrCat(device, " reaches ", Hex(iova)));
  };
}

}  // namespace

// ---- Memory regions ----

Step NewRegion(const std::string& id, uint64_t size_bytes) {
  return [=](World& world) -> absl::Status {
    v1::CreateMemoryRegionRequest request;
    request.set_memory_region_id(World::Id(id));
    request.mutable_memory_region()->set_size_bytes(size_bytes);
    absl::Status made = world.Call(&Memory::CreateMemoryRegion, std::move(request)).status();
    if (!made.ok()) return made;
    world.OnUndo([&world, id] { return DoDeleteRegion(world, id); });
    return world.simulated() ? WritePattern(world, id, size_bytes) : absl::OkStatus();
  };
}

Step DeleteRegion(const std::string& id) {
  return [=](World& world) { return DoDeleteRegion(world, id); };
}

// ---- IO address spaces ----

Step NewIoas(const std::string& id) {
  return [=](World& world) -> absl::Status {
    v1::CreateIoasRequest request;
    request.set_ioas_id(World::Id(id));
    absl::Status made = world.Call(&IoasStub::CreateIoas, std::move(request)).status();
    if (made.ok()) world.OnUndo([&world, id] { return DoDeleteIoas(world, id); });
    return made;
  };
}

Step GetIoas(const std::string& id) {
  return [=](World& world) {
    return world.Call(&IoasStub::GetIoas, Named<v1::GetIoasRequest>(World::Ioas(id))).status();
  };
}

Step DeleteIoas(const std::string& id) {
  return [=](World& world) { return DoDeleteIoas(world, id); };
}

v1::MapRequest MapRequestFor(const std::string& ioas, const std::vector<Entry>& entries) {
  auto request = Named<v1::MapRequest>(World::Ioas(ioas));
  for (const Entry& entry : entries) {
    v1::MapEntry& mapping = *request.add_mappings();
    if (entry.iova.has_value()) mapping.set_iova(*entry.iova);
    mapping.set_memory_region(World::Region(entry.region));
    mapping.set_offset(entry.offset);
    mapping.set_length(entry.length);
    mapping.set_permission(entry.permission);
  }
  return request;
}

Step SendMap(const v1::MapRequest& request) {
  return [=](World& world) -> absl::Status {
    const auto response = world.Call(&IoasStub::Map, request);
    if (!response.ok()) return response.status();
    world.iovas.assign(response->iovas().begin(), response->iovas().end());
    world.OnUndo([&world, ioas = request.name()] { return DoUnmapAll(world, ioas); });
    return absl::OkStatus();
  };
}

Step Map(const std::string& ioas, const std::vector<Entry>& entries) {
  return SendMap(MapRequestFor(ioas, entries));
}

Step SendUnmap(const v1::UnmapRequest& request) {
  return [=](World& world) { return world.Call(&IoasStub::Unmap, request).status(); };
}

Step Unmap(const std::string& ioas, const std::vector<Span>& ranges) {
  auto request = Named<v1::UnmapRequest>(World::Ioas(ioas));
  for (const Span& span : ranges) {
    v1::UnmapEntry& range = *request.add_ranges();
    range.set_iova(span.iova);
    range.set_length(span.length);
  }
  return SendUnmap(request);
}

Step UnmapAll(const std::string& ioas) {
  return [=](World& world) { return DoUnmapAll(world, World::Ioas(ioas)); };
}

Step CopyMappings(const Copy& copy) {
  return [=](World& world) -> absl::Status {
    auto request = Named<v1::CopyMappingsRequest>(World::Ioas(copy.into));
    request.set_source(World::Ioas(copy.source));
    request.set_source_iova(copy.source_iova);
    request.set_length(copy.length);
    if (copy.iova.has_value()) request.set_iova(*copy.iova);
    request.set_permission(copy.permission);
    const auto response = world.Call(&IoasStub::CopyMappings, std::move(request));
    if (!response.ok()) return response.status();
    world.iovas.assign(response->iovas().begin(), response->iovas().end());
    world.OnUndo([&world, ioas = World::Ioas(copy.into)] { return DoUnmapAll(world, ioas); });
    return absl::OkStatus();
  };
}

Step Allow(const std::string& ioas, const std::vector<Range>& ranges) {
  return [=](World& world) {
    auto request = Named<v1::SetAllowedIovaRangesRequest>(World::Ioas(ioas));
    for (const Range& range : ranges) {
      v1::IovaRange& added = *request.add_ranges();
      added.set_first(range.first);
      added.set_last(range.last);
    }
    return world.Call(&IoasStub::SetAllowedIovaRanges, std::move(request)).status();
  };
}

Step ListRanges(const std::string& ioas) {
  return [=](World& world) {
    v1::ListIovaRangesRequest request;
    request.set_parent(World::Ioas(ioas));
    return world.Call(&IoasStub::ListIovaRanges, std::move(request)).status();
  };
}

Step Translate(const std::string& ioas, uint64_t iova) {
  return [=](World& world) {
    auto request = Named<v1::TranslateRequest>(World::Ioas(ioas));
    request.set_iova(iova);
    return world.Call(&IoasStub::Translate, std::move(request)).status();
  };
}

// ---- Domains ----

Step SendNewDomain(const std::string& id, const v1::Domain& domain) {
  return [=](World& world) -> absl::Status {
    v1::CreateDomainRequest request;
    // The static ids can be asked for.
    request.set_domain_id(World::Domain(id).substr(std::string("domains/").size()));
    *request.mutable_domain() = domain;
    if (domain.has_paging()) {
      request.mutable_domain()->mutable_paging()->set_device(
          world.Device(domain.paging().device()));
    }
    if (domain.has_nested()) {
      request.mutable_domain()->mutable_nested()->set_device(
          world.Device(domain.nested().device()));
    }
    absl::Status made = world.Call(&Domains::CreateDomain, std::move(request)).status();
    if (made.ok()) world.OnUndo([&world, id] { return DoDeleteDomain(world, id); });
    return made;
  };
}

Step NewDomain(const std::string& id, const std::string& ioas, const std::string& device) {
  v1::Domain domain;
  domain.mutable_paging()->set_ioas(World::Ioas(ioas));
  domain.mutable_paging()->set_device(device);
  return SendNewDomain(id, domain);
}

Step DeleteDomain(const std::string& id) {
  return [=](World& world) { return DoDeleteDomain(world, id); };
}

// ---- Devices ----

Step Claim(const std::string& device) {
  return [=](World& world) -> absl::Status {
    absl::Status claimed =
        world.Call(&Devices::ClaimDevice, Named<v1::ClaimDeviceRequest>(world.Device(device)))
            .status();
    if (claimed.ok()) world.OnUndo([&world, device] { return DoRelease(world, device); });
    return claimed;
  };
}

Step Release(const std::string& device) {
  return [=](World& world) { return DoRelease(world, device); };
}

Step Attach(const std::string& device, const std::string& domain) {
  return [=](World& world) -> absl::Status {
    auto request = Named<v1::AttachDeviceRequest>(world.Device(device));
    request.set_domain(World::Domain(domain));
    absl::Status attached = world.Call(&Devices::AttachDevice, std::move(request)).status();
    if (attached.ok()) world.OnUndo([&world, device] { return DoDetach(world, device); });
    return attached;
  };
}

Step Replace(const std::string& device, const std::string& domain) {
  return [=](World& world) {
    auto request = Named<v1::ReplaceAttachmentRequest>(world.Device(device));
    request.set_domain(World::Domain(domain));
    return world.Call(&Devices::ReplaceAttachment, std::move(request)).status();
  };
}

Step Detach(const std::string& device) {
  return [=](World& world) { return DoDetach(world, device); };
}

Step HardwareInfo(const std::string& device, v1::HardwareType type) {
  return [=](World& world) {
    auto request = Named<v1::GetHardwareInfoRequest>(world.Device(device));
    request.set_type(type);
    return world.Call(&Devices::GetHardwareInfo, std::move(request)).status();
  };
}

Step ReservedRegions(const std::string& device) {
  return [=](World& world) {
    v1::ListReservedRegionsRequest request;
    request.set_parent(world.Device(device));
    return world.Call(&Devices::ListReservedRegions, std::move(request)).status();
  };
}

Step SetDefault(const std::string& device, v1::DefaultDomainType type) {
  return [=](World& world) -> absl::Status {
    const auto before =
        world.Call(&Devices::GetDevice, Named<v1::GetDeviceRequest>(world.Device(device)));
    absl::Status set = DoSetDefault(world, device, type);
    if (!set.ok() || !before.ok()) return set;
    world.OnUndo([&world, device, old = before->default_domain()] {
      return DoSetDefault(world, device, old);
    });
    return set;
  };
}

// ---- The host's side ----

Step HostMap(const std::string& device, uint64_t length, uint64_t offset,
             v1::Permission permission) {
  return [=](World& world) -> absl::Status {
    auto request = Named<v1::HostMapRequest>(world.Device(device));
    request.set_memory_region(World::Region("r"));
    request.set_length(length);
    request.set_offset(offset);
    request.set_permission(permission);
    const auto response = world.Call(&Simulations::HostMap, std::move(request));
    if (!response.ok()) return response.status();
    world.iovas = {response->iova()};
    world.OnUndo([&world, device, iova = response->iova(), length] {
      return DoHostUnmap(world, device, iova, length);
    });
    return absl::OkStatus();
  };
}

Step HostUnmap(const std::string& device, uint64_t iova, uint64_t length) {
  return [=](World& world) { return DoHostUnmap(world, device, iova, length); };
}

Step HostUnmapLast(const std::string& device, uint64_t length) {
  return [=](World& world) { return DoHostUnmap(world, device, world.iovas.at(0), length); };
}

Step SetHealth(const std::string& device, v1::DeviceHealth health) {
  return [=](World& world) -> absl::Status {
    absl::Status set = DoSetHealth(world, device, health);
    if (!set.ok()) return set;
    world.OnUndo(
        [&world, device] { return DoSetHealth(world, device, v1::DEVICE_HEALTH_HEALTHY); });
    return set;
  };
}

// ---- Several at once ----

std::vector<Step> DomainFor(const std::string& device) {
  return {NewRegion("r"), NewIoas("a"), Claim(device), NewDomain("d", "a", device)};
}

std::vector<Step> Attached(const std::string& device) {
  return DomainFor(device) + std::vector<Step>{Attach(device, "d")};
}

std::vector<Step> operator+(std::vector<Step> steps, const std::vector<Step>& more) {
  steps.insert(steps.end(), more.begin(), more.end());
  return steps;
}

// ---- What holds after a call ----

Step AnswerSays(const std::string& text) {
  return [=](World& world) {
    return Expect(absl::StrContains(world.answer(), text),
                  absl::StrCat("no \"", text, "\" in: ", world.answer()));
  };
}

Step AnswerLacks(const std::string& text) {
  return [=](World& world) {
    return Expect(!absl::StrContains(world.answer(), text),
                  absl::StrCat("\"", text, "\" is in: ", world.answer()));
  };
}

Step Chose(const std::vector<uint64_t>& iovas) {
  return [=](World& world) {
    return Expect(world.iovas == iovas,
                  absl::StrCat("chose ", absl::StrJoin(world.iovas, ", ", [](auto* out, auto iova) {
                                 absl::StrAppend(out, Hex(iova));
                               })));
  };
}

Step Maps(const std::string& ioas, const std::vector<std::string>& mappings) {
  return [=](World& world) -> absl::Status {
    v1::ListMappingsRequest request;
    request.set_parent(World::Ioas(ioas));
    const auto response = world.Call(&IoasStub::ListMappings, std::move(request));
    if (!response.ok()) return response.status();
    std::vector<std::string> seen;
    for (const v1::Mapping& mapping : response->mappings()) {
      seen.push_back(absl::StrCat(Hex(mapping.iova()), "+", Hex(mapping.length()), "@",
                                  Hex(mapping.offset())));
    }
    return Expect(seen == mappings, absl::StrCat(ioas, " maps ", absl::StrJoin(seen, " ")));
  };
}

Step Usable(const std::string& ioas, const std::vector<Range>& ranges) {
  return [=](World& world) -> absl::Status {
    v1::ListIovaRangesRequest request;
    request.set_parent(World::Ioas(ioas));
    const auto response = world.Call(&IoasStub::ListIovaRanges, std::move(request));
    if (!response.ok()) return response.status();
    const bool same = std::equal(
        response->ranges().begin(), response->ranges().end(), ranges.begin(), ranges.end(),
        [](const auto& a, const Range& b) { return a.first() == b.first && a.last() == b.last; });
    return Expect(same, absl::StrCat("usable: ", response->ShortDebugString()));
  };
}

Step HasAlignment(const std::string& ioas, uint64_t bytes) {
  return [=](World& world) -> absl::Status {
    const auto response =
        world.Call(&IoasStub::GetIoas, Named<v1::GetIoasRequest>(World::Ioas(ioas)));
    if (!response.ok()) return response.status();
    return Expect(response->alignment_bytes() == bytes, response->ShortDebugString());
  };
}

Step Reads(const std::string& device, uint64_t iova, int byte) {
  return [=](World& world) -> absl::Status {
    if (!world.simulated()) return absl::OkStatus();
    const auto response = Dma(world, device, iova, /*write=*/false);
    if (!response.ok()) return response.status();
    return Expect(response->data() == std::string(1, static_cast<char>(byte)),
                  absl::StrCat(device, " at ", Hex(iova), ": ", response->ShortDebugString()));
  };
}

Step Faults(const std::string& device, uint64_t iova) {
  return ExpectFault(device, iova, /*write=*/false);
}

Step FaultsAtWrite(const std::string& device, uint64_t iova) {
  return ExpectFault(device, iova, /*write=*/true);
}

Step Writes(const std::string& device, uint64_t iova) {
  return [=](World& world) -> absl::Status {
    if (!world.simulated()) return absl::OkStatus();
    const auto response = Dma(world, device, iova, /*write=*/true);
    if (!response.ok()) return response.status();
    return Expect(response->bytes_done() == 1 && !response->has_fault(),
                  absl::StrCat(device, " at ", Hex(iova), ": ", response->ShortDebugString()));
  };
}

Step DeviceSays(const std::string& device, const std::string& text) {
  return [=](World& world) -> absl::Status {
    const auto response =
        world.Call(&Devices::GetDevice, Named<v1::GetDeviceRequest>(world.Device(device)));
    if (!response.ok()) return response.status();
    return AnswerSays(text)(world);
  };
}

Step DomainSays(const std::string& domain, const std::string& text) {
  return [=](World& world) -> absl::Status {
    const auto response =
        world.Call(&Domains::GetDomain, Named<v1::GetDomainRequest>(World::Domain(domain)));
    if (!response.ok()) return response.status();
    return AnswerSays(text)(world);
  };
}

Step DomainLacks(const std::string& domain, const std::string& text) {
  return [=](World& world) -> absl::Status {
    const auto response =
        world.Call(&Domains::GetDomain, Named<v1::GetDomainRequest>(World::Domain(domain)));
    if (!response.ok()) return response.status();
    return AnswerLacks(text)(world);
  };
}

Step Remember() {
  return [](World& world) -> absl::Status {
    const auto seen = TakeSnapshot(world);
    if (seen.ok()) world.seen = *seen;
    return seen.status();
  };
}

Step NothingChanged() {
  return [](World& world) -> absl::Status {
    const auto now = TakeSnapshot(world);
    if (!now.ok()) return now.status();
    const std::string difference = Difference(world.seen, *now);
    return Expect(difference.empty(), difference);
  };
}

}  // namespace viommu::conformance
