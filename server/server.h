// server/server.h -- The gRPC front of one Engine: services, health, reflection, limits.
//
// A Server keeps nothing that a client could miss: several may front one Engine, and one may be
// destroyed while others go on. It has a door for operators, and one for each tenant.
#ifndef VIOMMU_SERVER_SERVER_H_
#define VIOMMU_SERVER_SERVER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "server/server_options.h"

namespace viommu {

// Thread-safe.
class Server {
 public:
  // Serves at once; every service and the server as a whole are SERVING. `engine` outlives the
  // server.
  // kInvalidArgument: NO_LISTEN_ADDRESS; MALFORMED_ADDRESS, one of them is no address.
  // kUnavailable: LISTEN_FAILED, SOCKET_IN_USE: an address can not be listened on; it is named.
  // kFailedPrecondition: SOCKET_UNUSABLE, something else is where the unix socket should be.
  // kFailedPrecondition: LISTENER_DIR_UNUSABLE, LISTENER_DIR_IN_USE.
  // kResourceExhausted: NO_FILE_DESCRIPTOR, SERVER_NOT_BUILT.
  static absl::StatusOr<std::unique_ptr<Server>> Start(Engine* engine, ServerOptions options);

  // Full names of the services that it serves, besides those that gRPC brings.
  static std::vector<std::string> ServiceNames();

  // Ends all calls that still run.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // The port that each listen address got, in order; 1 for a unix socket.
  const std::vector<int>& ports() const { return ports_; }

  // Health becomes NOT_SERVING, so that balancers and probes look elsewhere. Calls that run and
  // streams that are open go on; new ones are refused with UNAVAILABLE DRAINING.
  void Drain();

  // Drains, and when nothing runs any more takes no further call. Cancels what still runs at
  // `deadline`; what gRPC serves by itself (health watches) and connections that stay in spite of
  // a GOAWAY have two seconds from when nothing runs. Returns when all have ended.
  void Shutdown(absl::Time deadline);

  // Waits until Shutdown has been called.
  void Wait();

 private:
  struct House;

  Server(std::unique_ptr<House> house, std::vector<int> ports);

  const std::unique_ptr<House> house_;
  const std::vector<int> ports_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_SERVER_H_
