#include "server/server.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/time/clock.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "server/admission.h"
#include "server/client_watchdog.h"
#include "server/connection_limit.h"
#include "server/door.h"
#include "server/listen_socket.h"
#include "server/listener_service.h"
#include "server/tenant_listeners.h"

namespace viommu {
namespace {

// For the last frames when no call of ours runs any more. gRPC would wait longer for health watches
// and for peers that do not heed GOAWAY.
constexpr absl::Duration kFarewell = absl::Seconds(2);

// Listens on every address; `ports` gets the first port of each.
absl::StatusOr<std::vector<ListenSocket>> ListenOnAll(const ServerOptions& options,
                                                      std::vector<int>* ports) {
  std::vector<ListenSocket> all;
  for (const std::string& address : options.listen_addresses) {
    ASSIGN_OR_RETURN(std::vector<ListenSocket> sockets,
                     ListenOn(address, options.keepalive_timeout));
    ports->push_back(sockets.front().port());
    std::move(sockets.begin(), sockets.end(), std::back_inserter(all));
  }
  return all;
}

}  // namespace

// Each part uses those above it.
struct Server::House {
  House(Engine* engine, ServerOptions given)
      : options(std::move(given)),
        watchdog(options.stream_write_timeout),
        connections(options.max_connections),
        admission(options.admission, options.admission_metrics),
        common{engine, &options, &watchdog, &connections} {}

  absl::Status OpenTenants() {
    if (!options.listener_dir.empty()) {
      ASSIGN_OR_RETURN(tenants, TenantListeners::Open(common, &admission));
    }
    listeners = std::make_unique<ListenerService>(tenants.get(), &admission);
    return absl::OkStatus();
  }

  absl::Status OpenForOperators(std::vector<ListenSocket> sockets) {
    std::vector<grpc::Service*> further = options.further_services;
    further.push_back(listeners.get());
    const Door::Limits limits = {options.max_connections, options.max_threads,
                                 options.max_buffered_bytes};
    ASSIGN_OR_RETURN(door, Door::Open(common, limits, &admission, further, std::move(sockets)));
    return absl::OkStatus();
  }

  const ServerOptions options;
  ClientWatchdog watchdog;
  ConnectionLimit connections;
  Admission admission;
  const Door::House common;
  std::unique_ptr<TenantListeners> tenants;  // Null: there are none.
  std::unique_ptr<ListenerService> listeners;
  std::unique_ptr<Door> door;
};

absl::StatusOr<std::unique_ptr<Server>> Server::Start(Engine* engine, ServerOptions options) {
  if (options.listen_addresses.empty()) {
    return Error(absl::StatusCode::kInvalidArgument, "NO_LISTEN_ADDRESS", "no address to listen on")
        .ToStatus();
  }
  std::vector<int> ports;
  ASSIGN_OR_RETURN(std::vector<ListenSocket> sockets, ListenOnAll(options, &ports));
  auto house = std::make_unique<House>(engine, std::move(options));
  RETURN_IF_ERROR(house->OpenTenants());
  RETURN_IF_ERROR(house->OpenForOperators(std::move(sockets)));
  return std::unique_ptr<Server>(new Server(std::move(house), std::move(ports)));
}

Server::Server(std::unique_ptr<House> house, std::vector<int> ports)
    : house_(std::move(house)), ports_(std::move(ports)) {}

Server::~Server() { Shutdown(absl::UnixEpoch()); }

std::vector<std::string> Server::ServiceNames() { return Door::ServiceNames(); }

void Server::Drain() { house_->door->Drain(); }

void Server::Shutdown(absl::Time deadline) {
  // A call that reaches gRPC while it shuts down is told nothing of use; ours tells it first. Calls
  // of tenants are counted, and refused, by the same admission.
  Drain();
  house_->admission.AwaitQuiet(deadline);
  // gRPC would not even close a connection that it gets from now on.
  if (house_->tenants != nullptr) house_->tenants->StopAccepting();
  house_->door->StopAccepting();
  const absl::Time farewell = std::min(deadline, absl::Now() + kFarewell);
  // Operators first: what they have under way may still delete a listener.
  house_->door->Close(farewell);
  if (house_->tenants != nullptr) house_->tenants->Close(farewell);
}

void Server::Wait() { house_->door->Wait(); }

}  // namespace viommu
