// clients/client/destroy_owned.h -- Takes from one owner everything that it has, as an operator.
#ifndef VIOMMU_CLIENTS_CLIENT_DESTROY_OWNED_H_
#define VIOMMU_CLIENTS_CLIENT_DESTROY_OWNED_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/client/client.h"

namespace viommu {

struct Destruction {
  int taken = 0;                  // Attachments, PASIDs and objects that went.
  std::vector<std::string> left;  // Names of what the owner still has, as an operator sees them.
  absl::Status why;               // Why the first of these could not go; OK when nothing is left.
};

// Detaches whatever the owner has attached, frees its PASIDs and deletes its objects, in the order
// in which they stand on each other; again, while that takes something away and there is more.
// Devices stay claimed, and blocked. Who could still make something for the owner has to be kept
// off before: delete its listener first.
// What is listed could not be read: any error of the listings.
absl::StatusOr<Destruction> DestroyOwned(Client& client, const std::string& owner);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_CLIENT_DESTROY_OWNED_H_
