// server/tenant_door.h -- The door of one tenant: its share of every limit, and no operator.
#ifndef VIOMMU_SERVER_TENANT_DOOR_H_
#define VIOMMU_SERVER_TENANT_DOOR_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/admission.h"
#include "server/door.h"
#include "server/listen_socket.h"
#include "server/no_listener_service.h"

namespace viommu {

// `percent` of `whole`, and 1 at least.
uint64_t ShareOf(uint64_t whole, uint32_t percent);

// What calls through one tenant's socket may take of `limits`.
AdmissionLimits ShareOf(const AdmissionLimits& limits, uint32_t percent);

// Thread-safe.
class TenantDoor {
 public:
  // Serves at once. `whole` is the admission of all doors together and outlives this.
  // As Door::Open.
  static absl::StatusOr<std::unique_ptr<TenantDoor>> Open(const Door::House& house,
                                                          Admission* whole,
                                                          const std::string& owner,
                                                          ListenSocket socket);

  int connections() const { return door_->connections(); }

  void StopAccepting() { door_->StopAccepting(); }

  // Nobody connects any more, connections are cut and calls cancelled at `deadline`. Returns when
  // no call that came through the door runs any more.
  void Close(absl::Time deadline);

 private:
  TenantDoor(const Door::House& house, Admission* whole, const std::string& owner);

  Admission admission_;
  NoListenerService listeners_{&admission_};
  std::unique_ptr<Door> door_;  // Last: it uses both.
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_TENANT_DOOR_H_
