#include "engine/pagetable/arm_stage2.h"

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

uint64_t NormalMemory(bool force_write_back) {
  const uint64_t attributes =
      force_write_back ? lpae::kMemAttrForcedWriteBack : lpae::kMemAttrWriteBack;
  return attributes << lpae::kMemAttrShift | lpae::kInnerShareable;
}

}  // namespace

template <int kGranuleLog2>
ArmStage2<kGranuleLog2>::ArmStage2(const Options& options, const lpae::Root& root)
    : ArmLpae<kGranuleLog2>(root.levels, options.input_bits, options.output_bits,
                            options.page_sizes),
      root_tables_log2_(root.tables_log2),
      normal_memory_(NormalMemory(options.force_write_back)) {}

template <int kGranuleLog2>
absl::StatusOr<ArmStage2<kGranuleLog2>> ArmStage2<kGranuleLog2>::Create(const Options& options) {
  RETURN_IF_ERROR(
      lpae::Check(kGranuleLog2, options.input_bits, options.output_bits, options.page_sizes));
  if (options.input_bits > options.output_bits) {
    return Error(absl::StatusCode::kInvalidArgument, "UNSUPPORTED_ADDRESS_WIDTH",
                 absl::StrCat("a stage-2 input of ", options.input_bits,
                              " bits is wider than its output of ", options.output_bits))
        .Errno("EINVAL");
  }
  return ArmStage2(options, lpae::ConcatenatedRoot(kGranuleLog2, options.input_bits));
}

template class ArmStage2<kGranule4K>;
template class ArmStage2<kGranule16K>;
template class ArmStage2<kGranule64K>;

}  // namespace viommu
