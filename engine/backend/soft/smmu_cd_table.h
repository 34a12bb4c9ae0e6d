// engine/backend/soft/smmu_cd_table.h -- The context descriptors of one stream, by SSID; that of
// SSID 0 serves requests without PASID.
//
// Up to 1024 descriptors lie in one table; more are in tables of 1024, made when needed, below a
// first level.
//
// Thread-compatible: the SmmuUnit holds its lock.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SMMU_CD_TABLE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SMMU_CD_TABLE_H_

#include <cstdint>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/address.h"
#include "engine/entries/smmu_cd.h"
#include "engine/entries/smmu_ste.h"
#include "engine/pagetable/table_arena.h"

namespace viommu {

// What the entry that leads to descriptors for SSIDs of `pasid_bits` bits says of their table.
inline smmu::CdTableFormat CdTableFormatFor(int pasid_bits) {
  return pasid_bits > smmu::kLinearCdsMaxLog2 ? smmu::CdTableFormat::kTwoLevel64KiB
                                              : smmu::CdTableFormat::kLinear;
}

class SmmuCdTable {
 public:
  // Invalid descriptors for SSIDs of `pasid_bits` bits, 0..20. `arena` outlives it.
  // kResourceExhausted: no table memory.
  static absl::StatusOr<std::unique_ptr<SmmuCdTable>> Create(int pasid_bits, TableArena* arena);
  // Nothing leads to the descriptors any more, no cache either.
  ~SmmuCdTable();
  SmmuCdTable(const SmmuCdTable&) = delete;
  SmmuCdTable& operator=(const SmmuCdTable&) = delete;

  PhysAddr root() const { return root_; }

  // Makes room for a descriptor. Where a table was linked for it, the unit may have cached that
  // there was none: invalidate more than the leaf with the first change of the descriptor.
  // kResourceExhausted: no table memory.
  absl::Status Prepare(uint32_t ssid);

  // The descriptor, null while there is no room for it; and what it holds, invalid then.
  uint64_t* Words(uint32_t ssid) const;
  smmu::Cd Read(uint32_t ssid) const;

  // Takes the table of a descriptor out of the first level, if all of it is invalid; null: it is
  // not, or there is none. Whoever holds the answer keeps the memory, until the unit has forgotten
  // the way to it.
  std::shared_ptr<const void> Unlink(uint32_t ssid);

 private:
  SmmuCdTable(int pasid_bits, int pages_log2, PhysAddr root, TableArena* arena)
      : pasid_bits_(pasid_bits), pages_log2_(pages_log2), root_(root), arena_(*arena) {}

  bool two_level() const {
    return CdTableFormatFor(pasid_bits_) == smmu::CdTableFormat::kTwoLevel64KiB;
  }

  const int pasid_bits_;
  const int pages_log2_;  // Of the root.
  const PhysAddr root_;   // The only table, or the first level.
  TableArena& arena_;
  absl::flat_hash_map<uint32_t, PhysAddr> tables_;  // Of the second level, by index in the first.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SMMU_CD_TABLE_H_
