#include "engine/pagetable/intel_tables.h"

#include "absl/strings/str_cat.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"

namespace viommu {
namespace {

constexpr uint64_t kPage4K = uint64_t{1} << 12;
constexpr uint64_t kLargePages = uint64_t{1} << 21 | uint64_t{1} << 30;

}  // namespace

absl::Status CheckIntelTables(uint64_t page_sizes, int host_address_bits) {
  if ((page_sizes & kPage4K) == 0 || (page_sizes & ~(kPage4K | kLargePages)) != 0) {
    return Error(absl::StatusCode::kInvalidArgument, "UNSUPPORTED_PAGE_SIZES",
                 absl::StrCat("page sizes ", Hex(page_sizes),
                              " are not 4 KiB with or without 2 MiB and 1 GiB"))
        .Errno("EINVAL");
  }
  if (host_address_bits < 32 || host_address_bits > 52) {
    return Error(absl::StatusCode::kInvalidArgument, "UNSUPPORTED_ADDRESS_WIDTH",
                 absl::StrCat("a host address width of ", host_address_bits,
                              " bits is not in 32..52"))
        .Errno("EINVAL");
  }
  return absl::OkStatus();
}

}  // namespace viommu
