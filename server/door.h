// server/door.h -- One way in: sockets, and a gRPC server behind them whose calls all have one
// caller.
//
// Which door a call came through says whose it is. The services behind a door are its own, made for
// its admission, which knows the caller: nothing that a client sends has a part in it.
#ifndef VIOMMU_SERVER_DOOR_H_
#define VIOMMU_SERVER_DOOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "grpcpp/server.h"
#include "server/admission.h"
#include "server/client_watchdog.h"
#include "server/connection_limit.h"
#include "server/listen_socket.h"
#include "server/listener.h"
#include "server/server_options.h"

namespace viommu {

// Thread-safe.
class Door {
 public:
  // What the doors of a server have in common. All of it outlives them.
  struct House {
    Engine* engine = nullptr;
    const ServerOptions* options = nullptr;
    ClientWatchdog* watchdog = nullptr;
    ConnectionLimit* connections = nullptr;
  };
  // What is behind this one, at most.
  struct Limits {
    int max_connections = 0;
    int max_threads = 0;
    size_t max_buffered_bytes = 0;
  };

  // Serves at once; every service and the server as a whole are SERVING. `further` are served
  // beside those that every door has; they and `admission` outlive the door.
  // kResourceExhausted: NO_FILE_DESCRIPTOR, SERVER_NOT_BUILT
  static absl::StatusOr<std::unique_ptr<Door>> Open(const House& house, const Limits& limits,
                                                    Admission* admission,
                                                    const std::vector<grpc::Service*>& further,
                                                    std::vector<ListenSocket> sockets);

  // Full names of the services that every door has, besides those that gRPC brings.
  static std::vector<std::string> ServiceNames();

  // Ends all calls that still run.
  ~Door();
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;

  // How many connections are open.
  int connections() const { return listener_->connections(); }

  // Health becomes NOT_SERVING; what runs goes on, and what is new is refused.
  void Drain();

  // Nobody can connect any more; connections go on.
  void StopAccepting() { listener_->StopAccepting(); }

  // Takes no further call. At `deadline` cancels what still runs, and cuts connections that stay in
  // spite of a GOAWAY. Returns when all have ended.
  void Close(absl::Time deadline);

  // Waits until Close has been called.
  void Wait() { server_->Wait(); }

 private:
  struct Services;

  Door(Admission* admission, std::unique_ptr<Services> services,
       std::unique_ptr<grpc::Server> server, std::unique_ptr<Listener> listener);

  Admission& admission_;
  const std::unique_ptr<Services> services_;  // Outlives server_.
  const std::unique_ptr<grpc::Server> server_;
  const std::unique_ptr<Listener> listener_;  // Feeds server_.
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_DOOR_H_
