// server/names.h -- Resource names: text in the API, ids and owners in the engine.
//
// "ioas/vm0" is the caller's own object, "owners/alice/ioas/vm0" is Alice's as operators see it.
// Devices and IOMMUs belong to the host and have no owner's form.
#ifndef VIOMMU_SERVER_NAMES_H_
#define VIOMMU_SERVER_NAMES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/types.h"

namespace viommu {

enum class NameKind {
  kIoas,
  kDomain,
  kMemoryRegion,
  kFaultQueue,
  kDevice,
  kIommu,
  kViommu,
  // What belongs to a Viommu: "viommus/vm0/vdevices/nic", with the id "vm0/vdevices/nic".
  kVdevice,
  kEventQueue,
  kHardwareQueue,
  kListener,
};

// The object that `name` means; `field` is where the request has it.
// kInvalidArgument: MISSING_FIELD, it is empty; MALFORMED_NAME.
absl::StatusOr<ObjectRef> ParseName(NameKind kind, absl::string_view field, absl::string_view name);

// As ParseName, for kinds without owners.
absl::StatusOr<std::string> ParseHostName(NameKind kind, absl::string_view field,
                                          absl::string_view name);

// The id of the IOMMU in "iommus/{id}/invalidationQueue".
// kInvalidArgument: MISSING_FIELD, MALFORMED_NAME.
absl::StatusOr<std::string> ParseQueueName(absl::string_view field, absl::string_view name);

// Whether a client may choose `id` for a new object; empty lets the engine choose.
// kInvalidArgument: MALFORMED_NAME.
absl::Status CheckNewId(absl::string_view field, absl::string_view id);

// The name under which `caller` knows the object.
std::string FormatName(NameKind kind, const ObjectView& object, const CallContext& caller);

// "{collection}/{id}".
std::string HostName(NameKind kind, absl::string_view id);
std::string QueueName(absl::string_view iommu);

// "viommu.v1.Ioas" for "ioas/vm0" and "owners/alice/ioas/vm0"; empty for what is no resource name.
std::string ResourceType(absl::string_view name);

}  // namespace viommu

#endif  // VIOMMU_SERVER_NAMES_H_
