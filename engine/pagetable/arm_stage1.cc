#include "engine/pagetable/arm_stage1.h"

#include "engine/base/status_macros.h"

namespace viommu {

template <int kGranuleLog2>
ArmStage1<kGranuleLog2>::ArmStage1(const Options& options)
    : ArmLpae<kGranuleLog2>(lpae::PlainRoot(kGranuleLog2, options.input_bits).levels,
                            options.input_bits, options.output_bits, options.page_sizes),
      writable_(options.track_dirty ? lpae::kDirtyModifier | lpae::kReadOnly : 0) {}

template <int kGranuleLog2>
absl::StatusOr<ArmStage1<kGranuleLog2>> ArmStage1<kGranuleLog2>::Create(const Options& options) {
  RETURN_IF_ERROR(
      lpae::Check(kGranuleLog2, options.input_bits, options.output_bits, options.page_sizes));
  return ArmStage1(options);
}

template class ArmStage1<kGranule4K>;
template class ArmStage1<kGranule16K>;
template class ArmStage1<kGranule64K>;

}  // namespace viommu
