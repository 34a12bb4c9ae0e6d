// engine/operations/dropped_references.h -- Gives back what an Ioas held of the regions it mapped.
#ifndef VIOMMU_ENGINE_OPERATIONS_DROPPED_REFERENCES_H_
#define VIOMMU_ENGINE_OPERATIONS_DROPPED_REFERENCES_H_

#include <cstdint>

#include "engine/model/model.h"

namespace viommu {

// Areas side by side mostly map one region: for all of them it is looked up once. Flush comes last.
// Thread-compatible: guarded by the pipeline's lock.
class DroppedReferences {
 public:
  DroppedReferences(const Model* model, Uid holder) : model_(*model), holder_(holder) {}

  void Drop(const Area& area) {
    if (area.region != region_) Flush();
    region_ = area.region;
    ++count_;
  }
  void Flush() {
    if (count_ != 0) model_.Get<MemoryRegion>(region_)->DropReferences(holder_, count_);
    count_ = 0;
  }

 private:
  const Model& model_;
  const Uid holder_;
  Uid region_ = 0;
  uint64_t count_ = 0;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_DROPPED_REFERENCES_H_
