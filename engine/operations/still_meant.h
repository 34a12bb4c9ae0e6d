// engine/operations/still_meant.h -- A stream does not go on with another object that got the name
// of the one it was opened for.
#ifndef VIOMMU_ENGINE_OPERATIONS_STILL_MEANT_H_
#define VIOMMU_ENGINE_OPERATIONS_STILL_MEANT_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "engine/model/object.h"

namespace viommu {

// `only`: the uid that the name must still mean; 0: whichever has it. `principal` is told.
// kNotFound <KIND>_NOT_FOUND: the object is another.
absl::Status CheckStillMeant(const Object& object, Uid only, absl::string_view principal);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_STILL_MEANT_H_
