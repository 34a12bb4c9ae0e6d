// engine/backend/soft/domain_tables.h -- The page tables of a domain of any format, as its
// properties describe them.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_DOMAIN_TABLES_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_DOMAIN_TABLES_H_

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/smmu_capability.h"
#include "engine/backend/soft/vtd_capability.h"
#include "engine/backend/topology.h"
#include "engine/base/status_macros.h"
#include "engine/pagetable/arm_stage1.h"
#include "engine/pagetable/arm_stage2.h"
#include "engine/pagetable/page_table.h"
#include "engine/pagetable/table_arena.h"
#include "engine/pagetable/vtd_second_stage.h"
#include "engine/pagetable/x86_first_stage.h"

namespace viommu {

// Pure. Whether a domain of this format is a first stage.
bool IsFirstStage(const DomainProperties& properties);

// Pure. The formats of domains that were planned for `unit`.
absl::StatusOr<VtdSecondStage> VtdSecondStageOf(const DomainProperties& properties,
                                                const IommuSpec& unit);
absl::StatusOr<X86FirstStage> X86FirstStageOf(const DomainProperties& properties,
                                              const IommuSpec& unit);
template <int kGranuleLog2>
absl::StatusOr<ArmStage1<kGranuleLog2>> ArmStage1Of(const DomainProperties& properties,
                                                    const IommuSpec& unit) {
  typename ArmStage1<kGranuleLog2>::Options options;
  options.input_bits = smmu::InputBits(properties);
  options.output_bits = PhysicalAddressBits(unit);
  options.page_sizes = properties.page_sizes;
  options.track_dirty = properties.dirty_tracking;
  return ArmStage1<kGranuleLog2>::Create(options);
}
template <int kGranuleLog2>
absl::StatusOr<ArmStage2<kGranuleLog2>> ArmStage2Of(const DomainProperties& properties,
                                                    const IommuSpec& unit) {
  typename ArmStage2<kGranuleLog2>::Options options;
  options.input_bits = smmu::InputBits(properties);
  options.output_bits = PhysicalAddressBits(unit);
  options.page_sizes = properties.page_sizes;
  options.force_write_back = smmu::ForcesWriteBack(unit, properties);
  return ArmStage2<kGranuleLog2>::Create(options);
}

template <int kGranuleLog2, typename Store>
absl::StatusOr<PageTable> MakeArmTable(const DomainProperties& properties, const IommuSpec& unit,
                                       const Store& store, TableArena* arena) {
  if (IsFirstStage(properties)) {
    ASSIGN_OR_RETURN(const auto format, ArmStage1Of<kGranuleLog2>(properties, unit));
    return PageTable::Create(format, store, arena);
  }
  ASSIGN_OR_RETURN(const auto format, ArmStage2Of<kGranuleLog2>(properties, unit));
  return PageTable::Create(format, store, arena);
}

// An empty table of a domain that was planned for `unit`.
// kResourceExhausted: no table memory.
template <typename Store>
absl::StatusOr<PageTable> MakePageTable(const DomainProperties& properties, const IommuSpec& unit,
                                        const Store& store, TableArena* arena) {
  if (unit.architecture == IommuArchitecture::kSmmuV3) {
    switch (smmu::GranuleLog2(properties)) {
      case kGranule4K:
        return MakeArmTable<kGranule4K>(properties, unit, store, arena);
      case kGranule16K:
        return MakeArmTable<kGranule16K>(properties, unit, store, arena);
      default:
        return MakeArmTable<kGranule64K>(properties, unit, store, arena);
    }
  }
  if (IsFirstStage(properties)) {
    ASSIGN_OR_RETURN(const X86FirstStage format, X86FirstStageOf(properties, unit));
    return PageTable::Create(format, store, arena);
  }
  ASSIGN_OR_RETURN(const VtdSecondStage format, VtdSecondStageOf(properties, unit));
  return PageTable::Create(format, store, arena);
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_DOMAIN_TABLES_H_
