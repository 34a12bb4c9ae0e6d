// server/listen_socket.h -- A socket that clients connect to: bound, listening, ready to accept.
#ifndef VIOMMU_SERVER_LISTEN_SOCKET_H_
#define VIOMMU_SERVER_LISTEN_SOCKET_H_

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/transport.h"
#include "server/unique_fd.h"

namespace viommu {

// Closes the socket when it ends, and removes the file of a unix socket unless somebody else has
// put another one there meanwhile. Thread-compatible.
class ListenSocket {
 public:
  // The socket file of a unix socket; enough to know it again.
  struct File {
    std::string path;  // Empty: none.
    dev_t device = 0;
    ino_t inode = 0;
  };

  ListenSocket(UniqueFd fd, Transport transport, int port, File file)
      : fd_(std::move(fd)), transport_(transport), port_(port), file_(std::move(file)) {}
  ~ListenSocket();
  ListenSocket(ListenSocket&& other) noexcept = default;
  ListenSocket& operator=(ListenSocket&& other) = delete;

  int fd() const { return fd_.get(); }
  Transport transport() const { return transport_; }
  // That of a TCP socket, chosen by the kernel if it was asked to; 1 for a unix socket.
  int port() const { return port_; }

 private:
  UniqueFd fd_;
  Transport transport_;
  int port_;
  File file_;
};

// Listens on "unix:PATH", with mode 0600 from its first moment, or on "HOST:PORT", where a name
// may stand for several addresses: all of them get the same port. Accepted TCP connections fail
// when what was sent stays unacknowledged for `tcp_user_timeout`.
// kUnavailable LISTEN_FAILED: in use, or not an address of this host.
// kUnavailable SOCKET_IN_USE, kFailedPrecondition SOCKET_UNUSABLE: as RemoveStaleSocket.
// kInvalidArgument MALFORMED_ADDRESS: in neither form.
absl::StatusOr<std::vector<ListenSocket>> ListenOn(const std::string& address,
                                                   absl::Duration tcp_user_timeout);

}  // namespace viommu

#endif  // VIOMMU_SERVER_LISTEN_SOCKET_H_
