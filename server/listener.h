// server/listener.h -- Accepts connections, hands them on, and knows when they end.
//
// gRPC 1.51 accepts by itself too, but for good gives up a socket once it meets a lack of file
// descriptors. This one turns connections away while there is a lack and goes on when it is over.
#ifndef VIOMMU_SERVER_LISTENER_H_
#define VIOMMU_SERVER_LISTENER_H_

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/connection_limit.h"
#include "server/connection_metrics.h"
#include "server/listen_socket.h"
#include "server/log.h"
#include "server/transport.h"
#include "server/unique_fd.h"

namespace viommu {

// One thread serves all sockets. Thread-safe.
class Listener {
 public:
  struct Options {
    int max_connections = 1024;
    // Counts the connections of all listeners; null: there are no others. Outlives the listener.
    ConnectionLimit* whole = nullptr;
    ConnectionMetrics* metrics = nullptr;  // May be null. Outlives the listener.
    Log* log = nullptr;                    // May be null. Outlives the listener.
    // Takes over each accepted connection, on the listener's thread. It must shutdown() the socket
    // before it closes it: that is how the listener sees the end of a connection.
    std::function<void(int listen_fd, UniqueFd connection)> deliver;
  };

  // Accepts at once.
  // kResourceExhausted NO_FILE_DESCRIPTOR: not even the listener's own descriptors can be had, or
  //                    there is no memory for them; the errno says which.
  static absl::StatusOr<std::unique_ptr<Listener>> Start(std::vector<ListenSocket> sockets,
                                                         Options options);

  // Accepts no more; open connections are not touched.
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // How many connections are open.
  int connections() const { return limit_.open(); }

  // Closes the sockets. When it returns, nothing is delivered any more; the ends of open
  // connections are still seen.
  void StopAccepting();

 private:
  using Clock = std::chrono::steady_clock;
  enum class Phase { kAccepting, kWatching, kEnded };

  Listener(UniqueFd epoll, UniqueFd wake, UniqueFd reserve, std::vector<ListenSocket> sockets,
           Options options);

  bool Watch(int fd, uint32_t events);
  void EnterPhase(Phase phase);

  // All from here on runs on thread_.
  void Run();
  Phase Wake();
  void CloseSockets();
  void Handle(int fd, uint32_t events);
  void AcceptFrom(const ListenSocket& socket);
  void Admit(const ListenSocket& socket, UniqueFd connection);
  int TurnOneAway(const ListenSocket& socket, int lack);
  void Refuse(Transport transport, ConnectionRefusal why, int error);
  void Report(Transport transport, ConnectionRefusal why, int error);
  void Forget(int watched);
  void Pause();
  void Resume();

  const UniqueFd epoll_;
  const UniqueFd wake_;  // An eventfd; readable when phase_ has changed.
  const Options options_;

  absl::Mutex mutex_;
  Phase phase_ ABSL_GUARDED_BY(mutex_) = Phase::kAccepting;
  bool stopped_accepting_ ABSL_GUARDED_BY(mutex_) = false;

  ConnectionLimit limit_;

  // Owned by thread_ from here on.
  std::vector<ListenSocket> sockets_;
  // A duplicate of each open connection's descriptor, and how it came in.
  absl::flat_hash_map<int, Transport> connections_;
  // Given up for a moment to take a connection in and close it, so that its client is told.
  UniqueFd reserve_;
  bool paused_ = false;
  std::optional<Clock::time_point> last_refusal_[kConnectionRefusals];

  std::thread thread_;  // Last: it uses all the others.
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_LISTENER_H_
