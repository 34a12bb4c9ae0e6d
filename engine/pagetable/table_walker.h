// engine/pagetable/table_walker.h -- Page tables of any format, as PageTable sees them.
//
// Walker (walker.h) implements this once for every format and store policy. The virtual call is
// paid once per operation; within it all is resolved at compile time. Arguments were checked by
// PageTable: ranges are inside the format's widths and aligned to its smallest leaf.
#ifndef VIOMMU_ENGINE_PAGETABLE_TABLE_WALKER_H_
#define VIOMMU_ENGINE_PAGETABLE_TABLE_WALKER_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/types/optional.h"
#include "engine/base/address.h"
#include "engine/pagetable/format.h"
#include "engine/pagetable/table_arena.h"

namespace viommu {

// Where an IOVA leads to.
struct PageTranslation {
  PhysAddr address;         // Of the very byte asked for.
  uint64_t leaf_bytes = 0;  // Size of the leaf that maps it.
  PageAccess permission;
};

// One entry on the way to an IOVA.
struct TableEntry {
  int level = 0;
  PhysAddr address;  // Of the entry itself.
  uint64_t value = 0;
};

// What the tables hold. An array index is a level. A root of several tables counts as so many.
struct TableCounts {
  static constexpr int kMaxLevels = 6;
  std::array<uint64_t, kMaxLevels> leaves{};
  std::array<uint64_t, kMaxLevels> tables{};
};

// How a map ended. Unless it is kDone, nothing was changed.
struct MapOutcome {
  enum Kind { kDone, kConflict, kExhausted } kind = kDone;
  Iova conflict = 0;           // kConflict: the first address of the range that is mapped.
  uint64_t tables_needed = 0;  // kExhausted: more than the arena has room for.
};

// Thread-compatible; devices may read the tables at any time.
class TableWalker {
 public:
  virtual ~TableWalker() = default;

  virtual MapOutcome Map(const IovaRange& range, PhysAddr to, PageAccess permission,
                         MemoryType memory) = 0;
  // Both move the tables that nothing leads to any more to `freed`.
  virtual uint64_t Unmap(const IovaRange& range, PageList* freed) = 0;
  // Leaves of what is mapped from now on: a subset of the format's sizes, with the smallest.
  virtual void SetLeafSizes(uint64_t page_sizes) = 0;
  virtual void Clear(PageList* freed) = 0;  // Everything but the root; the last call.
  virtual absl::optional<PageTranslation> Translate(Iova iova) const = 0;
  virtual std::vector<TableEntry> PathTo(Iova iova) const = 0;
  virtual TableCounts Count() const = 0;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PAGETABLE_TABLE_WALKER_H_
