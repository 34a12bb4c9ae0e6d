// engine/entries/vtd_entries.h -- Intel VT-d scalable-mode entries as software writes them: root,
// context, PASID directory, PASID table.
//
// Layouts: VT-d 9.1-9.6 and the kernel's vtd/pasid.h, vtd/iommu.h (iommufd-semantics.md 18.1,
// 18.2); reserved bits: formats-amd-riscv.md A.3. Only what this project writes has a builder: no
// request of ours executes (ERE), none is handled by memory type. Entries are little-endian 64-bit
// words.
#ifndef VIOMMU_ENGINE_ENTRIES_VTD_ENTRIES_H_
#define VIOMMU_ENGINE_ENTRIES_VTD_ENTRIES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/base/address.h"

namespace viommu::vtd {

// --- Root table (VT-d 9.1): 256 entries of 16 bytes, one per bus. Word 0 leads to the context
// table of devfn 0-127, word 1 to that of 128-255.
using RootEntry = std::array<uint64_t, 2>;
inline constexpr size_t kRootEntries = 256;

// --- Context table (VT-d 9.3): 128 entries of 32 bytes, by devfn modulo 128.
using ContextEntry = std::array<uint64_t, 4>;
inline constexpr size_t kContextEntries = 128;
inline constexpr uint64_t kContextDeviceTlb = 1 << 2;      // DTE 2: translates for a device TLB.
inline constexpr uint64_t kContextPasids = 1 << 3;         // PASIDE 3.
inline constexpr uint64_t kContextPageRequests = 1 << 4;   // PRE 4.
inline constexpr int kContextPdtsShift = 9;                // PDTS 11:9.
inline constexpr uint64_t kContextRidPasidMask = 0xfffff;  // Word 1, RID_PASID 19:0.

// --- PASID directory (VT-d 9.5): one word for each 64 PASIDs, 2^(PDTS+7) of them.
inline constexpr int kPasidDirectoryShift = 6;
inline constexpr size_t kPasidTableEntries = 64;

// PDTS of the smallest directory that covers all PASIDs of `pasid_bits` bits, 0..20; and the log2
// of the 4 KiB pages that such a directory takes, contiguous.
inline constexpr int PdtsFor(int pasid_bits) { return pasid_bits <= 13 ? 0 : pasid_bits - 13; }
inline constexpr int PasidDirectoryPagesLog2(int pdts) { return pdts <= 2 ? 0 : pdts - 2; }

// In all four tables.
inline constexpr uint64_t kPresent = 1 << 0;                // P 0.
inline constexpr uint64_t kFaultDisable = 1 << 1;           // FPD 1 (not in the root).
inline constexpr uint64_t kPointerMask = ~uint64_t{0xfff};  // 63:12.

// --- PASID table (VT-d 9.6): 64 entries of 64 bytes.
using PasidEntry = std::array<uint64_t, 8>;
inline constexpr int kPasidAddressWidthShift = 2;  // AW 4:2.
inline constexpr uint64_t kPasidAddressWidthMask = uint64_t{7} << 2;
inline constexpr int kPasidTypeShift = 6;  // PGTT 8:6.
inline constexpr uint64_t kPasidTypeMask = uint64_t{7} << 6;
inline constexpr uint64_t kPasidSecondStageDirty = 1 << 9;  // SSADE 9.
inline constexpr uint64_t kPasidDomainIdMask = 0xffff;      // Word 1, DID 15:0.
inline constexpr uint64_t kPasidPageWalkSnoop = 1 << 23;    // Word 1, PWSNP 23.
inline constexpr uint64_t kPasidPageSnoop = 1 << 24;        // Word 1, PGSNP 24.
inline constexpr uint64_t kPasidSupervisor = 1 << 0;        // Word 2, SRE 0: privileged requests.
inline constexpr int kPasidFirstStageLevelsShift = 2;       // Word 2, FLPM 3:2: 4 or 5 levels.
inline constexpr uint64_t kPasidFirstStageLevelsMask = 3 << 2;
inline constexpr uint64_t kPasidWriteProtect = 1 << 4;    // Word 2, WPE 4: for privileged too.
inline constexpr uint64_t kPasidExtendedAccess = 1 << 7;  // Word 2, EAFE 7: a second A bit, EA.
inline constexpr uint64_t kPasidFirstStageFlags =
    kPasidSupervisor | kPasidFirstStageLevelsMask | kPasidWriteProtect | kPasidExtendedAccess;

// PGTT: which translation the entry asks for.
enum class PasidType : uint8_t {
  kFirstStage = 1,
  kSecondStage = 2,
  kNested = 3,
  kPassThrough = 4,
};

inline constexpr uint16_t kUnusedDomainId = 0;       // vtd/iommu.h: reserved by caching mode.
inline constexpr uint16_t kPassThroughDomainId = 1;  // vtd/pasid.h: FLPT_DEFAULT_DID.
inline constexpr uint16_t kSharedDomainId = 1;       // The same, of SVA entries.
inline constexpr uint16_t kFirstPagingDomainId = 2;

// AW of a table of `levels` levels, 3..5 (39, 48, 57 bits).
inline constexpr uint8_t AddressWidthOf(int levels) { return static_cast<uint8_t>(levels - 2); }

// One half of a root entry: a context table.
uint64_t MakeRootHalf(PhysAddr context_table);

struct ContextFields {
  PhysAddr pasid_directory;    // Of 2^(pdts + 7) entries, contiguous.
  int pdts = 0;                // 0..7
  bool pasids = false;         // Without, requests with PASID are refused.
  bool device_tlb = false;     // Without, the device's translation requests are refused (ECAP.DT).
  bool page_requests = false;  // Only with device_tlb.
};

// Requests without PASID take the PASID 0.
ContextEntry MakeContextEntry(const ContextFields& fields);

uint64_t MakePasidDirectoryEntry(PhysAddr pasid_table);

struct PassThroughFields {
  int levels = 4;                // Of the unit's widest walk: AW bounds the input address.
  bool page_walk_snoop = false;  // ECAP.SMPWC.
};

struct SecondStageFields {
  PhysAddr root;
  int levels = 4;
  uint16_t domain_id = 0;
  bool page_walk_snoop = false;  // ECAP.SMPWC.
  bool track_dirty = false;      // SSADE, ECAP.SLADS: the hardware sets A and D in the table.
};

struct FirstStageFields {
  PhysAddr root;
  int levels = 4;  // 4, or 5 with CAP.FL5LP.
  uint16_t domain_id = 0;
  bool page_walk_snoop = false;  // ECAP.SMPWC.
  bool force_snoop = false;      // PGSNP, ECAP.SC: no-snoop requests snoop.
  int unit_levels = 4;           // Of the unit's widest second-stage walk: AW holds it.
};

// A guest's first stage on a second stage of the host's.
struct NestedFields {
  uint64_t first_stage_root = 0;  // An input of the second stage, a multiple of 4 KiB.
  int first_stage_levels = 4;     // 4, or 5 with CAP.FL5LP.
  bool supervisor = false;        // SRE, ECAP.SRS: privileged requests are taken.
  bool write_protect = false;     // WPE, only with `supervisor`: they too respect R/W.
  bool extended_access = false;   // EAFE, ECAP.EAFS.
  PhysAddr second_stage_root;
  int second_stage_levels = 4;
  // Its own, not that of the second stage alone: one domain id with one PASID names one first
  // stage.
  uint16_t domain_id = 0;
  bool page_walk_snoop = false;  // ECAP.SMPWC.
  bool force_snoop = false;      // PGSNP, ECAP.SC.
  bool track_dirty = false;      // SSADE, ECAP.SLADS.
};

PasidEntry MakeBlockedEntry();
PasidEntry MakePassThroughEntry(const PassThroughFields& fields);
PasidEntry MakeSecondStageEntry(const SecondStageFields& fields);
PasidEntry MakeFirstStageEntry(const FirstStageFields& fields);
PasidEntry MakeNestedEntry(const NestedFields& fields);

inline bool IsPresent(const PasidEntry& entry) { return (entry[0] & kPresent) != 0; }
inline PasidType TypeOf(const PasidEntry& entry) {
  return static_cast<PasidType>((entry[0] & kPasidTypeMask) >> kPasidTypeShift);
}
inline uint16_t DomainIdOf(const PasidEntry& entry) {
  return static_cast<uint16_t>(entry[1] & kPasidDomainIdMask);
}
inline PhysAddr PointerIn(uint64_t word) { return PhysAddr{word & kPointerMask}; }
// Whether an entry of this type translates by a first-stage table, by a second-stage table.
inline bool HasFirstStage(PasidType type) {
  return type == PasidType::kFirstStage || type == PasidType::kNested;
}
inline bool HasSecondStage(PasidType type) {
  return type == PasidType::kSecondStage || type == PasidType::kNested;
}
// Of the second stage; 0 when AW is none of 1..3.
int LevelsOf(const PasidEntry& entry);
// 0 when FLPM is reserved.
int FirstStageLevelsOf(const PasidEntry& entry);

// For EntryPlan: the PASID entry is read and written 128 bits at a time (VT-d 9.6: software
// changes an active entry with 128-bit stores).
struct PasidArchitecture {
  static constexpr size_t kWords = 8;
  static constexpr size_t kUnitWords = 2;
  using Entry = PasidEntry;
  static Entry UsedBits(const Entry& entry);
  static Entry SafeBits(const Entry&, const Entry&) { return {}; }
  static Entry Blocked() { return {}; }
};

// Field by field, in words, for an operator.
std::string DescribeRootHalf(uint64_t half);
std::string DescribeContextEntry(const ContextEntry& entry);
std::string DescribePasidDirectoryEntry(uint64_t entry);
std::string DescribePasidEntry(const PasidEntry& entry);
// A word of a second-stage table (VT-d 9.8, vtdss.h). `level` counts from 1 at the leaves.
std::string DescribeSecondStageEntry(uint64_t entry, int level);
// A word of a first-stage table (VT-d 9.7, x86_64.h).
std::string DescribeFirstStageEntry(uint64_t entry, int level);

}  // namespace viommu::vtd

#endif  // VIOMMU_ENGINE_ENTRIES_VTD_ENTRIES_H_
