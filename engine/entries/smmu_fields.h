// engine/entries/smmu_fields.h -- What Arm SMMUv3's entries, commands and records share: bit fields
// of 64-bit words, and the encodings of granules, address sizes and memory attributes.
//
// Sources: Arm IHI 0070 (SMMUv3), chapters 3-5, 7; Arm DDI 0487, TCR_EL1 and VTCR_EL2, from which
// the translation controls come (iommufd-semantics.md 17.1, 17.2).
#ifndef VIOMMU_ENGINE_ENTRIES_SMMU_FIELDS_H_
#define VIOMMU_ENGINE_ENTRIES_SMMU_FIELDS_H_

#include <cstdint>

namespace viommu::smmu {

// `width` bits of a word, from bit `shift` up. Each format names its own.
struct BitField {
  int shift;
  int width;

  constexpr uint64_t max() const { return (uint64_t{1} << width) - 1; }
  constexpr uint64_t mask() const { return max() << shift; }
  // What does not fit never reaches the neighbours.
  constexpr uint64_t Put(uint64_t value) const { return (value & max()) << shift; }
  constexpr uint64_t Get(uint64_t word) const { return word >> shift & max(); }
};

inline constexpr uint64_t Bit(int bit) { return uint64_t{1} << bit; }
// Bits last:first of a word: an address that lies where it would lie as a number.
inline constexpr uint64_t Bits(int last, int first) {
  return (~uint64_t{0} >> (63 - last)) & (~uint64_t{0} << first);
}

// The smallest page of a table and the size of each of its tables. The value is its log2.
enum class Granule : uint8_t { k4KiB = 12, k16KiB = 14, k64KiB = 16 };

inline constexpr int Log2(Granule granule) { return static_cast<int>(granule); }

// TG0 of a CD, S2TG of an STE.
inline constexpr uint64_t TableGranuleCode(Granule granule) {
  return granule == Granule::k4KiB ? 0 : granule == Granule::k64KiB ? 1 : 2;
}
inline constexpr const char* TableGranuleName(uint64_t code) {
  constexpr const char* kNames[] = {"4 KiB", "64 KiB", "16 KiB", "reserved granule"};
  return kNames[code & 3];
}
// TG of a TLB invalidation by range, which counts them in another order; 0 there: no range.
inline constexpr uint64_t RangeGranuleCode(Granule granule) {
  return (static_cast<uint64_t>(granule) - 10) / 2;
}

// IPS of a CD, S2PS of an STE: the code of the smallest address size that holds `bits`, 1..52.
inline constexpr uint64_t AddressSizeCode(int bits) {
  return bits <= 32   ? 0
         : bits <= 36 ? 1
         : bits <= 40 ? 2
         : bits <= 42 ? 3
         : bits <= 44 ? 4
         : bits <= 48 ? 5
                      : 6;
}
// The bits of a code; 0 when it is reserved.
inline constexpr int AddressBits(uint64_t code) {
  constexpr int kBits[] = {32, 36, 40, 42, 44, 48, 52, 0};
  return kBits[code & 7];
}

// Shareability.
inline constexpr uint64_t kNonShareable = 0;
inline constexpr uint64_t kOuterShareable = 2;
inline constexpr uint64_t kInnerShareable = 3;
// Cacheability of walks of page tables (IRGN, ORGN, S2IR0, S2OR0) and of CD tables (S1CIR, S1COR).
inline constexpr uint64_t kNonCacheable = 0;
inline constexpr uint64_t kWriteBackAllocate = 1;

}  // namespace viommu::smmu

#endif  // VIOMMU_ENGINE_ENTRIES_SMMU_FIELDS_H_
