// engine/entries/smmu_named_fields.h -- The fields of Arm SMMUv3's entries and of the descriptors
// of its page tables by the names that the specifications give them, for an operator who reads them
// beside those.
//
// Sources: Arm IHI 0070 5.1 (L1STD), 5.2 (STE), 5.3 (L1CD), 5.4 (CD); Arm DDI 0487 D8.3 (VMSAv8-64
// descriptors). Fields that are 0 are not told, and neither is what the specifications reserve.
#ifndef VIOMMU_ENGINE_ENTRIES_SMMU_NAMED_FIELDS_H_
#define VIOMMU_ENGINE_ENTRIES_SMMU_NAMED_FIELDS_H_

#include <cstdint>
#include <string>

#include "engine/entries/smmu_cd.h"
#include "engine/entries/smmu_ste.h"

namespace viommu::smmu {

// "V=1 Config=5 S1ContextPtr=0x1000"; empty when all are 0.
std::string NameSteFields(const Ste& ste);
std::string NameCdFields(const Cd& cd);
std::string NameStreamL1Fields(uint64_t descriptor);
std::string NameCdL1Fields(uint64_t descriptor);

// Without the type and the address. `leaf`: a page or block; else a table.
std::string NameStage1Fields(uint64_t descriptor, bool leaf);
std::string NameStage2Fields(uint64_t descriptor, bool leaf);

}  // namespace viommu::smmu

#endif  // VIOMMU_ENGINE_ENTRIES_SMMU_NAMED_FIELDS_H_
