// clients/device_plugin/allocation_book.h -- Which allocations there are, written down in viommud.
//
// An allocation is a principal "alloc-...". Its page in the book is an empty IO address space of
// the operator with that name, whose loaded devices are those that were allocated: the claim alone
// would not tell a device from its siblings, and whatever the container owns it may destroy. A page
// is written first and torn out last, so that nothing that a container may use is ever without one
// while viommud runs; of one that remembers nothing more, listeners may be left, and of one that
// was destroyed, claims of devices that could not be moved.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_ALLOCATION_BOOK_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_ALLOCATION_BOOK_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/device_plugin/viommud.h"

namespace viommu {

struct AllocationRecord {
  std::set<std::string> devices;  // Ids of those that were allocated.
  std::set<std::string> claimed;  // Ids of all that it holds, siblings too.
  uint32_t connections = 0;       // Of its container.
};

// By principal.
using AllocationBook = std::map<std::string, AllocationRecord>;

// A name that no allocation ever had.
std::string NewAllocationName();

// Everything that is left of any allocation.
absl::StatusOr<AllocationBook> ReadBook(Viommud& viommud);

// The allocation that has the device, or null.
const AllocationBook::value_type* AllocationOf(const AllocationBook& book,
                                               const std::string& device);

// Writes the page of a new allocation. A part of it may be there when that fails.
absl::Status WritePage(Viommud& viommud, const std::string& allocation,
                       const std::set<std::string>& devices);

absl::StatusOr<bool> HasPage(Viommud& viommud, const std::string& allocation);

// None there is fine.
absl::Status TearOutPage(Viommud& viommud, const std::string& allocation);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_ALLOCATION_BOOK_H_
