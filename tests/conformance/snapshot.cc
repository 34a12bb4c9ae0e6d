#include "tests/conformance/snapshot.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/domain.grpc.pb.h"
#include "viommu/v1/fault.grpc.pb.h"
#include "viommu/v1/host.grpc.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"
#include "viommu/v1/viommu.grpc.pb.h"

namespace viommu::conformance {
namespace {

constexpr int kWholePage = 1000;             // More than any case makes of anything.
constexpr size_t kProbedMappings = 4;        // Of all address spaces together.
constexpr uint64_t kNowhere = 0x5000000000;  // No case maps there.

// Everything that the listings say.
struct Sight {
  v1::Host host;
  v1::ListDevicesResponse devices;
  v1::ListAttachmentsResponse attachments;
  v1::ListMemoryRegionsResponse regions;
  v1::ListIoasResponse ioas;
  v1::ListDomainsResponse domains;
  v1::ListViommusResponse viommus;  // They say what belongs to them.
  v1::ListFaultQueuesResponse fault_queues;
  std::vector<v1::ListMappingsResponse> mappings;  // Of each Ioas.
  std::vector<v1::ListIovaRangesResponse> ranges;  // The same.
  std::vector<v1::ListPasidsResponse> pasids;      // Of each device that is claimed.
};

template <typename Stub, typename Request, typename Response>
absl::Status List(World& world,
                  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                  Response* out, Request request = {}) {
  request.set_page_size(kWholePage);
  absl::StatusOr<Response> response = world.Call(method, std::move(request));
  if (!response.ok()) return response.status();
  *out = *std::move(response);
  return absl::OkStatus();
}

absl::Status LookInto(World& world, const v1::Ioas& ioas, Sight* sight) {
  v1::ListMappingsRequest mappings;
  mappings.set_parent(ioas.name());
  absl::Status listed = List(world, &v1::IoasService::Stub::ListMappings,
                             &sight->mappings.emplace_back(), std::move(mappings));
  if (!listed.ok()) return listed;
  v1::ListIovaRangesRequest ranges;
  ranges.set_parent(ioas.name());
  auto response = world.Call(&v1::IoasService::Stub::ListIovaRanges, std::move(ranges));
  if (!response.ok()) return response.status();
  sight->ranges.push_back(*std::move(response));
  return absl::OkStatus();
}

absl::Status LookInto(World& world, const v1::Device& device, Sight* sight) {
  if (device.ownership() != v1::DEVICE_OWNERSHIP_CLAIMED) return absl::OkStatus();
  v1::ListPasidsRequest pasids;
  pasids.set_parent(device.name());
  return List(world, &v1::DeviceService::Stub::ListPasids, &sight->pasids.emplace_back(),
              std::move(pasids));
}

absl::StatusOr<Sight> Look(World& world) {
  Sight sight;
  auto host = world.Call(&v1::HostService::Stub::GetHost, v1::GetHostRequest());
  if (!host.ok()) return host.status();
  sight.host = *std::move(host);
  absl::Status status = List(world, &v1::DeviceService::Stub::ListDevices, &sight.devices);
  status.Update(List(world, &v1::DeviceService::Stub::ListAttachments, &sight.attachments));
  status.Update(List(world, &v1::MemoryService::Stub::ListMemoryRegions, &sight.regions));
  status.Update(List(world, &v1::IoasService::Stub::ListIoas, &sight.ioas));
  status.Update(List(world, &v1::DomainService::Stub::ListDomains, &sight.domains));
  status.Update(List(world, &v1::ViommuService::Stub::ListViommus, &sight.viommus));
  status.Update(List(world, &v1::FaultService::Stub::ListFaultQueues, &sight.fault_queues));
  for (const v1::Ioas& ioas : sight.ioas.ioas()) status.Update(LookInto(world, ioas, &sight));
  for (const v1::Device& device : sight.devices.devices()) {
    status.Update(LookInto(world, device, &sight));
  }
  if (!status.ok()) return status;
  return sight;
}

template <typename Items>
void Append(absl::string_view what, const Items& items, std::vector<std::string>* lines) {
  for (const auto& item : items) {
    lines->push_back(absl::StrCat(what, ": ", item.ShortDebugString()));
  }
}

std::vector<uint64_t> Probes(const Sight& sight) {
  std::vector<uint64_t> probes{kNowhere};
  for (const v1::ListMappingsResponse& mappings : sight.mappings) {
    for (const v1::Mapping& mapping : mappings.mappings()) {
      if (probes.size() > 2 * kProbedMappings) return probes;
      probes.push_back(mapping.iova());
      probes.push_back(mapping.iova() + (mapping.length() - 1));
    }
  }
  return probes;
}

// What requests with and without PASID of a device read at all the addresses.
absl::Status ProbeOne(World& world, const v1::DmaRequest& from, const std::vector<uint64_t>& iovas,
                      std::vector<std::string>* lines) {
  for (const uint64_t iova : iovas) {
    v1::DmaRequest request = from;
    request.set_iova(iova);
    request.set_read_length(1);
    auto response = world.Call(&v1::SimulationService::Stub::Dma, std::move(request));
    if (!response.ok()) return response.status();
    lines->push_back(absl::StrCat(from.name(), from.has_pasid() ? " pasid " : "",
                                  from.has_pasid() ? absl::StrCat(from.pasid()) : "", " at ", iova,
                                  " reads ", response->ShortDebugString()));
  }
  return absl::OkStatus();
}

// The same of a device whose requests may stall: an access would be something to see.
absl::Status ExplainOne(World& world, const v1::DmaRequest& from,
                        const std::vector<uint64_t>& iovas, std::vector<std::string>* lines) {
  v1::ExplainTranslationRequest request;
  request.set_name(from.name());
  if (from.has_pasid()) request.set_pasid(from.pasid());
  for (const uint64_t iova : iovas) {
    request.set_iova(iova);
    auto response = world.Call(&v1::SimulationService::Stub::ExplainTranslation, request);
    if (!response.ok()) return response.status();
    lines->push_back(
        absl::StrCat(request.ShortDebugString(), " is explained: ", response->ShortDebugString()));
  }
  return absl::OkStatus();
}

absl::Status Probe(World& world, const Sight& sight, std::vector<std::string>* lines) {
  const std::vector<uint64_t> iovas = Probes(sight);
  absl::Status status;
  std::set<std::string> may_stall;  // Platform devices alone do.
  v1::DmaRequest from;
  const auto probe = [&] {
    const bool stalls = may_stall.count(from.name()) != 0;
    status.Update(stalls ? ExplainOne(world, from, iovas, lines)
                         : ProbeOne(world, from, iovas, lines));
  };
  for (const v1::Device& device : sight.devices.devices()) {
    if (device.pci_address().empty()) may_stall.insert(device.name());
    if (device.ownership() != v1::DEVICE_OWNERSHIP_CLAIMED) continue;
    from.set_name(device.name());
    probe();
  }
  for (const v1::Attachment& attachment : sight.attachments.attachments()) {
    if (!attachment.has_pasid()) continue;
    from.set_name(attachment.device());
    from.set_pasid(attachment.pasid());
    probe();
  }
  return status;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> TakeSnapshot(World& world) {
  absl::StatusOr<Sight> sight = Look(world);
  if (!sight.ok()) return sight.status();
  std::vector<std::string> lines{sight->host.ShortDebugString()};
  Append("device", sight->devices.devices(), &lines);
  Append("attachment", sight->attachments.attachments(), &lines);
  Append("region", sight->regions.memory_regions(), &lines);
  Append("domain", sight->domains.domains(), &lines);
  Append("viommu", sight->viommus.viommus(), &lines);
  Append("fault queue", sight->fault_queues.fault_queues(), &lines);
  for (const auto& listed : sight->pasids) Append("pasid", listed.pasids(), &lines);
  for (size_t i = 0; i < sight->mappings.size(); ++i) {
    const v1::Ioas& ioas = sight->ioas.ioas(static_cast<int>(i));
    lines.push_back(absl::StrCat("ioas: ", ioas.ShortDebugString()));
    Append(absl::StrCat(ioas.name(), " maps"), sight->mappings[i].mappings(), &lines);
    Append(absl::StrCat(ioas.name(), " has"), sight->ranges[i].ranges(), &lines);
  }
  absl::Status probed = world.simulated() ? Probe(world, *sight, &lines) : absl::OkStatus();
  if (!probed.ok()) return probed;
  return lines;
}

absl::StatusOr<std::vector<std::string>> TakeInventory(World& world) {
  absl::StatusOr<Sight> sight = Look(world);
  if (!sight.ok()) return sight.status();
  std::vector<std::string> lines;
  for (const v1::Ioas& ioas : sight->ioas.ioas()) lines.push_back(ioas.name());
  for (const v1::Domain& domain : sight->domains.domains()) lines.push_back(domain.name());
  for (const v1::Viommu& viommu : sight->viommus.viommus()) lines.push_back(viommu.name());
  for (const auto& queue : sight->fault_queues.fault_queues()) lines.push_back(queue.name());
  for (const auto& region : sight->regions.memory_regions()) lines.push_back(region.name());
  for (const v1::Device& device : sight->devices.devices()) {
    lines.push_back(absl::StrCat(device.name(), " owned ", device.ownership(), " on \"",
                                 device.domain(), "\", by default on ", device.default_domain(),
                                 ", health ", device.health()));
  }
  return lines;
}

std::string Difference(const std::vector<std::string>& before,
                       const std::vector<std::string>& after) {
  std::string text;
  const auto only = [&](const std::vector<std::string>& in, const std::vector<std::string>& other,
                        absl::string_view sign) {
    for (const std::string& line : in) {
      if (std::find(other.begin(), other.end(), line) != other.end()) continue;
      absl::StrAppend(&text, sign, line, "\n");
    }
  };
  only(before, after, "-");
  only(after, before, "+");
  return text;
}

}  // namespace viommu::conformance
