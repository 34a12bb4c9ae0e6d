// tests/property/guest_tables.h -- Where the guests of the small world keep their first-stage
// tables, and which words these can hold.
//
// A guest has some pages of a memory region, each for tables of one level. They belong at
// kTablesAt of a nest parent, where they can be walked; whether they are mapped there is up to
// chance. Words are of four-level x86-64 tables (iommufd-semantics.md section 19).
#ifndef VIOMMU_TESTS_PROPERTY_GUEST_TABLES_H_
#define VIOMMU_TESTS_PROPERTY_GUEST_TABLES_H_

#include <cstdint>

#include "engine/base/address.h"

namespace viommu::property {

inline constexpr uint64_t kPage = 4096;
inline constexpr int kGuests = 2;
// The root, then for each level below a table and another.
inline constexpr int kTableLevels[] = {4, 3, 3, 2, 2, 1, 1, 1};
inline constexpr int kGuestPages = 8;
inline constexpr uint64_t kGuestBytes = kGuestPages * kPage;
inline constexpr uint64_t kTablesBytes = kGuests * kGuestBytes;
inline constexpr Iova kTablesAt = 0x20000000;

// Bytes of every page that the world keeps for itself, also of tables: no guest uses those slots,
// and what is there is not present.
inline constexpr uint64_t kTagOffset = 8;
inline constexpr uint64_t kScratchOffset = 16;
inline constexpr uint64_t kFirstSlot = 3;  // Guests use kSlots from here in each table.
inline constexpr uint64_t kSlots = 2;
inline constexpr uint64_t kLeafSlots = 4;

inline constexpr uint64_t kGuestPresent = 1 << 0;
inline constexpr uint64_t kGuestWrite = 1 << 1;
inline constexpr uint64_t kGuestUser = 1 << 2;
inline constexpr uint64_t kGuestAccessed = 1 << 5;
inline constexpr uint64_t kGuestDirty = 1 << 6;
inline constexpr uint64_t kGuestLarge = 1 << 7;
inline constexpr uint64_t kGuestAddress = 0x000ffffffffff000;
inline constexpr int kGuestAddressBits = 46;  // HAW of every unit of the world.

inline constexpr int ShiftOf(int level) { return 12 + 9 * (level - 1); }
inline constexpr bool IsGuestLeaf(int level, uint64_t word) {
  return level == 1 || (level == 2 && (word & kGuestLarge) != 0);
}

}  // namespace viommu::property

#endif  // VIOMMU_TESTS_PROPERTY_GUEST_TABLES_H_
