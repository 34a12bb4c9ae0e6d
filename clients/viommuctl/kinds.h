// clients/viommuctl/kinds.h -- The kinds of objects: how commands call them and what names they
// have.
#ifndef VIOMMU_CLIENTS_VIOMMUCTL_KINDS_H_
#define VIOMMU_CLIENTS_VIOMMUCTL_KINDS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace viommu {

enum class Kind {
  kNone,
  kRegion,
  kIoas,
  kDomain,
  kDevice,
  kIommu,
  kQueue,
  kFaultQueue,
  kViommu,
  kVdevice,
  kEventQueue,
  kHardwareQueue,
  kListener,
};

// How one kind is written.
struct KindWords {
  Kind kind;
  absl::string_view singular;    // "domain", as in `get domain`.
  absl::string_view plural;      // "domains", as in `list domains`.
  absl::string_view prefix;      // "domains/", of resource names.
  absl::string_view suffix;      // "/invalidationQueue"; mostly empty.
  absl::string_view below = "";  // "/vdevices/" of what belongs to a Viommu; else empty.
};

// One row for each kind but kNone.
absl::Span<const KindWords> AllKinds();
const KindWords& WordsOf(Kind kind);

// The resource name that `text` means where a `kind` is expected: an id ("vm0") gets the prefix of
// its kind; "ioas/vm0" and "owners/x/ioas/vm0" stay as they are. What belongs to a Viommu is called
// "vm0/nic", or by its resource name.
// kInvalidArgument: it is empty, or the name of another kind.
absl::StatusOr<std::string> ResourceName(Kind kind, absl::string_view text);

// How a command names the object again: the id, or "vm0/nic", where that is enough, else the
// resource name.
std::string ShortName(absl::string_view resource_name);

// The kind of a resource name; kNone: of none.
Kind KindOf(absl::string_view resource_name);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_VIOMMUCTL_KINDS_H_
