#include "server/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/base/env.h"
#include "engine/base/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/text_serializer.h"

namespace viommu {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(20);

class ListenerTest : public ::testing::Test {
 protected:
  ListenerTest() {
    EXPECT_EQ(chdir(std::getenv("TEST_TMPDIR")), 0);
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &files_), 0);
  }
  ~ListenerTest() override { setrlimit(RLIMIT_NOFILE, &files_); }

  // Listens on a TCP and a unix socket.
  void Start(int max_connections) {
    std::vector<ListenSocket> sockets;
    for (const char* address : {"127.0.0.1:0", "unix:l.sock"}) {
      auto more = ListenOn(address, absl::Seconds(10));
      ASSERT_TRUE(more.ok()) << more.status();
      std::move(more->begin(), more->end(), std::back_inserter(sockets));
    }
    port_ = sockets.front().port();
    Listener::Options options;
    options.max_connections = max_connections;
    options.metrics = &metrics_;
    options.log = &log_;
    options.deliver = [this](int, UniqueFd connection) {
      absl::MutexLock lock(&mutex_);
      delivered_.push_back(std::move(connection));
    };
    auto listener = Listener::Start(std::move(sockets), std::move(options));
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
  }

  sockaddr_in Address() const {
    sockaddr_in name = {};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    name.sin_port = htons(static_cast<uint16_t>(port_));
    return name;
  }

  static UniqueFd NewClient() {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval patience = {20, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
  }

  bool Connects(const UniqueFd& client) const {
    const sockaddr_in name = Address();
    return connect(client.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0;
  }

  // A client's end of a new connection; the kernel completes it before the listener sees it.
  UniqueFd Connect() const {
    UniqueFd fd = NewClient();
    EXPECT_TRUE(Connects(fd));
    return fd;
  }

  // Whether the other side closes it, rather than saying nothing for long.
  static bool IsClosed(const UniqueFd& fd) {
    char byte = 0;
    const ssize_t got = recv(fd.get(), &byte, 1, 0);
    return got == 0 || (got < 0 && errno == ECONNRESET);
  }

  void AwaitDelivered(size_t count) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [this, count]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return delivered_.size() >= count;
    };
    ASSERT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&enough), kPatience));
  }

  // Ends the connections that were delivered, as gRPC does: shut down, then closed.
  void EndAll() {
    absl::MutexLock lock(&mutex_);
    for (const UniqueFd& fd : delivered_) shutdown(fd.get(), SHUT_RDWR);
    delivered_.clear();
  }

  bool Await(const std::string& line) const {
    for (const absl::Time end = absl::Now() + kPatience; absl::Now() < end;) {
      if (absl::StrContains(Scrape(), line)) return true;
      absl::SleepFor(absl::Milliseconds(2));
    }
    return false;
  }
  bool AwaitOpen(int count) const {
    return Await(absl::StrCat("viommu_connections{transport=\"tcp\"} ", count, "\n"));
  }
  bool AwaitRefused(const char* reason, int count) const {
    return Await(absl::StrCat("viommu_connections_refused_total{reason=\"", reason,
                              "\",transport=\"tcp\"} ", count, "\n"));
  }
  std::string Scrape() const { return prometheus::TextSerializer().Serialize(registry_.Collect()); }

  // What the listener logged.
  std::string Logged() const {
    std::ifstream file("log");
    return {std::istreambuf_iterator<char>(file), {}};
  }

  // No descriptor can be made any more, but in the place of one that is closed.
  void TakeAllFiles() const {
    const UniqueFd lowest(dup(0));
    rlimit limit = files_;
    limit.rlim_cur = static_cast<rlim_t>(lowest.get());
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  }
  void GiveFilesBack() const { ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &files_), 0); }

  rlimit files_ = {};
  prometheus::Registry registry_;
  ConnectionMetrics metrics_{&registry_};
  UniqueFd log_file_{open("log", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
  Log log_{LogLevel::kInfo, log_file_.get(), RealEnv()};
  int port_ = 0;
  absl::Mutex mutex_;
  std::vector<UniqueFd> delivered_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Listener> listener_;
};

TEST_F(ListenerTest, DeliversConnectionsAndSeesTheirEnd) {
  Start(64);
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 10; ++i) clients.push_back(Connect());
  AwaitDelivered(10);
  EXPECT_TRUE(AwaitOpen(10));
  EndAll();
  EXPECT_TRUE(AwaitOpen(0));
  for (const UniqueFd& client : clients) EXPECT_TRUE(IsClosed(client));
}

TEST_F(ListenerTest, CountsAConnectionWhoseClientOnlyStoppedSending) {
  Start(64);
  const UniqueFd client = Connect();
  AwaitDelivered(1);
  ASSERT_EQ(shutdown(client.get(), SHUT_WR), 0);
  // A later connection is seen after what came before it.
  const UniqueFd other = Connect();
  AwaitDelivered(2);
  EXPECT_TRUE(AwaitOpen(2));
}

TEST_F(ListenerTest, SeesTheEndOfAConnectionThatWasReset) {
  Start(64);
  UniqueFd client = Connect();
  AwaitDelivered(1);
  const linger reset = {1, 0};
  setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  client.Close();
  EXPECT_TRUE(AwaitOpen(0));
}

TEST_F(ListenerTest, ClosesConnectionsBeyondTheLimitAndLogsItOnce) {
  Start(8);
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 7; ++i) clients.push_back(Connect());
  AwaitDelivered(7);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(IsClosed(Connect()));
  EXPECT_TRUE(AwaitRefused("limit", 5));
  EXPECT_THAT(Logged(), HasSubstr("\"reason\":\"limit\""));
  EXPECT_EQ(Logged().find("connections_refused"), Logged().rfind("connections_refused"));
  EndAll();
  ASSERT_TRUE(AwaitOpen(0));
  const UniqueFd next = Connect();
  AwaitDelivered(1);
}

TEST_F(ListenerTest, TurnsConnectionsAwayWithoutFilesAndRecovers) {
  Start(64);
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 8; ++i) clients.push_back(NewClient());
  TakeAllFiles();
  for (const UniqueFd& client : clients) ASSERT_TRUE(Connects(client));
  for (const UniqueFd& client : clients) EXPECT_TRUE(IsClosed(client));
  EXPECT_TRUE(AwaitRefused("resources", 8));
  GiveFilesBack();
  EXPECT_THAT(Logged(), HasSubstr("Too many open files"));
  EXPECT_EQ(Logged().find("connections_refused"), Logged().rfind("connections_refused"));
  const UniqueFd next = Connect();
  AwaitDelivered(1);
  EXPECT_TRUE(AwaitOpen(1));
}

TEST_F(ListenerTest, StopsAcceptingButStillSeesConnectionsEnd) {
  Start(64);
  const UniqueFd client = Connect();
  AwaitDelivered(1);
  listener_->StopAccepting();
  listener_->StopAccepting();
  EXPECT_NE(access("l.sock", F_OK), 0);
  EXPECT_FALSE(Connects(NewClient()));
  EXPECT_TRUE(AwaitOpen(1));
  EndAll();
  EXPECT_TRUE(AwaitOpen(0));
}

TEST_F(ListenerTest, ForgetsConnectionsThatOutliveIt) {
  Start(64);
  const UniqueFd client = Connect();
  AwaitDelivered(1);
  listener_.reset();
  EXPECT_TRUE(AwaitOpen(0));
}

TEST_F(ListenerTest, RefusesToStartWithoutFiles) {
  auto sockets = ListenOn("127.0.0.1:0", absl::Seconds(10));
  ASSERT_TRUE(sockets.ok());
  TakeAllFiles();
  const auto listener = Listener::Start(*std::move(sockets), {});
  GiveFilesBack();
  EXPECT_EQ(listener.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(listener.status().message()), HasSubstr("Too many open files"));
  EXPECT_EQ(DetailOf(listener.status())->errno_name, "EMFILE");
}

}  // namespace
}  // namespace viommu
