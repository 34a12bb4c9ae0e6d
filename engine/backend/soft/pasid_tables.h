// engine/backend/soft/pasid_tables.h -- The PASID directory of one requester and the tables below
// it, as its context entry leads to them.
//
// The directory covers all PASIDs that the requester can issue; tables of 64 entries are made when
// the first of their entries is needed and can go again when all are blocked, so that an entry can
// always be blocked without allocating (R1). PASID 0 stands for requests without one; its table is
// there from the start to the end.
//
// Thread-compatible: the VtdUnit holds its lock. Moved-from objects may only be destroyed.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_PASID_TABLES_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_PASID_TABLES_H_

#include <cstdint>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/address.h"
#include "engine/entries/vtd_entries.h"
#include "engine/pagetable/table_arena.h"

namespace viommu {

class PasidTables {
 public:
  // For PASIDs below 2^`pasid_bits`, 0..20, in `arena`, which outlives it. All entries are blocked.
  // kResourceExhausted: no table memory.
  static absl::StatusOr<PasidTables> Create(int pasid_bits, TableArena* arena);
  // No hardware reads them any more.
  ~PasidTables();
  PasidTables(PasidTables&& other) noexcept;
  PasidTables& operator=(PasidTables&&) = delete;

  PhysAddr directory() const { return directory_; }
  int pdts() const { return pdts_; }
  bool Covers(uint32_t pasid) const { return pasid >> pasid_bits_ == 0; }

  // Makes the table of a PASID that is covered, unless it is there.
  // kResourceExhausted: no table memory.
  absl::Status Prepare(uint32_t pasid);

  // Takes the table of a PASID out of the directory, if all its entries are blocked and it is not
  // that of PASID 0; null otherwise. Its page is given back with the last reference: when no
  // hardware reads it any more. The arena outlives that.
  std::shared_ptr<const void> Unlink(uint32_t pasid);

  // What the entry holds; a blocked one where there is no table.
  vtd::PasidEntry Read(uint32_t pasid) const;
  // The entry itself, for its only writer; null where there is no table.
  uint64_t* Words(uint32_t pasid) const;

 private:
  PasidTables(int pasid_bits, PhysAddr directory, TableArena* arena);

  int pasid_bits_;
  int pdts_;
  PhysAddr directory_;
  TableArena* arena_;                               // Null once moved from.
  absl::flat_hash_map<uint32_t, PhysAddr> tables_;  // By index in the directory.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_PASID_TABLES_H_
