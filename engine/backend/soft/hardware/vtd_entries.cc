#include "engine/backend/soft/hardware/vtd_entries.h"

#include "absl/numeric/int128.h"
#include "absl/types/optional.h"

namespace viommu::hardware {
namespace {

constexpr uint64_t kPresent = Bit(0);  // In every entry here.
constexpr uint64_t kFaultDisable = Bit(1);
constexpr uint64_t kPointer = Bits(63, 12);
constexpr int kMaxLevels = 5;

// Scalable-mode context entry, first word.
constexpr uint64_t kContextDeviceTlb = Bit(2);     // DTE: needs ECAP.DT.
constexpr uint64_t kContextPasids = Bit(3);        // PASIDE
constexpr uint64_t kContextPageRequests = Bit(4);  // PRE: needs ECAP.PRS.
constexpr uint64_t kContextReserved0 = Bits(8, 5);
// Second word.
constexpr uint64_t kContextRidPasid = Bits(19, 0);
constexpr uint64_t kContextRidPrivileged = Bit(20);  // RID_PRIV: needs ECAP.SRS.
constexpr uint64_t kContextReserved1 = Bits(63, 21);

// PASID-table entry, first word: AW 4:2, PGTT 8:6.
constexpr uint64_t kPasidSecondStageDirty = Bit(9);  // SSADE: needs ECAP.SLADS.
constexpr uint64_t kPasidReserved0 = Bit(5) | Bits(11, 10);
// Second word: DID 15:0.
constexpr uint64_t kPasidWalkSnoop = Bit(23);  // PWSNP
constexpr uint64_t kPasidPageSnoop = Bit(24);  // PGSNP
constexpr uint64_t kPasidReserved1 = Bits(22, 16) | Bits(63, 25);
// Third word, which describes a first stage and is ignored where PGTT uses none but for the bits
// that are reserved: FLPM 3:2, FLPTPTR 63:12. ERE (1) needs a capability that the model never has.
constexpr uint64_t kPasidSupervisor = Bit(0);      // SRE: needs ECAP.SRS.
constexpr uint64_t kPasidWriteProtect = Bit(4);    // WPE
constexpr uint64_t kPasidExtendedAccess = Bit(7);  // EAFE: needs ECAP.EAFS.
constexpr uint64_t kPasidReserved2 = Bit(1) | Bits(11, 8);

void Note(TraceStep::Table table, PhysAddr address, Trace* trace) {
  if (trace == nullptr) return;
  TraceStep step;
  step.table = table;
  step.address = address;
  trace->push_back(step);
}

struct Pair {
  uint64_t low, high;
};

// One atomic unit of 128 bits; false when the fetch fails.
bool Fetch(const PhysicalMemory& memory, PhysAddr address, Pair* pair) {
  const absl::optional<absl::uint128> unit = memory.Load128(address);
  if (!unit.has_value()) return false;
  *pair = {absl::Uint128Low64(*unit), absl::Uint128High64(*unit)};
  return true;
}

// The table of context entries for the lower or upper 128 functions of a bus.
FaultReason FetchRootEntry(const PhysicalMemory& memory, const Capabilities& capabilities,
                           PhysAddr root_table, uint16_t source_id, PhysAddr* context_table,
                           Trace* trace) {
  Note(TraceStep::Table::kRoot, root_table + (source_id >> 7) * uint64_t{8}, trace);
  Pair root;
  if (!Fetch(memory, root_table + (source_id >> 8) * uint64_t{16}, &root)) return kRootFetchError;
  const bool upper = (source_id & 0x80) != 0;
  const uint64_t half = upper ? root.high : root.low;
  if (!(half & kPresent)) return kRootNotPresent;
  const uint64_t reserved = Bits(11, 1) | capabilities.beyond_host_width();
  if ((root.low | root.high) & reserved) return kRootReserved;
  *context_table = PhysAddr{half & kPointer};
  return kNoFault;
}

bool HasReservedBits(const Capabilities& capabilities, const Pair& first, const Pair& second) {
  uint64_t reserved0 = kContextReserved0 | capabilities.beyond_host_width();
  if (!capabilities.pasids()) reserved0 |= kContextPasids;
  if (!capabilities.device_tlbs()) reserved0 |= kContextDeviceTlb;
  if (!capabilities.page_requests()) reserved0 |= kContextPageRequests;
  uint64_t reserved1 = kContextReserved1;
  if (!capabilities.supervisor_requests()) reserved1 |= kContextRidPrivileged;
  if (!capabilities.rid_pasid()) reserved1 |= kContextRidPasid;
  return (first.low & reserved0) || (first.high & reserved1) || second.low || second.high;
}

bool IsTypeSupported(const Capabilities& capabilities, TranslationType type) {
  switch (type) {
    case TranslationType::kFirstStage:
      return capabilities.first_stage();
    case TranslationType::kSecondStage:
      return capabilities.second_stage();
    case TranslationType::kNested:
      return capabilities.nesting() && capabilities.first_stage() && capabilities.second_stage();
    case TranslationType::kPassThrough:
      return capabilities.pass_through();
  }
  return false;
}

// The words of a PASID-table entry, as pairs: 0-1, 2-3, 4-5, 6-7.
bool HasReservedBits(const Capabilities& capabilities, const Pair (&unit)[4],
                     const PasidEntry& entry) {
  uint64_t reserved0 = kPasidReserved0;
  if (entry.has_second_stage()) reserved0 |= capabilities.beyond_host_width();
  if (!capabilities.second_stage_dirty()) reserved0 |= kPasidSecondStageDirty;
  uint64_t reserved1 =
      kPasidReserved1 | (Bits(15, 0) & ~Bits(capabilities.domain_id_bits() - 1, 0));
  if (!capabilities.coherent_walk()) reserved1 |= kPasidWalkSnoop;
  if (!capabilities.snoop_control()) reserved1 |= kPasidPageSnoop;
  uint64_t reserved2 = kPasidReserved2;
  // A nested entry's pointer is no host address; the second stage judges it.
  if (entry.type == TranslationType::kFirstStage) reserved2 |= capabilities.beyond_host_width();
  if (!capabilities.supervisor_requests()) reserved2 |= kPasidSupervisor;
  if (!capabilities.extended_access()) reserved2 |= kPasidExtendedAccess;
  if ((unit[0].low & reserved0) || (unit[0].high & reserved1)) return true;
  if ((unit[1].low & reserved2) || unit[1].high) return true;
  return (unit[2].low | unit[2].high | unit[3].low | unit[3].high) != 0;
}

PasidEntry Decode(const Pair (&unit)[4]) {
  PasidEntry entry;
  entry.type = static_cast<TranslationType>(Field(unit[0].low, 8, 6));
  entry.domain_id = static_cast<uint16_t>(Field(unit[0].high, 15, 0));
  entry.walk_snoop = (unit[0].high & kPasidWalkSnoop) != 0;
  entry.levels = static_cast<int>(Field(unit[0].low, 4, 2)) + 2;
  entry.second_stage = PhysAddr{unit[0].low & kPointer};
  entry.second_stage_dirty = (unit[0].low & kPasidSecondStageDirty) != 0;
  entry.first_stage_levels = static_cast<int>(Field(unit[1].low, 3, 2)) + 4;
  entry.first_stage = PhysAddr{unit[1].low & kPointer};
  entry.supervisor = (unit[1].low & kPasidSupervisor) != 0;
  entry.write_protect = (unit[1].low & kPasidWriteProtect) != 0;
  entry.extended_access = (unit[1].low & kPasidExtendedAccess) != 0;
  return entry;
}

// Whether the unit does what an entry without reserved bits asks for.
bool IsSupported(const Capabilities& capabilities, const PasidEntry& entry) {
  if (!IsTypeSupported(capabilities, entry.type)) return false;
  if (entry.has_first_stage() &&
      !capabilities.supports_first_stage_levels(entry.first_stage_levels)) {
    return false;
  }
  // AW means nothing to a first stage alone; for pass-through VT-d 9.6 wants the unit's largest.
  if (entry.type == TranslationType::kFirstStage) return true;
  return entry.levels >= 3 && entry.levels <= kMaxLevels &&
         capabilities.supports_levels(entry.levels);
}

FaultReason FetchPasidTable(const PhysicalMemory& memory, const Capabilities& capabilities,
                            PhysAddr directory, uint32_t pasid, bool* fault_disable,
                            PhysAddr* table, Trace* trace) {
  const PhysAddr address = directory + (pasid >> 6) * uint64_t{8};
  Note(TraceStep::Table::kPasidDirectory, address, trace);
  const absl::optional<uint64_t> entry = memory.Load64(address);
  if (!entry.has_value()) return kPasidDirectoryFetchError;
  *fault_disable = (*entry & kFaultDisable) != 0;
  if (!(*entry & kPresent)) return kPasidDirectoryNotPresent;
  if (*entry & (Bits(11, 2) | capabilities.beyond_host_width())) return kPasidDirectoryReserved;
  *table = PhysAddr{*entry & kPointer};
  return kNoFault;
}

}  // namespace

FaultReason FetchContextEntry(const PhysicalMemory& memory, const Capabilities& capabilities,
                              PhysAddr root_table, uint16_t source_id, ContextEntry* entry,
                              Trace* trace) {
  PhysAddr table;
  if (const FaultReason fault =
          FetchRootEntry(memory, capabilities, root_table, source_id, &table, trace)) {
    return fault;
  }
  const PhysAddr address = table + (source_id & 0x7f) * uint64_t{32};
  Note(TraceStep::Table::kContext, address, trace);
  Pair first, second;
  if (!Fetch(memory, address, &first)) return kContextFetchError;
  entry->fault_disable = (first.low & kFaultDisable) != 0;
  if (!(first.low & kPresent)) return kContextNotPresent;
  if (!Fetch(memory, address + 16, &second)) return kContextFetchError;
  if (HasReservedBits(capabilities, first, second)) return kContextReserved;

  entry->pasids_enabled = (first.low & kContextPasids) != 0;
  entry->pasid_limit = uint32_t{64} << (Field(first.low, 11, 9) + 7);  // PDTS
  entry->device_tlb = (first.low & kContextDeviceTlb) != 0;
  entry->page_requests = (first.low & kContextPageRequests) != 0;
  entry->rid_privileged = (first.high & kContextRidPrivileged) != 0;
  entry->rid_pasid = static_cast<uint32_t>(first.high & kContextRidPasid);
  entry->directory = PhysAddr{first.low & kPointer};
  return kNoFault;
}

FaultReason FetchPasidEntry(const PhysicalMemory& memory, const Capabilities& capabilities,
                            const ContextEntry& context, uint32_t pasid, PasidEntry* entry,
                            Trace* trace) {
  PhysAddr table;
  if (const FaultReason fault = FetchPasidTable(memory, capabilities, context.directory, pasid,
                                                &entry->fault_disable, &table, trace)) {
    return fault;
  }
  const PhysAddr address = table + (pasid & 63) * uint64_t{64};
  Note(TraceStep::Table::kPasid, address, trace);
  Pair unit[4];
  if (!Fetch(memory, address, &unit[0])) return kPasidEntryFetchError;
  entry->fault_disable |= (unit[0].low & kFaultDisable) != 0;
  if (!(unit[0].low & kPresent)) return kPasidEntryNotPresent;
  for (int i = 1; i < 4; ++i) {
    if (!Fetch(memory, address + i * uint64_t{16}, &unit[i])) return kPasidEntryFetchError;
  }
  const bool fault_disable = entry->fault_disable;
  *entry = Decode(unit);
  entry->fault_disable = fault_disable;
  if (HasReservedBits(capabilities, unit, *entry)) return kPasidEntryReserved;
  return IsSupported(capabilities, *entry) ? kNoFault : kPasidEntryInvalid;
}

}  // namespace viommu::hardware
