#include "engine/backend/soft/soft_machine.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

absl::Status CheckTopology(const Topology& topology) {
  const std::vector<TopologyProblem> problems = Validate(topology);
  if (problems.empty()) return absl::OkStatus();
  Error error(absl::StatusCode::kInvalidArgument, "INVALID_TOPOLOGY",
              absl::StrCat(problems[0].path, ": ", problems[0].message));
  for (const TopologyProblem& problem : problems) {
    error.Violation(absl::StrCat(problem.path, ": ", problem.message));
  }
  return error;
}

// Platform devices have no bus address; firmware gives them a source id on a bus of its own. Here
// they count down from the last one, skipping what PCI devices use.
uint16_t SourceIdOf(const DeviceSpec& device, const std::vector<uint16_t>& taken) {
  const auto pci = ParsePciAddress(device.pci_address);
  if (pci.has_value()) return pci->source_id();
  uint16_t id = 0xffff;
  while (std::find(taken.begin(), taken.end(), id) != taken.end()) --id;
  return id;
}

// Whoever may send translated requests reaches all memory (kernel: pci_ats_supported).
bool HasDeviceTlb(const DeviceSpec& device, const IommuSpec& unit) {
  return device.ats && ServesDeviceTlbs(unit) && !device.untrusted;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SoftMachine>> SoftMachine::Create(Topology topology,
                                                                 uint64_t arena_bytes) {
  RETURN_IF_ERROR(CheckTopology(topology));
  std::unique_ptr<SoftMachine> machine(new SoftMachine(std::move(topology)));
  ASSIGN_OR_RETURN(machine->memory_, SoftMemory::Create(machine->topology_, arena_bytes));
  machine->seats_.resize(machine->topology_.devices.size());
  for (const IommuSpec& spec : machine->topology_.iommus) {
    RETURN_IF_ERROR(spec.architecture == IommuArchitecture::kSmmuV3 ? machine->AddSmmu(spec)
                                                                    : machine->AddVtdUnit(spec));
  }
  return machine;
}

absl::Status SoftMachine::AddVtdUnit(const IommuSpec& spec) {
  // PCI devices first: their source ids are given.
  std::vector<DeviceIndex> devices;
  for (const bool pci : {true, false}) {
    for (DeviceIndex i = 0; i < topology_.devices.size(); ++i) {
      const DeviceSpec& device = topology_.devices[i];
      if (device.iommu == spec.id && device.pci_address.empty() != pci) devices.push_back(i);
    }
  }
  std::vector<uint16_t> source_ids;
  for (const DeviceIndex i : devices) {
    source_ids.push_back(SourceIdOf(topology_.devices[i], source_ids));
  }
  std::vector<VtdUnit::Requester> requesters;
  for (size_t k = 0; k < devices.size(); ++k) {
    const DeviceSpec& device = topology_.devices[devices[k]];
    VtdUnit::Requester requester;
    requester.source_id = source_ids[k];
    requester.pasid_bits = std::min(device.pasid_bits, PasidBits(spec));
    requester.device_tlb = HasDeviceTlb(device, spec);
    requester.page_requests = HasPageRequests(spec, device);
    requesters.push_back(requester);
  }
  ASSIGN_OR_RETURN(auto unit,
                   VtdUnit::Create(spec, requesters, &memory_->physical(), &memory_->arena()));
  for (size_t k = 0; k < devices.size(); ++k) seats_[devices[k]] = {units_.size(), source_ids[k]};
  units_.push_back({std::move(unit), nullptr});
  return absl::OkStatus();
}

absl::Status SoftMachine::AddSmmu(const IommuSpec& spec) {
  std::vector<SmmuUnit::Requester> requesters;
  for (DeviceIndex i = 0; i < topology_.devices.size(); ++i) {
    const DeviceSpec& device = topology_.devices[i];
    if (device.iommu != spec.id) continue;
    SmmuUnit::Requester requester;
    requester.stream_id = *StreamIdOf(spec, device);
    requester.pasid_bits = std::min(device.pasid_bits, PasidBits(spec));
    requester.device_tlb = HasDeviceTlb(device, spec);
    requester.stalls = HasStalls(spec, device);
    requester.page_requests = HasPageRequests(spec, device);
    seats_[i] = {units_.size(), requester.stream_id};
    requesters.push_back(requester);
  }
  ASSIGN_OR_RETURN(auto unit,
                   SmmuUnit::Create(spec, requesters, &memory_->physical(), &memory_->arena()));
  units_.push_back({nullptr, std::move(unit)});
  return absl::OkStatus();
}

std::vector<DeviceIndex> SoftMachine::Quarantined() const {
  std::vector<DeviceIndex> devices;
  for (size_t unit = 0; unit < ports_.size(); ++unit) {
    const std::vector<uint32_t> requesters = ports_[unit]->Quarantined();
    if (requesters.empty()) continue;
    for (DeviceIndex i = 0; i < seats_.size(); ++i) {
      const bool is_out =
          seats_[i].unit == unit &&
          std::binary_search(requesters.begin(), requesters.end(), seats_[i].requester);
      if (is_out) devices.push_back(i);
    }
  }
  std::sort(devices.begin(), devices.end());
  return devices;
}

absl::Status SoftMachine::EnableTranslation() {
  for (const Unit& unit : units_) {
    RETURN_IF_ERROR(unit.smmu != nullptr ? unit.smmu->EnableTranslation()
                                         : unit.vtd->EnableTranslation());
  }
  return absl::OkStatus();
}

}  // namespace viommu
