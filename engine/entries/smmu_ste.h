// engine/entries/smmu_ste.h -- Arm SMMUv3 stream tables as software writes them: what the requests
// of a stream go through.
//
// Layouts: Arm IHI 0070 5.1-5.3 and the kernel's arm-smmu-v3.h (iommufd-semantics.md 17.1); what
// each kind holds: 17.3; used and safe bits: 17.4. Only what this project writes has a builder:
// translation regimes are those of NS-EL1 (STRW 0), tables are little-endian. Entries are
// little-endian 64-bit words.
#ifndef VIOMMU_ENGINE_ENTRIES_SMMU_STE_H_
#define VIOMMU_ENGINE_ENTRIES_SMMU_STE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/base/address.h"
#include "engine/entries/smmu_fields.h"

namespace viommu::smmu {

// --- Stream table entry (IHI 0070 5.2): 64 bytes, by stream id.
using Ste = std::array<uint64_t, 8>;
// Word 0.
inline constexpr uint64_t kSteValid = Bit(0);
inline constexpr BitField kSteConfig{1, 3};
inline constexpr BitField kSteS1Format{4, 2};
inline constexpr uint64_t kSteCdTableMask = Bits(51, 6);  // S1ContextPtr.
inline constexpr BitField kSteS1CdMax{59, 5};             // log2 of the number of CDs.
// Word 1.
inline constexpr BitField kSteS1Default{0, 2};              // S1DSS.
inline constexpr BitField kSteS1InnerCache{2, 2};           // S1CIR.
inline constexpr BitField kSteS1OuterCache{4, 2};           // S1COR.
inline constexpr BitField kSteS1Shareability{6, 2};         // S1CSH.
inline constexpr uint64_t kStePageResponsePasid = Bit(18);  // PPAR.
inline constexpr uint64_t kSteMergeEvents = Bit(19);        // MEV.
inline constexpr uint64_t kSteS2ForceWriteBack = Bit(25);   // S2FWB.
inline constexpr uint64_t kSteS1StallDisable = Bit(27);     // S1STALLD.
inline constexpr BitField kSteEats{28, 2};                  // What ATS requests get.
inline constexpr BitField kSteStreamWorld{30, 2};           // STRW.
inline constexpr BitField kSteShareabilityConfig{44, 2};    // SHCFG.
inline constexpr uint64_t kSteShareabilityIncoming = 1;     // Of SHCFG: as the request says.
// Word 2.
inline constexpr BitField kSteVmid{0, 16};                    // S2VMID.
inline constexpr BitField kSteS2InputSize{32, 6};             // S2T0SZ, the first field of VTCR.
inline constexpr BitField kSteS2StartLevel{38, 2};            // S2SL0.
inline constexpr BitField kSteS2InnerCache{40, 2};            // S2IR0.
inline constexpr BitField kSteS2OuterCache{42, 2};            // S2OR0.
inline constexpr BitField kSteS2Shareability{44, 2};          // S2SH0.
inline constexpr BitField kSteS2Granule{46, 2};               // S2TG.
inline constexpr BitField kSteS2AddressSize{48, 3};           // S2PS.
inline constexpr uint64_t kSteS2TableControl = Bits(50, 32);  // VTCR: the seven above.
inline constexpr uint64_t kSteS2Aarch64 = Bit(51);            // S2AA64.
inline constexpr uint64_t kSteS2BigEndian = Bit(52);          // S2ENDI.
inline constexpr uint64_t kSteS2ProtectWalks = Bit(54);  // S2PTW: no walk through device memory.
inline constexpr uint64_t kSteS2Stall = Bit(57);         // S2S.
inline constexpr uint64_t kSteS2RecordFaults = Bit(58);  // S2R.
// Word 3.
inline constexpr uint64_t kSteS2TableMask = Bits(51, 4);  // S2TTB.

// Config. Bit 0: a first stage; bit 1: a second stage; without bit 2 requests are aborted.
enum class SteConfig : uint8_t {
  kAbort = 0,
  kBypass = 4,
  kStage1 = 5,
  kStage2 = 6,
  kNested = 7,
};

// S1Fmt.
enum class CdTableFormat : uint8_t {
  kLinear = 0,
  kTwoLevel4KiB = 1,   // 64 CDs in each second-level table; only guests use it.
  kTwoLevel64KiB = 2,  // 1024 CDs in each.
};

// S1DSS: what a request without SSID gets where CDs are selected by SSID.
enum class DefaultSubstream : uint8_t {
  kTerminate = 0,
  kBypass = 1,  // No first stage.
  kSsid0 = 2,   // CD 0, which no request with an SSID can have then.
};

// EATS.
enum class AtsTreatment : uint8_t {
  kAbort = 0,
  kTranslate = 1,   // "Full ATS".
  kSplitStage = 2,  // S1CHK: devices cache the first stage only.
};

struct BypassFields {
  bool attribute_overrides = false;  // IDR1.ATTR_TYPES_OVR: shareability has to be chosen.
};

// A first stage of the host's, or none for requests without PASID (`without_ssid`).
struct CdTableFields {
  PhysAddr table;
  CdTableFormat format = CdTableFormat::kLinear;
  int cds_log2 = 0;  // 0: there is one CD, for requests without SSID.
  DefaultSubstream without_ssid = DefaultSubstream::kSsid0;
  bool ats = false;
  // The SMMU can stall (IDR0.STALL_MODEL is 0) but this master is not meant to: its faults abort.
  bool stall_disable = false;
  bool attribute_overrides = false;  // IDR1.ATTR_TYPES_OVR.
};

// A second stage, alone or under a guest's first one.
struct Stage2Fields {
  PhysAddr root;
  uint16_t vmid = 0;    // 1.., one for each second stage of an SMMU.
  int input_bits = 48;  // Of the intermediate addresses that the table translates.
  int start_level = 0;  // Of `root`: 0..2 with 4 KiB, 1..3 with larger granules.
  Granule granule = Granule::k4KiB;
  int output_bits = 48;
  bool coherent_walks = true;  // IDR0.COHACC: walks see the processor's caches.
  bool stall = false;          // Faults wait for a RESUME; not together with `ats`.
  bool ats = false;
  bool force_write_back = false;     // IDR3.FWB, for nest parents: no guest mapping is uncached.
  bool attribute_overrides = false;  // IDR1.ATTR_TYPES_OVR.
};

// What a guest's entry says about its first stage: words 0 and 1 as smmu_guest.h validated them.
using GuestSteWords = std::array<uint64_t, 2>;
// The fields of a first stage: all of them that a guest fills, EATS aside.
inline constexpr GuestSteWords kSteStage1Fields = {
    kSteS1Format.mask() | kSteCdTableMask | kSteS1CdMax.mask(),
    kSteS1Default.mask() | kSteS1InnerCache.mask() | kSteS1OuterCache.mask() |
        kSteS1Shareability.mask() | kSteS1StallDisable};

Ste MakeAbortSte();
Ste MakeBypassSte(const BypassFields& fields);
Ste MakeCdTableSte(const CdTableFields& fields);
Ste MakeStage2Ste(const Stage2Fields& fields);
// The guest's CD table lies in intermediate addresses. Events are merged (MEV): a guest cannot
// flood the queue that all share.
Ste MakeNestedSte(const Stage2Fields& parent, const GuestSteWords& guest);

// The same entry, of a function that takes no answer to a page request with a PASID unless it has
// that PASID, too: answers that the unit itself makes have it then (PPAR; PCIe: PRG Response PASID
// Required).
inline Ste WithPageResponsePasid(Ste ste) { return ste[1] |= kStePageResponsePasid, ste; }

inline bool IsValid(const Ste& ste) { return (ste[0] & kSteValid) != 0; }
// As written, even when it is reserved.
inline SteConfig ConfigOf(const Ste& ste) { return SteConfig(kSteConfig.Get(ste[0])); }
inline bool HasStage1(SteConfig config) { return (static_cast<int>(config) & 5) == 5; }
inline bool HasStage2(SteConfig config) { return (static_cast<int>(config) & 6) == 6; }
// The next four: of an entry with a first stage. The table is an intermediate address when nested.
inline uint64_t CdTableOf(const Ste& ste) { return ste[0] & kSteCdTableMask; }
inline CdTableFormat CdTableFormatOf(const Ste& ste) {
  return CdTableFormat(kSteS1Format.Get(ste[0]));
}
inline int CdsLog2Of(const Ste& ste) { return static_cast<int>(kSteS1CdMax.Get(ste[0])); }
inline DefaultSubstream DefaultSubstreamOf(const Ste& ste) {
  return DefaultSubstream(kSteS1Default.Get(ste[1]));
}
inline AtsTreatment AtsTreatmentOf(const Ste& ste) { return AtsTreatment(kSteEats.Get(ste[1])); }
// The next two: of an entry with a second stage.
inline uint16_t VmidOf(const Ste& ste) { return static_cast<uint16_t>(kSteVmid.Get(ste[2])); }
inline PhysAddr Stage2RootOf(const Ste& ste) { return PhysAddr{ste[3] & kSteS2TableMask}; }

// For EntryPlan: an entry is read and written 64 bits at a time (IHI 0070 3.21.3).
struct SteArchitecture {
  static constexpr size_t kWords = 8;
  static constexpr size_t kUnitWords = 1;
  using Entry = Ste;
  // PPAR counts in every valid entry, whatever its Config (IHI 0070 8.1).
  static Entry UsedBits(const Entry& entry);
  // MEV: events may be merged without it too. EATS's bit for full ATS: the function's ATS is off
  // while it changes (I8); but not where a mixture with split-stage ATS or with stalls would be
  // illegal.
  static Entry SafeBits(const Entry& current, const Entry& target);
  static Entry Blocked() { return {}; }
};

// --- Stream tables: linear, or of two levels split at bit 8 of the stream id (STRTAB_BASE_CFG).
inline constexpr int kStreamTableSplit = 8;
inline constexpr size_t kStreamL2Entries = size_t{1} << kStreamTableSplit;
inline constexpr size_t kStreamL2Bytes = kStreamL2Entries * sizeof(Ste);  // And its alignment.
inline constexpr int kStreamL1MaxLog2 = 17;

inline constexpr uint32_t StreamL1Index(uint32_t stream_id) {
  return stream_id >> kStreamTableSplit;
}
inline constexpr uint32_t StreamL2Index(uint32_t stream_id) {
  return stream_id & (kStreamL2Entries - 1);
}

// First-level descriptor (IHI 0070 5.1): word by stream id >> 8.
inline constexpr BitField kStreamL1Span{0, 5};  // 2^(span-1) entries follow; 0: none.
inline constexpr uint64_t kStreamL1TableMask = Bits(51, 6);

// To a whole second-level table.
uint64_t MakeStreamL1Descriptor(PhysAddr table);
// Without: requests of its streams are aborted, C_BAD_STREAMID.
inline constexpr uint64_t kEmptyStreamL1Descriptor = 0;
inline constexpr size_t StreamL1EntriesOf(uint64_t descriptor) {
  const uint64_t span = kStreamL1Span.Get(descriptor);
  return span == 0 || span > kStreamTableSplit + 1 ? 0 : size_t{1} << (span - 1);
}
inline PhysAddr StreamL1TableOf(uint64_t descriptor) {
  return PhysAddr{descriptor & kStreamL1TableMask};
}

// Field by field, in words, for an operator.
std::string DescribeSte(const Ste& ste);
std::string DescribeStreamL1Descriptor(uint64_t descriptor);

}  // namespace viommu::smmu

#endif  // VIOMMU_ENGINE_ENTRIES_SMMU_STE_H_
