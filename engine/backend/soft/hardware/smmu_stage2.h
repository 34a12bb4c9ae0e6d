// engine/backend/soft/hardware/smmu_stage2.h -- How an SMMUv3 goes from an intermediate physical
// address to memory.
//
// Sources: Arm DDI 0487 D8.3, D8.4 (stage 2 descriptors and permissions); IHI 0070 3.4, 3.13.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_STAGE2_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_STAGE2_H_

#include <cstdint>

#include "engine/backend/soft/hardware/smmu_event.h"
#include "engine/backend/soft/hardware/smmu_tlb.h"
#include "engine/backend/soft/hardware/smmu_walk.h"

namespace viommu::hardware::smmu {

// What is done with an intermediate address.
struct Stage2Access {
  EventClass event_class = EventClass::kInput;
  bool write = false;
  bool instruction = false;
};

// Finds the page or block that `ipa` lies in, remembered or walked to, and checks that it may be
// accessed so.
Fault TranslateStage2(const Walk& walk, uint64_t ipa, const Stage2Access& access, Leaf* leaf);

// The fault of a remembered leaf's second stage, for a request to `ipa`.
Fault CheckStage2(const Walk& walk, uint64_t ipa, const Stage2Access& access, const Leaf& leaf);

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_STAGE2_H_
