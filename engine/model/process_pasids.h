// engine/model/process_pasids.h -- The PASIDs of processes whose address spaces devices share
// (SVA).
//
// A process has one, the same for every device (kernel: iommu-sva.c, iommu_alloc_mm_data: one PASID
// an mm, from a global allocator that begins at 1). Thread-compatible: guarded by the pipeline's
// lock.
#ifndef VIOMMU_ENGINE_MODEL_PROCESS_PASIDS_H_
#define VIOMMU_ENGINE_MODEL_PROCESS_PASIDS_H_

#include <cstdint>
#include <functional>
#include <optional>

#include "absl/container/btree_map.h"
#include "engine/backend/backend.h"

namespace viommu {

class ProcessPasids {
 public:
  // One more domain of a process: its PASID, or for the first one the lowest from 1 to `highest`
  // that no process has and that `is_free`. nullopt: there is none.
  std::optional<uint32_t> Take(Uid process, uint32_t highest,
                               const std::function<bool(uint32_t)>& is_free);
  // One domain fewer; with the last one the PASID is free.
  void GiveBack(Uid process);

  std::optional<uint32_t> Of(Uid process) const;
  bool Has(uint32_t pasid) const { return by_pasid_.contains(pasid); }

 private:
  struct Use {
    uint32_t pasid = 0;
    uint64_t domains = 0;
  };
  absl::btree_map<Uid, Use> by_process_;
  absl::btree_map<uint32_t, Uid> by_pasid_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_PROCESS_PASIDS_H_
