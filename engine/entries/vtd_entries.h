// engine/entries/vtd_entries.h -- Intel VT-d scalable-mode entries as software writes them: root,
// context, PASID directory, PASID table.
//
// Layouts: VT-d 9.1-9.6 and the kernel's vtd/pasid.h, vtd/iommu.h (iommufd-semantics.md 18.1,
// 18.2); reserved bits: formats-amd-riscv.md A.3. Only what this project writes has a builder:
// blocked, pass-through and second-stage PASID entries. Entries are little-endian 64-bit words.
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
inline constexpr int kContextPdtsShift = 9;                // PDTS 11:9.
inline constexpr uint64_t kContextRidPasidMask = 0xfffff;  // Word 1, RID_PASID 19:0.

// --- PASID directory (VT-d 9.5): one word for each 64 PASIDs, 2^(PDTS+7) of them.
inline constexpr int kPasidDirectoryShift = 6;
inline constexpr size_t kPasidTableEntries = 64;

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
inline constexpr uint64_t kPasidFirstStageFlags = 0x9d;     // Word 2: SRE, FLPM, WPE, EAFE.

// PGTT: which translation the entry asks for.
enum class PasidType : uint8_t {
  kFirstStage = 1,
  kSecondStage = 2,
  kNested = 3,
  kPassThrough = 4,
};

inline constexpr uint16_t kUnusedDomainId = 0;       // vtd/iommu.h: reserved by caching mode.
inline constexpr uint16_t kPassThroughDomainId = 1;  // vtd/pasid.h: FLPT_DEFAULT_DID.
inline constexpr uint16_t kFirstPagingDomainId = 2;

// AW of a table of `levels` levels, 3..5 (39, 48, 57 bits).
inline constexpr uint8_t AddressWidthOf(int levels) { return static_cast<uint8_t>(levels - 2); }

// One half of a root entry: a context table.
uint64_t MakeRootHalf(PhysAddr context_table);

// A context entry over a directory of 2^(`pdts`+7) PASID directory entries. Requests without PASID
// take the PASID 0; those with one are refused (PASIDE 0) until PASIDs are supported.
ContextEntry MakeContextEntry(PhysAddr pasid_directory, int pdts);

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
};

PasidEntry MakeBlockedEntry();
PasidEntry MakePassThroughEntry(const PassThroughFields& fields);
PasidEntry MakeSecondStageEntry(const SecondStageFields& fields);

inline bool IsPresent(const PasidEntry& entry) { return (entry[0] & kPresent) != 0; }
inline PasidType TypeOf(const PasidEntry& entry) {
  return static_cast<PasidType>((entry[0] & kPasidTypeMask) >> kPasidTypeShift);
}
inline uint16_t DomainIdOf(const PasidEntry& entry) {
  return static_cast<uint16_t>(entry[1] & kPasidDomainIdMask);
}
inline PhysAddr PointerIn(uint64_t word) { return PhysAddr{word & kPointerMask}; }
// 0 when AW is none of 1..3.
int LevelsOf(const PasidEntry& entry);

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

}  // namespace viommu::vtd

#endif  // VIOMMU_ENGINE_ENTRIES_VTD_ENTRIES_H_
