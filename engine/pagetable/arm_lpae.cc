#include "engine/pagetable/arm_lpae.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace lpae {
namespace {

absl::Status CheckWidth(absl::string_view what, int bits) {
  if (bits >= 32 && bits <= 48) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "UNSUPPORTED_ADDRESS_WIDTH",
               absl::StrCat("an ", what, " width of ", bits, " bits is not in 32..48"))
      .Errno("EINVAL");
}

}  // namespace

absl::Status Check(int granule_log2, int input_bits, int output_bits, uint64_t page_sizes) {
  const uint64_t granule = uint64_t{1} << granule_log2;
  const uint64_t known = PageSizes(granule_log2);
  if ((page_sizes & granule) == 0 || (page_sizes & ~known) != 0) {
    return Error(absl::StatusCode::kInvalidArgument, "UNSUPPORTED_PAGE_SIZES",
                 absl::StrCat("page sizes ", Hex(page_sizes), " are not the granule ", Hex(granule),
                              " with or without the others of ", Hex(known)))
        .Errno("EINVAL");
  }
  RETURN_IF_ERROR(CheckWidth("input", input_bits));
  return CheckWidth("output", output_bits);
}

}  // namespace lpae
}  // namespace viommu
