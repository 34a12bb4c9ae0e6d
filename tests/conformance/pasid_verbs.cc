#include "tests/conformance/pasid_verbs.h"

#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/conformance/requests.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/domain.grpc.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu::conformance {
namespace {

using Devices = v1::DeviceService::Stub;
using Domains = v1::DomainService::Stub;
using OptionalPasid = std::optional<uint32_t>;

absl::Status DoDetach(World& world, const std::string& device, OptionalPasid pasid) {
  auto request = Named<v1::DetachDeviceRequest>(world.Device(device));
  if (pasid.has_value()) request.set_pasid(*pasid);
  return world.Call(&Devices::DetachDevice, std::move(request)).status();
}

// Returns the name of the domain that the device is on now.
absl::StatusOr<std::string> DoAttach(World& world, const std::string& device, OptionalPasid pasid,
                                     const std::string& target) {
  auto request = Named<v1::AttachDeviceRequest>(world.Device(device));
  request.set_domain(target);
  if (pasid.has_value()) request.set_pasid(*pasid);
  const auto response = world.Call(&Devices::AttachDevice, std::move(request));
  if (!response.ok()) return response.status();
  world.OnUndo([&world, device, pasid] { return DoDetach(world, device, pasid); });
  return response->attachment().domain();
}

absl::StatusOr<std::string> DoReplace(World& world, const std::string& device, OptionalPasid pasid,
                                      const std::string& target) {
  auto request = Named<v1::ReplaceAttachmentRequest>(world.Device(device));
  request.set_domain(target);
  if (pasid.has_value()) request.set_pasid(*pasid);
  const auto response = world.Call(&Devices::ReplaceAttachment, std::move(request));
  if (!response.ok()) return response.status();
  return response->attachment().domain();
}

// A dry run answers a domain that will not be there.
absl::Status NotePicked(World& world, const absl::StatusOr<std::string>& domain) {
  if (domain.ok() && !world.validate_only()) world.picked.push_back(*domain);
  return domain.status();
}

absl::StatusOr<v1::DmaResponse> Read(World& world, const std::string& device, uint32_t pasid,
                                     uint64_t iova) {
  auto request = Named<v1::DmaRequest>(world.Device(device));
  request.set_iova(iova);
  request.set_read_length(1);
  request.set_pasid(pasid);
  return world.Call(&v1::SimulationService::Stub::Dma, std::move(request));
}

std::string InWords(const v1::Pasid& pasid) {
  switch (pasid.state()) {
    case v1::PASID_STATE_RESERVED:
      return absl::StrCat(pasid.pasid(), ":reserved");
    case v1::PASID_STATE_ALLOCATED:
      return absl::StrCat(pasid.pasid(), ":allocated");
    case v1::PASID_STATE_ATTACHED:
      return absl::StrCat(pasid.pasid(), ":attached");
    default:
      return absl::StrCat(pasid.pasid(), ":", pasid.state());
  }
}

}  // namespace

// ---- Attachments of one PASID ----

Step AttachPasid(const std::string& device, uint32_t pasid, const std::string& domain) {
  return
      [=](World& world) { return DoAttach(world, device, pasid, World::Domain(domain)).status(); };
}

Step ReplacePasid(const std::string& device, uint32_t pasid, const std::string& domain) {
  return
      [=](World& world) { return DoReplace(world, device, pasid, World::Domain(domain)).status(); };
}

Step DetachPasid(const std::string& device, uint32_t pasid) {
  return [=](World& world) { return DoDetach(world, device, pasid); };
}

Step PasidReads(const std::string& device, uint32_t pasid, uint64_t iova, int byte) {
  return [=](World& world) -> absl::Status {
    if (!world.simulated()) return absl::OkStatus();
    const auto response = Read(world, device, pasid, iova);
    if (!response.ok()) return response.status();
    return Expect(response->data() == std::string(1, static_cast<char>(byte)),
                  absl::StrCat(device, " pasid ", pasid, " at ", Hex(iova), ": ",
                               response->ShortDebugString()));
  };
}

Step PasidFaults(const std::string& device, uint32_t pasid, uint64_t iova) {
  return [=](World& world) -> absl::Status {
    if (!world.simulated()) return absl::OkStatus();
    const auto response = Read(world, device, pasid, iova);
    if (!response.ok()) return response.status();
    return Expect(response->has_fault(),
                  absl::StrCat(device, " pasid ", pasid, " reaches ", Hex(iova)));
  };
}

// ---- Attachments to an address space ----

Step AttachTo(const std::string& device, const std::string& ioas, OptionalPasid pasid) {
  return [=](World& world) {
    return NotePicked(world, DoAttach(world, device, pasid, World::Ioas(ioas)));
  };
}

Step ReplaceTo(const std::string& device, const std::string& ioas, OptionalPasid pasid) {
  return [=](World& world) {
    return NotePicked(world, DoReplace(world, device, pasid, World::Ioas(ioas)));
  };
}

Step Picked(const std::string& domains) {
  return [=](World& world) {
    std::vector<std::string> different;
    std::string seen;
    for (const std::string& domain : world.picked) {
      size_t i = 0;
      while (i < different.size() && different[i] != domain) ++i;
      if (i == different.size()) different.push_back(domain);
      seen.push_back(static_cast<char>('a' + i));
    }
    return Expect(seen == domains, absl::StrCat("picked ", seen, ", where a, b.. are ",
                                                absl::StrJoin(different, ", ")));
  };
}

Step GetPicked(size_t index) {
  return [=](World& world) {
    return world.Call(&Domains::GetDomain, Named<v1::GetDomainRequest>(world.picked.at(index)))
        .status();
  };
}

Step DeletePicked(size_t index) {
  return [=](World& world) {
    return world
        .Call(&Domains::DeleteDomain, Named<v1::DeleteDomainRequest>(world.picked.at(index)))
        .status();
  };
}

Step PickedSays(size_t index, const std::string& text) {
  return [=](World& world) -> absl::Status {
    const auto domain =
        world.Call(&Domains::GetDomain, Named<v1::GetDomainRequest>(world.picked.at(index)));
    if (!domain.ok()) return domain.status();
    const std::string said = domain->ShortDebugString();
    return Expect(absl::StrContains(said, text), absl::StrCat("no \"", text, "\" in: ", said));
  };
}

// ---- The table of PASIDs ----

Step AllocatePasid(const std::string& device, const PasidRange& range) {
  return [=](World& world) {
    auto request = Named<v1::AllocatePasidRequest>(world.Device(device));
    if (range.min.has_value()) request.set_min_pasid(*range.min);
    if (range.max.has_value()) request.set_max_pasid(*range.max);
    request.set_label(range.label);
    return world.Call(&Devices::AllocatePasid, std::move(request)).status();
  };
}

Step ReservePasid(const std::string& device, OptionalPasid pasid, const std::string& label) {
  return [=](World& world) {
    auto request = Named<v1::ReservePasidRequest>(world.Device(device));
    if (pasid.has_value()) request.set_pasid(*pasid);
    request.set_label(label);
    return world.Call(&Devices::ReservePasid, std::move(request)).status();
  };
}

Step FreePasid(const std::string& device, OptionalPasid pasid) {
  return [=](World& world) {
    auto request = Named<v1::FreePasidRequest>(world.Device(device));
    if (pasid.has_value()) request.set_pasid(*pasid);
    return world.Call(&Devices::FreePasid, std::move(request)).status();
  };
}

Step Taken(const std::string& device, const std::string& pasids) {
  return [=](World& world) -> absl::Status {
    v1::ListPasidsRequest request;
    request.set_parent(world.Device(device));
    const auto response = world.Call(&Devices::ListPasids, std::move(request));
    if (!response.ok()) return response.status();
    const std::string seen =
        absl::StrJoin(response->pasids(), " ",
                      [](std::string* out, const auto& pasid) { *out += InWords(pasid); });
    return Expect(seen == pasids, absl::StrCat("taken are: ", seen));
  };
}

// ---- Resets ----

Step Reset(const std::string& device) {
  return [=](World& world) {
    return world.Call(&Devices::ResetDevice, Named<v1::ResetDeviceRequest>(world.Device(device)))
        .status();
  };
}

}  // namespace viommu::conformance
