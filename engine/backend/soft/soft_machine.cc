#include "engine/backend/soft/soft_machine.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/table_dump.h"
#include "engine/backend/soft/vtd_registers.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/entries/vtd_descriptors.h"
#include "engine/entries/vtd_entries.h"

namespace viommu {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint32_t kNoReadOnlyOnNestParents = 1 << 0;  // IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17.

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

// "SPT.2: PASID-table entry not present" has the reason before the colon.
std::pair<std::string, std::string> SplitFaultName(uint8_t code) {
  const absl::string_view name = hardware::FaultReasonName(code);
  const size_t colon = name.find(": ");
  if (colon == absl::string_view::npos) return {std::string(name), std::string(name)};
  return {std::string(name.substr(0, colon)), std::string(name.substr(colon + 2))};
}

bool IsKnownFault(int code) {
  return code != 0 &&
         hardware::FaultReasonName(static_cast<uint8_t>(code)) != hardware::FaultReasonName(0xff);
}

}  // namespace

absl::StatusOr<std::unique_ptr<SoftMachine>> SoftMachine::Create(Topology topology,
                                                                 uint64_t arena_bytes) {
  RETURN_IF_ERROR(CheckTopology(topology));
  std::unique_ptr<SoftMachine> machine(new SoftMachine(std::move(topology)));
  ASSIGN_OR_RETURN(machine->memory_, SoftMemory::Create(machine->topology_, arena_bytes));
  machine->seats_.resize(machine->topology_.devices.size());
  for (const IommuSpec& spec : machine->topology_.iommus) {
    RETURN_IF_ERROR(machine->AddUnit(spec));
  }
  return machine;
}

absl::Status SoftMachine::AddUnit(const IommuSpec& spec) {
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
    requester.pasid_bits = std::min(device.pasid_bits, spec.pasid_bits);
    // Whoever may send translated requests reaches all memory (kernel: pci_ats_supported).
    requester.device_tlb = device.ats && spec.device_tlb && !device.untrusted;
    requester.page_requests = HasPageFaults(spec, device);
    requesters.push_back(requester);
  }
  ASSIGN_OR_RETURN(auto unit,
                   VtdUnit::Create(spec, requesters, &memory_->physical(), &memory_->arena()));
  for (size_t k = 0; k < devices.size(); ++k) seats_[devices[k]] = {unit.get(), source_ids[k]};
  units_.push_back(std::move(unit));
  return absl::OkStatus();
}

absl::Status SoftMachine::EnableTranslation() {
  for (const auto& unit : units_) RETURN_IF_ERROR(unit->EnableTranslation());
  return absl::OkStatus();
}

VtdHardware SoftMachine::DescribeHardware(DeviceIndex device) const {
  const hardware::VtdModel& hardware = unit_of(device).hardware();
  VtdHardware seen;
  seen.capability = hardware.Read64(vtd::kCapabilityRegister);
  seen.extended_capability = hardware.Read64(vtd::kExtendedCapabilityRegister);
  if (unit_of(device).spec().nesting) seen.flags |= kNoReadOnlyOnNestParents;
  return seen;
}

BackendStats SoftMachine::Stats() const {
  BackendStats stats;
  stats.table_pages = memory_->arena().pages_in_use();
  std::array<uint64_t, vtd::kDescriptorKinds> invalidations = {};
  std::array<uint64_t, 256> faults = {};
  for (const auto& unit : units_) {
    const auto queue = unit->queue().counters();
    for (size_t k = 0; k < invalidations.size(); ++k) invalidations[k] += queue.by_kind[k];
    const auto hardware = unit->hardware().counters();
    for (size_t code = 0; code < faults.size(); ++code) faults[code] += hardware.faults[code];
  }
  for (size_t k = 0; k < invalidations.size(); ++k) {
    const auto kind = static_cast<vtd::DescriptorKind>(k);
    stats.invalidations.emplace_back(vtd::NameOf(kind), invalidations[k]);
  }
  for (size_t code = 0; code < faults.size(); ++code) {
    if (!IsKnownFault(static_cast<int>(code))) continue;
    stats.faults.emplace_back(SplitFaultName(static_cast<uint8_t>(code)).first, faults[code]);
  }
  return stats;
}

std::vector<QueueState> SoftMachine::Queues() const {
  std::vector<QueueState> states;
  for (const auto& unit : units_) {
    const InvalidationQueue& queue = unit->queue();
    const auto counters = queue.counters();
    QueueState state;
    state.iommu = unit->spec().id;
    state.size_entries = InvalidationQueue::kEntries;
    state.head = queue.head();
    state.tail = queue.tail();
    state.submitted = counters.submitted;
    state.waits = counters.by_kind[static_cast<size_t>(vtd::DescriptorKind::kWait)];
    state.errors = counters.errors;
    states.push_back(state);
  }
  return states;
}

DmaOutcome SoftMachine::Dma(DeviceIndex device, std::optional<uint32_t> pasid, Iova iova,
                            bool write, absl::Span<char> data) {
  hardware::Request request;
  request.source_id = source_id_of(device);
  request.pasid = pasid;
  request.address = iova;
  request.write = write;
  const auto done = unit_of(device).hardware().Access(request, data);
  DmaOutcome outcome;
  outcome.bytes_done = done.bytes_done;
  const Iova page = done.fault_address & ~(kPageBytes - 1);
  if (done.fault_reason != 0) {
    auto [reason, description] = SplitFaultName(done.fault_reason);
    outcome.fault = DmaFault{done.fault_reason, std::move(reason), std::move(description), page};
  } else if (done.memory_missing) {
    outcome.fault = DmaFault{
        0, "NO_MEMORY", absl::StrCat("no memory answers where ", Hex(page), " leads to"), page};
  }
  return outcome;
}

std::vector<TableEntryDump> SoftMachine::DumpTables(DeviceIndex device,
                                                    std::optional<uint32_t> pasid, Iova iova) {
  const uint64_t root = unit_of(device).hardware().Read64(vtd::kRootTableRegister);
  return DumpPath(memory_->physical(), vtd::PointerIn(root), source_id_of(device), pasid, iova);
}

}  // namespace viommu
