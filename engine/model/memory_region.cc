#include "engine/model/memory_region.h"

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"

namespace viommu {

absl::Status MemoryRegion::ReadOnlyError() const {
  return Error(absl::StatusCode::kPermissionDenied, "REGION_READ_ONLY",
               absl::StrCat("memoryRegions/", id(), " can not be mapped for writing"))
      .Errno("EPERM")
      .Field("permission");
}

absl::Status MemoryRegion::SuspendedError() const {
  return Error(absl::StatusCode::kFailedPrecondition, "REGION_SUSPENDED",
               absl::StrCat("memoryRegions/", id(), " was revoked: its memory is gone"))
      .Errno("ENODEV")
      .Field("memory_region")
      .Violation("map from another memory region");
}

}  // namespace viommu
