#include "engine/pagetable/vtd_second_stage.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/pagetable/intel_tables.h"

namespace viommu {

VtdSecondStage::VtdSecondStage(const Options& options)
    : levels_(options.levels),
      host_address_bits_(options.host_address_bits),
      page_sizes_(options.page_sizes),
      snoop_(options.force_snoop ? kSnoop : 0) {}

absl::StatusOr<VtdSecondStage> VtdSecondStage::Create(const Options& options) {
  if (options.levels < 3 || options.levels > 5) {
    return Error(absl::StatusCode::kInvalidArgument, "UNSUPPORTED_LEVELS",
                 absl::StrCat(options.levels, " levels: VT-d second stage has 3, 4 or 5"))
        .Errno("EINVAL");
  }
  RETURN_IF_ERROR(CheckIntelTables(options.page_sizes, options.host_address_bits));
  return VtdSecondStage(options);
}

}  // namespace viommu
