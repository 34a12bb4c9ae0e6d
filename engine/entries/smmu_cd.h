// engine/entries/smmu_cd.h -- Arm SMMUv3 context descriptors as software writes them: the first
// stages of a stream, by SSID.
//
// Layouts: Arm IHI 0070 5.4, Arm DDI 0487 for TCR_EL1 and MAIR_EL1, and the kernel's arm-smmu-v3.h
// (iommufd-semantics.md 17.2); what each kind holds: 17.3; used bits: 17.4. Only what this project
// writes has a builder: one table (TTB0), little-endian, of the 64-bit format.
#ifndef VIOMMU_ENGINE_ENTRIES_SMMU_CD_H_
#define VIOMMU_ENGINE_ENTRIES_SMMU_CD_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/base/address.h"
#include "engine/entries/smmu_fields.h"

namespace viommu::smmu {

// --- Context descriptor (IHI 0070 5.4): 64 bytes.
using Cd = std::array<uint64_t, 8>;
// Word 0.
inline constexpr BitField kCdInputSize{0, 6};      // T0SZ.
inline constexpr BitField kCdGranule{6, 2};        // TG0.
inline constexpr BitField kCdInnerCache{8, 2};     // IRGN0.
inline constexpr BitField kCdOuterCache{10, 2};    // ORGN0.
inline constexpr BitField kCdShareability{12, 2};  // SH0.
inline constexpr uint64_t kCdNoTable0 = Bit(14);   // EPD0: addresses of TTB0 fault.
inline constexpr uint64_t kCdNoTable1 = Bit(30);   // EPD1: those of TTB1.
inline constexpr uint64_t kCdValid = Bit(31);
inline constexpr BitField kCdAddressSize{32, 3};        // IPS.
inline constexpr uint64_t kCdAarch64 = Bit(41);         // AA64.
inline constexpr uint64_t kCdHardwareDirty = Bit(42);   // HD.
inline constexpr uint64_t kCdHardwareAccess = Bit(43);  // HA.
inline constexpr uint64_t kCdStall = Bit(44);           // S.
inline constexpr uint64_t kCdRecordFaults = Bit(45);    // R.
inline constexpr uint64_t kCdAbort = Bit(46);           // A: a fault is an abort, not zeroes read.
inline constexpr uint64_t kCdPrivateAsid = Bit(47);     // ASET: no broadcast from processors.
inline constexpr BitField kCdAsid{48, 16};
// Word 1.
inline constexpr uint64_t kCdTableMask = Bits(51, 4);  // TTB0.
// Word 3 is MAIR: what the memory attribute indices of leaves mean. 0: normal, not cached; 1:
// normal, write-back; 2: device; 3: normal, inner not cached, outer write-back.
inline constexpr uint64_t kCdMemoryAttributes = 0xf404ff44;

// A first stage of the host's. An SVA domain has the same fields.
struct CdFields {
  PhysAddr root;
  uint16_t asid = 0;    // 1.., one for each first stage of all SMMUs.
  int input_bits = 48;  // 52 with IDR5.VAX.
  Granule granule = Granule::k4KiB;
  int output_bits = 48;
  bool coherent_walks = true;   // IDR0.COHACC: walks see the processor's caches.
  bool hardware_dirty = false;  // IDR0.HTTU 2: hardware sets access flags and dirty state.
  bool stall = false;           // Faults wait for a RESUME.
};

Cd MakeCd(const CdFields& fields);
// When the address space of an SVA domain is gone but its attachments are not: every access faults,
// unrecorded and without waiting - unless the SMMU has to stall (IDR0.STALL_MODEL is 2). Of
// `fields`, where the table lies and how it is walked do not matter any more.
Cd MakeReleasedCd(const CdFields& fields, bool stall_forced);

inline bool IsValidCd(const Cd& cd) { return (cd[0] & kCdValid) != 0; }
inline uint16_t AsidOf(const Cd& cd) { return static_cast<uint16_t>(kCdAsid.Get(cd[0])); }
// Whether requests have a table; false once released.
inline bool HasTable(const Cd& cd) { return IsValidCd(cd) && (cd[0] & kCdNoTable0) == 0; }
// Of a descriptor that has one. An intermediate address in a guest's descriptor.
inline uint64_t Stage1RootOf(const Cd& cd) { return cd[1] & kCdTableMask; }

// For EntryPlan: as a stream table entry, 64 bits at a time.
struct CdArchitecture {
  static constexpr size_t kWords = 8;
  static constexpr size_t kUnitWords = 1;
  using Entry = Cd;
  static Entry UsedBits(const Entry& entry);
  static Entry SafeBits(const Entry&, const Entry&) { return {}; }
  static Entry Blocked() { return {}; }
};

// --- CD tables: linear, or of two levels split at bit 10 of the SSID (S1Fmt 2, IDR0.CD2L).
inline constexpr int kCdTableSplit = 10;
inline constexpr size_t kCdL2Entries = size_t{1} << kCdTableSplit;
inline constexpr size_t kCdL2Bytes = kCdL2Entries * sizeof(Cd);  // And its alignment.
inline constexpr size_t kCdL1MaxEntries = 1024;
// The largest linear table of the project; hardware with linear tables alone has no more SSIDs.
inline constexpr int kLinearCdsMaxLog2 = kCdTableSplit;

inline constexpr uint32_t CdL1Index(uint32_t ssid) { return ssid >> kCdTableSplit; }
inline constexpr uint32_t CdL2Index(uint32_t ssid) { return ssid & (kCdL2Entries - 1); }

// First-level descriptor (IHI 0070 5.4.1): word by SSID >> 10.
inline constexpr uint64_t kCdL1Valid = Bit(0);
inline constexpr uint64_t kCdL1TableMask = Bits(51, 12);

uint64_t MakeCdL1Descriptor(PhysAddr table);
// Without: its SSIDs are bad ones, C_BAD_SUBSTREAMID.
inline constexpr uint64_t kEmptyCdL1Descriptor = 0;
inline bool IsValidCdL1(uint64_t descriptor) { return (descriptor & kCdL1Valid) != 0; }
// An intermediate address in a guest's descriptor.
inline uint64_t CdL1TableOf(uint64_t descriptor) { return descriptor & kCdL1TableMask; }

// Field by field, in words, for an operator.
std::string DescribeCd(const Cd& cd);
// `cds`: in each second-level table; a guest may choose 64.
std::string DescribeCdL1Descriptor(uint64_t descriptor, size_t cds = kCdL2Entries);

}  // namespace viommu::smmu

#endif  // VIOMMU_ENGINE_ENTRIES_SMMU_CD_H_
