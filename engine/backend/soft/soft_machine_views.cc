// engine/backend/soft/soft_machine_views.cc -- What a SoftMachine shows of its units, and what its
// devices meet.

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/backend/soft/hardware/smmu_event.h"
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/image_pages.h"
#include "engine/backend/soft/smmu_registers.h"
#include "engine/backend/soft/smmu_table_dump.h"
#include "engine/backend/soft/smmu_table_image.h"
#include "engine/backend/soft/soft_machine.h"
#include "engine/backend/soft/table_dump.h"
#include "engine/backend/soft/vtd_registers.h"
#include "engine/backend/soft/vtd_table_image.h"
#include "engine/base/status_macros.h"
#include "engine/entries/smmu_commands.h"
#include "engine/entries/vtd_descriptors.h"

namespace viommu {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint32_t kNoReadOnlyOnNestParents = 1 << 0;  // IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17.

constexpr smmu::Opcode kSmmuCommands[] = {
    smmu::Opcode::kCfgiSte,     smmu::Opcode::kCfgiAll,     smmu::Opcode::kCfgiCd,
    smmu::Opcode::kCfgiCdAll,   smmu::Opcode::kTlbiNhAll,   smmu::Opcode::kTlbiNhAsid,
    smmu::Opcode::kTlbiNhVa,    smmu::Opcode::kTlbiNhVaa,   smmu::Opcode::kTlbiS12VmAll,
    smmu::Opcode::kTlbiS2Ipa,   smmu::Opcode::kTlbiNsnhAll, smmu::Opcode::kAtcInv,
    smmu::Opcode::kPriResponse, smmu::Opcode::kResume,      smmu::Opcode::kSync};

bool IsKnownFault(int code) {
  return code != 0 &&
         hardware::FaultReasonName(static_cast<uint8_t>(code)) != hardware::FaultReasonName(0xff);
}

// Names of no event are numbers.
bool IsKnownEvent(int code) {
  return code != 0 &&
         !absl::StartsWith(hardware::smmu::EventName(static_cast<uint8_t>(code)), "0x");
}

DmaFault MemoryMissing(Iova page) {
  return {0, "NO_MEMORY", absl::StrCat("no memory answers where ", Hex(page), " leads to"), page};
}

DmaFault FaultOf(const hardware::smmu::Event& event, Iova page) {
  auto [reason, description] = NameAndWordsOf(event);
  return {event.terminated ? hardware::smmu::kNoEvent : event.id, std::move(reason),
          std::move(description), page};
}

template <typename Queue>
QueueState StateOf(const Queue& queue, const std::string& iommu, uint64_t waits) {
  const auto counters = queue.counters();
  QueueState state;
  state.iommu = iommu;
  state.size_entries = Queue::kEntries;
  state.head = queue.head();
  state.tail = queue.tail();
  state.submitted = counters.submitted;
  state.waits = waits;
  state.errors = counters.errors;
  state.timeouts = counters.timeouts;
  return state;
}

// Adds what VT-d units, or SMMUs, have counted, in the order of their kinds.
void AddVtdStats(const std::vector<const VtdUnit*>& units, BackendStats* stats) {
  std::array<uint64_t, vtd::kDescriptorKinds> invalidations = {};
  std::array<uint64_t, 256> faults = {};
  for (const VtdUnit* unit : units) {
    const auto queue = unit->queue().counters();
    for (size_t k = 0; k < invalidations.size(); ++k) invalidations[k] += queue.by_kind[k];
    const auto hardware = unit->hardware().counters();
    for (size_t code = 0; code < faults.size(); ++code) faults[code] += hardware.faults[code];
  }
  for (size_t k = 0; k < invalidations.size(); ++k) {
    const auto kind = static_cast<vtd::DescriptorKind>(k);
    stats->invalidations.emplace_back(vtd::NameOf(kind), invalidations[k]);
  }
  for (size_t code = 0; code < faults.size(); ++code) {
    if (!IsKnownFault(static_cast<int>(code))) continue;
    stats->faults.emplace_back(SplitFaultName(static_cast<uint8_t>(code)).first, faults[code]);
  }
}

void AddSmmuStats(const std::vector<const SmmuUnit*>& units, BackendStats* stats) {
  std::array<uint64_t, 256> commands = {}, events = {};
  uint64_t terminated = 0;
  for (const SmmuUnit* unit : units) {
    const auto queue = unit->queue().counters();
    const auto hardware = unit->hardware().counters();
    terminated += hardware.terminated;
    for (size_t k = 0; k < commands.size(); ++k) {
      commands[k] += queue.by_opcode[k];
      events[k] += hardware.events[k];
    }
  }
  for (const smmu::Opcode opcode : kSmmuCommands) {
    stats->invalidations.emplace_back(smmu::NameOf(opcode), commands[static_cast<size_t>(opcode)]);
  }
  stats->faults.emplace_back("ABORTED", terminated);
  for (size_t code = 0; code < events.size(); ++code) {
    if (!IsKnownEvent(static_cast<int>(code))) continue;
    stats->faults.emplace_back(hardware::smmu::EventName(static_cast<uint8_t>(code)), events[code]);
  }
}

}  // namespace

HardwareRegisters SoftMachine::DescribeHardware(DeviceIndex device) const {
  const Unit& unit = UnitOf(device);
  if (unit.smmu != nullptr) {
    const hardware::SmmuModel& hardware = unit.smmu->hardware();
    ArmSmmuV3Hardware seen;
    for (uint32_t i = 0; i < seen.idr.size(); ++i) {
      seen.idr[i] = hardware.Read32(smmu::kIdr0Register + i * sizeof(uint32_t));
    }
    seen.iidr = hardware.Read32(smmu::kIidrRegister);
    seen.aidr = hardware.Read32(smmu::kAidrRegister);
    return seen;
  }
  const hardware::VtdModel& hardware = unit.vtd->hardware();
  VtdHardware seen;
  seen.capability = hardware.Read64(vtd::kCapabilityRegister);
  seen.extended_capability = hardware.Read64(vtd::kExtendedCapabilityRegister);
  if (unit.vtd->spec().nesting) seen.flags |= kNoReadOnlyOnNestParents;
  return seen;
}

BackendStats SoftMachine::Stats() const {
  BackendStats stats;
  stats.table_pages = memory_->arena().pages_in_use();
  stats.table_pages_limit = memory_->arena().pages_total();
  std::vector<const VtdUnit*> vtd_units;
  std::vector<const SmmuUnit*> smmus;
  for (const Unit& unit : units_) {
    if (unit.vtd != nullptr) vtd_units.push_back(unit.vtd.get());
    if (unit.smmu != nullptr) smmus.push_back(unit.smmu.get());
  }
  if (!vtd_units.empty() || smmus.empty()) AddVtdStats(vtd_units, &stats);
  if (!smmus.empty()) AddSmmuStats(smmus, &stats);
  return stats;
}

std::vector<QueueState> SoftMachine::Queues() const {
  std::vector<QueueState> states;
  for (const Unit& unit : units_) {
    if (unit.smmu != nullptr) {
      const SmmuCommandQueue& queue = unit.smmu->queue();
      const auto sync = static_cast<size_t>(smmu::Opcode::kSync);
      states.push_back(StateOf(queue, unit.smmu->spec().id, queue.counters().by_opcode[sync]));
    } else {
      const InvalidationQueue& queue = unit.vtd->queue();
      const auto wait = static_cast<size_t>(vtd::DescriptorKind::kWait);
      states.push_back(StateOf(queue, unit.vtd->spec().id, queue.counters().by_kind[wait]));
    }
  }
  return states;
}

DmaOutcome SoftMachine::Dma(DeviceIndex device, std::optional<uint32_t> pasid, Iova iova,
                            bool write, absl::Span<char> data) {
  return UnitOf(device).smmu != nullptr ? DmaBehindSmmu(device, pasid, iova, write, data)
                                        : DmaBehindVtd(device, pasid, iova, write, data);
}

DmaOutcome SoftMachine::DmaBehindVtd(DeviceIndex device, std::optional<uint32_t> pasid, Iova iova,
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
    outcome.fault = MemoryMissing(page);
  }
  return outcome;
}

DmaOutcome SoftMachine::DmaBehindSmmu(DeviceIndex device, std::optional<uint32_t> pasid, Iova iova,
                                      bool write, absl::Span<char> data) {
  hardware::SmmuModel::Request request;
  request.stream_id = requester_of(device);
  request.substream_id = pasid;
  request.address = iova;
  request.write = write;
  const auto done = smmu_of(device).hardware().Access(request, data);
  DmaOutcome outcome;
  outcome.bytes_done = done.bytes_done;
  const Iova page = done.fault_address & ~(kPageBytes - 1);
  if (!done.fault.none()) {
    outcome.fault = FaultOf(done.fault, page);
  } else if (done.memory_missing) {
    outcome.fault = MemoryMissing(page);
  }
  return outcome;
}

std::vector<TableEntryDump> SoftMachine::DumpTables(DeviceIndex device,
                                                    std::optional<uint32_t> pasid,
                                                    Iova iova) const {
  const PhysicalMemory& memory = memory_->physical();
  if (UnitOf(device).smmu != nullptr) {
    return DumpPath(DumpedStream{smmu_of(device).hardware(), memory, requester_of(device), pasid},
                    iova);
  }
  return DumpPath(DumpedRequester{unit_of(device).hardware(), memory, source_id_of(device), pasid},
                  iova);
}

TranslationExplanation SoftMachine::ExplainTranslation(DeviceIndex device,
                                                       std::optional<uint32_t> pasid, Iova iova,
                                                       bool write) const {
  const PhysicalMemory& memory = memory_->physical();
  if (UnitOf(device).smmu != nullptr) {
    return ExplainPath(
        DumpedStream{smmu_of(device).hardware(), memory, requester_of(device), pasid}, iova, write);
  }
  return ExplainPath(
      DumpedRequester{unit_of(device).hardware(), memory, source_id_of(device), pasid}, iova,
      write);
}

absl::StatusOr<TableImage> SoftMachine::ExportTables() const {
  TableImage image;
  ImagePages pages(&memory_->physical());
  VtdTableCollector collector(&pages);
  SmmuTableCollector smmu_collector(&pages);
  for (const Unit& unit : units_) {
    if (unit.smmu != nullptr) {
      const IommuSpec& spec = unit.smmu->spec();
      image.units.push_back({spec.id, "smmuv3", spec.host_address_width_bits});
      AppendSmmuRegisters(spec.id, unit.smmu->hardware(), &image.registers);
      RETURN_IF_ERROR(smmu_collector.Collect(unit.smmu->hardware()));
      continue;
    }
    const IommuSpec& spec = unit.vtd->spec();
    image.units.push_back({spec.id, "vtd", spec.host_address_width_bits});
    AppendVtdRegisters(spec.id, unit.vtd->hardware(), &image.registers);
    RETURN_IF_ERROR(collector.Collect(unit.vtd->hardware()));
  }
  for (DeviceIndex i = 0; i < seats_.size(); ++i) {
    const DeviceSpec& device = topology_.devices[i];
    const IommuSpec& spec = topology_.iommus[seats_[i].unit];
    const int pasid_bits = std::min(device.pasid_bits, PasidBits(spec));
    image.requesters.push_back({device.id, device.iommu, seats_[i].requester, pasid_bits});
  }
  image.pages = pages.Take();
  image.complete = collector.complete() && smmu_collector.complete();
  return image;
}

}  // namespace viommu
