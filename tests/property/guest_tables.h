// tests/property/guest_tables.h -- Where the guests of the small world keep their first-stage
// tables, and which words these can hold.
//
// A guest has some pages of a memory region, each for tables of one level. They belong at
// kTablesAt of a nest parent, where they can be walked; whether they are mapped there is up to
// chance. They have four levels of 4 KiB, x86-64's or Arm's (iommufd-semantics.md section 19); an
// Arm guest's context descriptor is in the page of its root, where no walk comes.
#ifndef VIOMMU_TESTS_PROPERTY_GUEST_TABLES_H_
#define VIOMMU_TESTS_PROPERTY_GUEST_TABLES_H_

#include <cstdint>

#include "engine/backend/topology.h"
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

inline constexpr uint64_t kDescriptorOffset = 2048;
inline constexpr uint16_t AsidOf(int guest) { return static_cast<uint16_t>(7 + guest); }

inline constexpr int kGuestAddressBits = 46;  // HAW of every VT-d unit of the world.

// One word: that it leads to a table, or (a leaf) to a page.
struct GuestWord {
  bool present = false;
  bool leaf = false;
  bool user = true;
  bool writable = true;
  bool accessed = true;  // Without, an Arm leaf leads nowhere; x86 hardware sets it.
  uint64_t address = 0;
};

// Of an x86 leaf, `accessed` sets accessed and dirty.
uint64_t EncodeGuestWord(IommuArchitecture architecture, int level, const GuestWord& word);
// What is malformed is present and leads nowhere (no user may use it).
GuestWord DecodeGuestWord(IommuArchitecture architecture, int level, uint64_t bits);

inline constexpr int ShiftOf(int level) { return 12 + 9 * (level - 1); }
inline constexpr int LevelAt(uint64_t offset) { return kTableLevels[offset / kPage % kGuestPages]; }

}  // namespace viommu::property

#endif  // VIOMMU_TESTS_PROPERTY_GUEST_TABLES_H_
