// engine/backend/soft/hardware/smmu_stage1.h -- How an SMMUv3 goes from a device's virtual address
// to memory, through stage 2 where there is one.
//
// Sources: Arm DDI 0487 D8.3, D8.4 (stage 1 descriptors, hierarchical permissions); IHI 0070 3.4
// (address sizes), 3.13 (hardware updates).
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_STAGE1_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_STAGE1_H_

#include <cstdint>

#include "engine/backend/soft/hardware/smmu_tlb.h"
#include "engine/backend/soft/hardware/smmu_walk.h"

namespace viommu::hardware::smmu {

// Finds the page that `address` lies in, remembered or walked to, and checks that it may be
// accessed as the walk says. Where there is a stage 2 the leaf holds both. `*hit` says that it was
// remembered.
Fault TranslateStage1(const Walk& walk, uint64_t address, Leaf* leaf, bool* hit);

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_STAGE1_H_
