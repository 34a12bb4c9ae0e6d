#include "engine/pagetable/x86_first_stage.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/pagetable/intel_tables.h"

namespace viommu {

X86FirstStage::X86FirstStage(const Options& options)
    : levels_(options.levels),
      host_address_bits_(options.host_address_bits),
      page_sizes_(options.page_sizes) {}

absl::StatusOr<X86FirstStage> X86FirstStage::Create(const Options& options) {
  if (options.levels < 4 || options.levels > 5) {
    return Error(absl::StatusCode::kInvalidArgument, "UNSUPPORTED_LEVELS",
                 absl::StrCat(options.levels, " levels: a first stage has 4 or 5"))
        .Errno("EINVAL");
  }
  RETURN_IF_ERROR(CheckIntelTables(options.page_sizes, options.host_address_bits));
  return X86FirstStage(options);
}

}  // namespace viommu
