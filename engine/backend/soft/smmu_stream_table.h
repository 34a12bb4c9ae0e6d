// engine/backend/soft/smmu_stream_table.h -- The stream table of one SMMUv3: linear, or of two
// levels where the unit walks such.
//
// Everything that leads to an entry is made before translation is enabled and stays until the table
// goes. Every entry aborts until its stream is put on something; a StreamID beyond the tables that
// were made is a bad one to the hardware, which aborts too.
//
// Thread-compatible: the SmmuUnit holds its lock. Moved-from objects may only be destroyed.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SMMU_STREAM_TABLE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SMMU_STREAM_TABLE_H_

#include <cstdint>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/entries/smmu_ste.h"
#include "engine/pagetable/table_arena.h"

namespace viommu {

class SmmuStreamTable {
 public:
  // Of `spec`, whose StreamIDs it covers as far as a table reaches. `arena` outlives it.
  // kResourceExhausted: no table memory.
  static absl::StatusOr<std::unique_ptr<SmmuStreamTable>> Create(const SmmuV3Spec& spec,
                                                                 TableArena* arena);
  ~SmmuStreamTable();
  SmmuStreamTable(const SmmuStreamTable&) = delete;
  SmmuStreamTable& operator=(const SmmuStreamTable&) = delete;

  // Makes what leads to the entry of a stream, which the topology has found to be in reach.
  // kResourceExhausted: no table memory.
  absl::Status AddStream(uint32_t stream_id);

  // The entry of a stream that was added, and what it holds now.
  uint64_t* Words(uint32_t stream_id) const;
  smmu::Ste Read(uint32_t stream_id) const;

  // For STRTAB_BASE and STRTAB_BASE_CFG.
  uint64_t base() const;
  uint32_t config() const;

 private:
  SmmuStreamTable(bool two_level, int bits, int pages_log2, PhysAddr root, TableArena* arena)
      : two_level_(two_level), bits_(bits), pages_log2_(pages_log2), root_(root), arena_(*arena) {}

  const bool two_level_;
  const int bits_;        // Of StreamIDs.
  const int pages_log2_;  // Of the root.
  const PhysAddr root_;   // The only table, or the first level.
  TableArena& arena_;
  absl::flat_hash_map<uint32_t, PhysAddr> tables_;  // Of the second level, by index in the first.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SMMU_STREAM_TABLE_H_
