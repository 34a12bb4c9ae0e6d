#include "engine/backend/soft/domain_tables.h"

namespace viommu {

bool IsFirstStage(const DomainProperties& properties) {
  return properties.format == vtd::kFirstStageFormat || smmu::IsFirstStageFormat(properties);
}

absl::StatusOr<VtdSecondStage> VtdSecondStageOf(const DomainProperties& properties,
                                                const IommuSpec& unit) {
  VtdSecondStage::Options options;
  options.levels = properties.levels;
  options.page_sizes = properties.page_sizes;
  options.host_address_bits = PhysicalAddressBits(unit);
  options.force_snoop = properties.enforces_cache_coherency;
  return VtdSecondStage::Create(options);
}

absl::StatusOr<X86FirstStage> X86FirstStageOf(const DomainProperties& properties,
                                              const IommuSpec& unit) {
  X86FirstStage::Options options;
  options.levels = properties.levels;
  options.page_sizes = properties.page_sizes;
  options.host_address_bits = PhysicalAddressBits(unit);
  return X86FirstStage::Create(options);
}

}  // namespace viommu
