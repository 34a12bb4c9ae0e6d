// engine/pagetable/arm_lpae_describe.h -- Entries of Armv8 page tables in words, for an operator
// who reads a dump.
#ifndef VIOMMU_ENGINE_PAGETABLE_ARM_LPAE_DESCRIBE_H_
#define VIOMMU_ENGINE_PAGETABLE_ARM_LPAE_DESCRIBE_H_

#include <cstdint>
#include <string>

namespace viommu {

// `level` as Arm counts, 0 to 3, where 3 has the smallest leaves; `granule_log2` 12, 14 or 16. What
// every entry of ours has is not told: AF, nG and AP[1] are told when they are missing. Attributes
// of stage 1 have the meaning that lpae::kMair gives them; a guest's own MAIR may give another.
std::string DescribeArmStage1Entry(uint64_t entry, int level, int granule_log2);
// `force_write_back` as S2FWB of the stream table entry.
std::string DescribeArmStage2Entry(uint64_t entry, int level, int granule_log2,
                                   bool force_write_back = false);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PAGETABLE_ARM_LPAE_DESCRIBE_H_
