#include "engine/operations/still_meant.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"

namespace viommu {

absl::Status CheckStillMeant(const Object& object, Uid only, absl::string_view principal) {
  if (only == 0 || object.uid() == only) return absl::OkStatus();
  const std::string name = object.NameFor(principal);
  return Error(absl::StatusCode::kNotFound, absl::StrCat(ReasonPrefix(object.kind()), "_NOT_FOUND"),
               absl::StrCat("the ", name, " that the stream was opened for is gone"))
      .Errno("ENOENT")
      .Resource(name);
}

}  // namespace viommu
