// engine/paging.h -- What every listing checks of the page that is asked for. Private to the
// engine.
#ifndef VIOMMU_ENGINE_PAGING_H_
#define VIOMMU_ENGINE_PAGING_H_

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/types.h"

namespace viommu {

// kInvalidArgument UNKNOWN_PAGE_TOKEN
inline absl::Status UnknownPageToken() {
  return Error(absl::StatusCode::kInvalidArgument, "UNKNOWN_PAGE_TOKEN",
               "the page token is not one that this listing gave out")
      .Errno("EINVAL")
      .Field("page_token");
}

// kInvalidArgument INVALID_PAGE_SIZE
inline absl::Status CheckPageSize(const PageRequest& page) {
  if (page.page_size >= 1 && page.page_size <= kMaxPageSize) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "INVALID_PAGE_SIZE",
               absl::StrCat("page_size ", page.page_size, " is not from 1 to ", kMaxPageSize))
      .Errno("EINVAL")
      .Field("page_size");
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PAGING_H_
