// engine/base/address.h -- Addresses and inclusive ranges, typed so that an IO virtual address is
// never mistaken for a physical one.
#ifndef VIOMMU_ENGINE_BASE_ADDRESS_H_
#define VIOMMU_ENGINE_BASE_ADDRESS_H_

#include <cstdint>
#include <limits>
#include <string>

#include "absl/strings/str_format.h"

namespace viommu {

inline constexpr uint64_t kMaxAddress = std::numeric_limits<uint64_t>::max();

// An IO virtual address: what a device puts on the bus.
using Iova = uint64_t;

// A host physical address. A struct of its own: mixing it with an Iova is the mistake that breaks
// isolation.
struct PhysAddr {
  uint64_t value = 0;

  friend bool operator==(PhysAddr a, PhysAddr b) { return a.value == b.value; }
  friend bool operator!=(PhysAddr a, PhysAddr b) { return a.value != b.value; }
  friend bool operator<(PhysAddr a, PhysAddr b) { return a.value < b.value; }
  friend PhysAddr operator+(PhysAddr a, uint64_t bytes) { return PhysAddr{a.value + bytes}; }
};

// A range of IO virtual addresses, both ends included, so that the last byte of the address space
// can be named. Never empty: first <= last.
struct IovaRange {
  Iova first = 0;
  Iova last = 0;

  // 2^64 does not fit: the full range answers 0.
  uint64_t size_bytes() const { return last - first + 1; }
  bool Contains(Iova iova) const { return first <= iova && iova <= last; }
  bool Contains(const IovaRange& r) const { return first <= r.first && r.last <= last; }
  bool Overlaps(const IovaRange& r) const { return first <= r.last && r.first <= last; }

  friend bool operator==(const IovaRange& a, const IovaRange& b) {
    return a.first == b.first && a.last == b.last;
  }
  friend bool operator!=(const IovaRange& a, const IovaRange& b) { return !(a == b); }
};

inline bool IsPowerOfTwo(uint64_t v) { return v != 0 && (v & (v - 1)) == 0; }

inline bool IsAligned(uint64_t v, uint64_t alignment) { return (v & (alignment - 1)) == 0; }

// Errors and listings print addresses in hex.
inline std::string Hex(uint64_t v) { return absl::StrFormat("0x%x", v); }

inline std::string ToString(const IovaRange& r) {
  return absl::StrFormat("[0x%x, 0x%x]", r.first, r.last);
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BASE_ADDRESS_H_
