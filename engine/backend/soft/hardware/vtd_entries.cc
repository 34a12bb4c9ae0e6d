#include "engine/backend/soft/hardware/vtd_entries.h"

#include "absl/numeric/int128.h"
#include "absl/types/optional.h"

namespace viommu::hardware {
namespace {

constexpr uint64_t kPresent = Bit(0);  // In every entry here.
constexpr uint64_t kFaultDisable = Bit(1);
constexpr uint64_t kPointer = Bits(63, 12);

// Scalable-mode context entry, first word.
constexpr uint64_t kContextDeviceTlb = Bit(2);     // DTE: needs ECAP.DT.
constexpr uint64_t kContextPasids = Bit(3);        // PASIDE
constexpr uint64_t kContextPageRequests = Bit(4);  // PRE: needs ECAP.PRS.
constexpr uint64_t kContextReserved0 = Bits(8, 5) | kContextDeviceTlb | kContextPageRequests;
// Second word: RID_PASID 19:0; bit 20 (RID_PRIV) needs ECAP.SRS.
constexpr uint64_t kContextRidPasid = Bits(19, 0);
constexpr uint64_t kContextReserved1 = Bits(63, 20);

// PASID-table entry, first word: AW 4:2, PGTT 8:6; bit 9 (SSADE) needs ECAP.SLADS.
constexpr uint64_t kPasidReserved0 = Bit(5) | Bits(11, 9);
// Second word: DID 15:0.
constexpr uint64_t kPasidWalkSnoop = Bit(23);  // PWSNP
constexpr uint64_t kPasidPageSnoop = Bit(24);  // PGSNP
constexpr uint64_t kPasidReserved1 = Bits(22, 16) | Bits(63, 25);
// Third word: SRE 0, ERE 1 and EAFE 7 need capabilities that the model never has. The rest of it
// describes a first stage, which is ignored where PGTT uses none.
constexpr uint64_t kPasidReserved2 = Bits(1, 0) | Bits(11, 7);

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
                           PhysAddr root_table, uint16_t source_id, PhysAddr* context_table) {
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
  uint64_t reserved1 = kContextReserved1;
  if (!capabilities.rid_pasid()) reserved1 |= kContextRidPasid;
  return (first.low & reserved0) || (first.high & reserved1) || second.low || second.high;
}

bool IsTypeSupported(const Capabilities& capabilities, uint64_t type) {
  switch (static_cast<TranslationType>(type)) {
    case TranslationType::kSecondStage:
      return capabilities.second_stage();
    case TranslationType::kPassThrough:
      return capabilities.pass_through();
  }
  return false;  // First stage (1) and nested (3) are never offered; the others do not exist.
}

// The words of a PASID-table entry, as pairs: 0-1, 2-3, 4-5, 6-7.
bool HasReservedBits(const Capabilities& capabilities, const Pair (&unit)[4], bool second_stage) {
  uint64_t reserved0 = kPasidReserved0;
  if (second_stage) reserved0 |= capabilities.beyond_host_width();
  uint64_t reserved1 =
      kPasidReserved1 | (Bits(15, 0) & ~Bits(capabilities.domain_id_bits() - 1, 0));
  if (!capabilities.coherent_walk()) reserved1 |= kPasidWalkSnoop;
  if (!capabilities.snoop_control()) reserved1 |= kPasidPageSnoop;
  if ((unit[0].low & reserved0) || (unit[0].high & reserved1)) return true;
  if ((unit[1].low & kPasidReserved2) || unit[1].high) return true;
  return (unit[2].low | unit[2].high | unit[3].low | unit[3].high) != 0;
}

FaultReason FetchPasidTable(const PhysicalMemory& memory, const Capabilities& capabilities,
                            PhysAddr directory, uint32_t pasid, bool* fault_disable,
                            PhysAddr* table) {
  const absl::optional<uint64_t> entry = memory.Load64(directory + (pasid >> 6) * uint64_t{8});
  if (!entry.has_value()) return kPasidDirectoryFetchError;
  *fault_disable = (*entry & kFaultDisable) != 0;
  if (!(*entry & kPresent)) return kPasidDirectoryNotPresent;
  if (*entry & (Bits(11, 2) | capabilities.beyond_host_width())) return kPasidDirectoryReserved;
  *table = PhysAddr{*entry & kPointer};
  return kNoFault;
}

}  // namespace

FaultReason FetchContextEntry(const PhysicalMemory& memory, const Capabilities& capabilities,
                              PhysAddr root_table, uint16_t source_id, ContextEntry* entry) {
  PhysAddr table;
  if (const FaultReason fault =
          FetchRootEntry(memory, capabilities, root_table, source_id, &table)) {
    return fault;
  }
  const PhysAddr address = table + (source_id & 0x7f) * uint64_t{32};
  Pair first, second;
  if (!Fetch(memory, address, &first)) return kContextFetchError;
  entry->fault_disable = (first.low & kFaultDisable) != 0;
  if (!(first.low & kPresent)) return kContextNotPresent;
  if (!Fetch(memory, address + 16, &second)) return kContextFetchError;
  if (HasReservedBits(capabilities, first, second)) return kContextReserved;

  entry->pasids_enabled = (first.low & kContextPasids) != 0;
  entry->pasid_limit = uint32_t{64} << (Field(first.low, 11, 9) + 7);  // PDTS
  entry->rid_pasid = static_cast<uint32_t>(first.high & kContextRidPasid);
  entry->directory = PhysAddr{first.low & kPointer};
  return kNoFault;
}

FaultReason FetchPasidEntry(const PhysicalMemory& memory, const Capabilities& capabilities,
                            const ContextEntry& context, uint32_t pasid, PasidEntry* entry) {
  PhysAddr table;
  if (const FaultReason fault = FetchPasidTable(memory, capabilities, context.directory, pasid,
                                                &entry->fault_disable, &table)) {
    return fault;
  }
  const PhysAddr address = table + (pasid & 63) * uint64_t{64};
  Pair unit[4];
  if (!Fetch(memory, address, &unit[0])) return kPasidEntryFetchError;
  entry->fault_disable |= (unit[0].low & kFaultDisable) != 0;
  if (!(unit[0].low & kPresent)) return kPasidEntryNotPresent;
  for (int i = 1; i < 4; ++i) {
    if (!Fetch(memory, address + i * uint64_t{16}, &unit[i])) return kPasidEntryFetchError;
  }
  const uint64_t type = Field(unit[0].low, 8, 6);
  const bool second_stage = type == static_cast<uint64_t>(TranslationType::kSecondStage);
  if (HasReservedBits(capabilities, unit, second_stage)) return kPasidEntryReserved;
  // AW is required for pass-through too: VT-d 9.6 wants the unit's largest width there.
  const uint64_t width = Field(unit[0].low, 4, 2);
  const int levels = static_cast<int>(width) + 2;
  if (!IsTypeSupported(capabilities, type) || width < 1 || width > 3 ||
      !capabilities.supports_levels(levels)) {
    return kPasidEntryInvalid;
  }
  entry->type = static_cast<TranslationType>(type);
  entry->levels = levels;
  entry->domain_id = static_cast<uint16_t>(Field(unit[0].high, 15, 0));
  entry->second_stage = PhysAddr{unit[0].low & kPointer};
  return kNoFault;
}

}  // namespace viommu::hardware
