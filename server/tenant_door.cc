#include "server/tenant_door.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "server/caller.h"

namespace viommu {
namespace {

// For health, reflection, refusals and gRPC's own pollers.
constexpr uint32_t kSpareThreads = 16;

Door::Limits LimitsOf(const ServerOptions& options, const AdmissionLimits& share) {
  const uint32_t percent = options.listener_share_percent;
  Door::Limits limits;
  limits.max_connections =
      static_cast<int>(ShareOf(static_cast<uint64_t>(options.max_connections), percent));
  limits.max_threads =
      static_cast<int>(share.max_calls + share.max_revokes + share.max_streams + kSpareThreads);
  // A message that is buffered in parts until it is whole must fit.
  limits.max_buffered_bytes =
      std::max<size_t>(ShareOf(options.max_buffered_bytes, percent), options.max_message_bytes);
  return limits;
}

}  // namespace

uint64_t ShareOf(uint64_t whole, uint32_t percent) {
  return std::max<uint64_t>(1, whole * percent / 100);
}

AdmissionLimits ShareOf(const AdmissionLimits& limits, uint32_t percent) {
  AdmissionLimits share = limits;
  for (uint32_t* most : {&share.max_calls, &share.max_revokes, &share.max_streams}) {
    *most = static_cast<uint32_t>(ShareOf(*most, percent));
  }
  return share;
}

absl::StatusOr<std::unique_ptr<TenantDoor>> TenantDoor::Open(const Door::House& house,
                                                             Admission* whole,
                                                             const std::string& owner,
                                                             ListenSocket socket) {
  std::unique_ptr<TenantDoor> tenant(new TenantDoor(house, whole, owner));
  Admission* const admission = &tenant->admission_;
  std::vector<ListenSocket> sockets;
  sockets.push_back(std::move(socket));
  ASSIGN_OR_RETURN(tenant->door_, Door::Open(house, LimitsOf(*house.options, admission->limits()),
                                             admission, {&tenant->listeners_}, std::move(sockets)));
  return tenant;
}

TenantDoor::TenantDoor(const Door::House& house, Admission* whole, const std::string& owner)
    : admission_(ShareOf(house.options->admission, house.options->listener_share_percent),
                 house.options->admission_metrics, Caller::Tenant(owner), whole) {}

void TenantDoor::Close(absl::Time deadline) {
  door_->Drain();
  door_->StopAccepting();
  door_->Close(deadline);
}

}  // namespace viommu
