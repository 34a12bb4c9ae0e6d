#include "server/listener.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"

namespace viommu {
namespace {

constexpr int kEventsAtOnce = 64;
// So that a flood on one socket keeps neither the others nor the end of connections waiting.
constexpr int kAcceptsAtOnce = 64;
constexpr int kPauseMilliseconds = 100;
// Refusals that follow each other faster than this are one episode, with one line in the log.
constexpr std::chrono::seconds kQuiet{10};

UniqueFd NewReserve() { return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

UniqueFd Accept(const ListenSocket& socket) {
  return UniqueFd(accept4(socket.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

absl::Status CanNotWait(int error) {
  return Error(absl::StatusCode::kResourceExhausted, "NO_FILE_DESCRIPTOR",
               absl::StrCat("can not wait for connections: ", std::strerror(error)))
      .Errno(strerrorname_np(error));
}

// Whether accept() failed for want of something, rather than over one connection.
bool IsLack(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> Listener::Start(std::vector<ListenSocket> sockets,
                                                          Options options) {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return CanNotWait(errno);
  UniqueFd wake(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!wake.valid()) return CanNotWait(errno);
  UniqueFd reserve = NewReserve();
  if (!reserve.valid()) return CanNotWait(errno);
  std::unique_ptr<Listener> listener(new Listener(std::move(epoll), std::move(wake),
                                                  std::move(reserve), std::move(sockets),
                                                  std::move(options)));
  if (!listener->Watch(listener->wake_.get(), EPOLLIN)) return CanNotWait(errno);
  for (const ListenSocket& socket : listener->sockets_) {
    if (!listener->Watch(socket.fd(), EPOLLIN)) return CanNotWait(errno);
  }
  listener->thread_ = std::thread([raw = listener.get()] { raw->Run(); });
  return listener;
}

Listener::Listener(UniqueFd epoll, UniqueFd wake, UniqueFd reserve,
                   std::vector<ListenSocket> sockets, Options options)
    : epoll_(std::move(epoll)),
      wake_(std::move(wake)),
      options_(std::move(options)),
      limit_(options_.max_connections, options_.whole),
      sockets_(std::move(sockets)),
      reserve_(std::move(reserve)) {}

Listener::~Listener() {
  if (!thread_.joinable()) return;
  EnterPhase(Phase::kEnded);
  thread_.join();
  while (!connections_.empty()) Forget(connections_.begin()->first);
}

void Listener::StopAccepting() {
  EnterPhase(Phase::kWatching);
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&stopped_accepting_));
}

void Listener::EnterPhase(Phase phase) {
  {
    absl::MutexLock lock(&mutex_);
    phase_ = std::max(phase_, phase);
  }
  // It can only fail when it is readable already.
  eventfd_write(wake_.get(), 1);
}

bool Listener::Watch(int fd, uint32_t events) {
  epoll_event event = {};
  event.events = events;
  event.data.fd = fd;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Listener::Run() {
  epoll_event events[kEventsAtOnce];
  while (true) {
    const int count =
        epoll_wait(epoll_.get(), events, kEventsAtOnce, paused_ ? kPauseMilliseconds : -1);
    // Time has passed, or a connection has ended and left what was lacking.
    if (paused_) Resume();
    for (int i = 0; i < count; ++i) {
      if (events[i].data.fd != wake_.get()) {
        Handle(events[i].data.fd, events[i].events);
      } else if (Wake() == Phase::kEnded) {
        return;
      }
    }
  }
}

Listener::Phase Listener::Wake() {
  eventfd_t ignored = 0;
  eventfd_read(wake_.get(), &ignored);
  CloseSockets();
  absl::MutexLock lock(&mutex_);
  stopped_accepting_ = true;
  return phase_;
}

void Listener::CloseSockets() {
  sockets_.clear();
  paused_ = false;
}

void Listener::Handle(int fd, uint32_t events) {
  // An event may lie before us of a socket that was closed since: it is found in neither place.
  for (const ListenSocket& socket : sockets_) {
    if (socket.fd() == fd) return AcceptFrom(socket);
  }
  // Closed in both directions: by gRPC, or by a reset that gRPC sees as well.
  if ((events & EPOLLHUP) != 0 && connections_.contains(fd)) Forget(fd);
}

void Listener::AcceptFrom(const ListenSocket& socket) {
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    UniqueFd connection = Accept(socket);
    if (connection.valid()) {
      Admit(socket, std::move(connection));
      continue;
    }
    // The kernel wants a descriptor before it looks whether anybody is waiting.
    const bool no_file = errno == EMFILE || errno == ENFILE;
    const int error = no_file ? TurnOneAway(socket, errno) : errno;
    if (error == EAGAIN) return;
    if (!IsLack(error)) continue;
    // Whoever waits goes on waiting; the kernel refuses them when they become too many.
    Report(socket.transport(), ConnectionRefusal::kResources, error);
    return Pause();
  }
}

void Listener::Admit(const ListenSocket& socket, UniqueFd connection) {
  const Transport transport = socket.transport();
  if (!limit_.Take(transport)) return Refuse(transport, ConnectionRefusal::kLimit, 0);
  UniqueFd watched(fcntl(connection.get(), F_DUPFD_CLOEXEC, 0));
  // Both ends of the connection being shut is reported without asking; edge-triggered, so that an
  // error which ends nothing is not reported for ever.
  if (!watched.valid() || !Watch(watched.get(), EPOLLET)) {
    const int lack = errno;
    limit_.GiveBack(transport);
    return Refuse(transport, ConnectionRefusal::kResources, lack);
  }
  connections_.emplace(watched.Release(), transport);
  if (options_.metrics != nullptr) options_.metrics->Opened(transport);
  options_.deliver(socket.fd(), std::move(connection));
}

// `lack`: the errno for which it is. 0, or the errno for which not even with the reserve one could
// be taken in; EAGAIN: none waits.
int Listener::TurnOneAway(const ListenSocket& socket, int lack) {
  if (!reserve_.valid()) return lack;
  reserve_.Close();
  const int error = Accept(socket).valid() ? 0 : errno;
  reserve_ = NewReserve();
  if (error == 0) Refuse(socket.transport(), ConnectionRefusal::kResources, lack);
  return error;
}

void Listener::Refuse(Transport transport, ConnectionRefusal why, int error) {
  if (options_.metrics != nullptr) options_.metrics->Refused(transport, why);
  Report(transport, why, error);
}

void Listener::Report(Transport transport, ConnectionRefusal why, int error) {
  const Clock::time_point now = Clock::now();
  std::optional<Clock::time_point>& last = last_refusal_[static_cast<size_t>(why)];
  const bool new_episode = !last.has_value() || now - *last > kQuiet;
  last = now;
  if (!new_episode || options_.log == nullptr) return;
  options_.log->Write(LogLevel::kWarning, "connections_refused",
                      {{"transport", NameOf(transport)},
                       {"reason", NameOf(why)},
                       {"error", error == 0 ? "" : std::strerror(error)},
                       {"connections", connections_.size()}});
}

void Listener::Forget(int watched) {
  const Transport transport = connections_.at(watched);
  connections_.erase(watched);
  limit_.GiveBack(transport);
  if (options_.metrics != nullptr) options_.metrics->Closed(transport);
  // Closing it would not do: the registration lives as long as gRPC's descriptor does.
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, watched, nullptr);
  close(watched);
}

void Listener::Pause() {
  paused_ = true;
  for (const ListenSocket& socket : sockets_) {
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket.fd(), nullptr);
  }
}

void Listener::Resume() {
  paused_ = false;
  if (!reserve_.valid()) reserve_ = NewReserve();
  for (const ListenSocket& socket : sockets_) {
    // Without memory for it, in a while.
    if (!Watch(socket.fd(), EPOLLIN) && errno != EEXIST) paused_ = true;
  }
}

}  // namespace viommu
