#include "engine/pagetable/x86_first_stage.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"

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
  if ((options.page_sizes & kPage4K) == 0 ||
      (options.page_sizes & ~(kPage4K | kPage2M | kPage1G)) != 0) {
    return Error(absl::StatusCode::kInvalidArgument, "UNSUPPORTED_PAGE_SIZES",
                 absl::StrCat("page sizes ", Hex(options.page_sizes),
                              " are not 4 KiB with or without 2 MiB and 1 GiB"))
        .Errno("EINVAL");
  }
  if (options.host_address_bits < 32 || options.host_address_bits > 52) {
    return Error(absl::StatusCode::kInvalidArgument, "UNSUPPORTED_ADDRESS_WIDTH",
                 absl::StrCat("a host address width of ", options.host_address_bits,
                              " bits is not in 32..52"))
        .Errno("EINVAL");
  }
  return X86FirstStage(options);
}

}  // namespace viommu
