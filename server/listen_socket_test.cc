#include "server/listen_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/base/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kUserTimeout = absl::Milliseconds(1500);

class ListenSocketTest : public ::testing::Test {
 protected:
  // A socket's path is at most 107 bytes, and TEST_TMPDIR is often longer.
  ListenSocketTest() { EXPECT_EQ(chdir(std::getenv("TEST_TMPDIR")), 0); }
  ~ListenSocketTest() override { unlink("a.sock"); }

  static bool Exists() {
    struct stat info = {};
    return lstat("a.sock", &info) == 0;
  }
  static int Option(const ListenSocket& socket, int level, int option) {
    int value = -1;
    socklen_t size = sizeof(value);
    EXPECT_EQ(getsockopt(socket.fd(), level, option, &value, &size), 0);
    return value;
  }
  static std::string ReasonOf(const std::string& address) {
    const auto sockets = ListenOn(address, kUserTimeout);
    return sockets.ok() ? "none" : DetailOf(sockets.status())->reason;
  }
};

TEST_F(ListenSocketTest, LetsOnlyTheOwnerConnectWhateverTheUmask) {
  const mode_t before = umask(0);
  const auto sockets = ListenOn("unix:a.sock", kUserTimeout);
  umask(before);
  ASSERT_TRUE(sockets.ok()) << sockets.status();
  struct stat info = {};
  ASSERT_EQ(lstat("a.sock", &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  EXPECT_EQ(sockets->front().port(), 1);
  EXPECT_EQ(sockets->front().transport(), Transport::kUnix);
}

TEST_F(ListenSocketTest, RemovesItsFileWhenItEnds) {
  ASSERT_TRUE(ListenOn("unix:a.sock", kUserTimeout).ok());
  EXPECT_FALSE(Exists());
}

TEST_F(ListenSocketTest, KeepsAFileThatTookThePlaceOfItsOwn) {
  {
    const auto sockets = ListenOn("unix:a.sock", kUserTimeout);
    ASSERT_TRUE(sockets.ok());
    std::ofstream("other") << "precious";
    ASSERT_EQ(rename("other", "a.sock"), 0);
  }
  EXPECT_TRUE(Exists());
}

TEST_F(ListenSocketTest, LeavesTheSocketOfALiveDaemonAlone) {
  const auto live = ListenOn("unix:a.sock", kUserTimeout);
  ASSERT_TRUE(live.ok());
  EXPECT_EQ(ReasonOf("unix:a.sock"), "SOCKET_IN_USE");
  EXPECT_TRUE(Exists());
}

TEST_F(ListenSocketTest, ReportsThePortThatTheKernelChose) {
  const auto first = ListenOn("127.0.0.1:0", kUserTimeout);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_GT(first->front().port(), 0);
  const auto second = ListenOn("127.0.0.1:0", kUserTimeout);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_NE(first->front().port(), second->front().port());
}

TEST_F(ListenSocketTest, GivesEveryAddressOfANameTheSamePort) {
  const auto sockets = ListenOn("localhost:0", kUserTimeout);
  ASSERT_TRUE(sockets.ok()) << sockets.status();
  for (const ListenSocket& socket : *sockets) {
    EXPECT_EQ(socket.port(), sockets->front().port());
  }
}

TEST_F(ListenSocketTest, SetsWhatConnectionsInherit) {
  const auto sockets = ListenOn("127.0.0.1:0", kUserTimeout);
  ASSERT_TRUE(sockets.ok());
  const ListenSocket& socket = sockets->front();
  EXPECT_EQ(Option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT), 1500);
  EXPECT_EQ(Option(socket, IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_EQ(Option(socket, SOL_SOCKET, SO_REUSEADDR), 1);
  EXPECT_EQ(Option(socket, SOL_SOCKET, SO_REUSEPORT), 0);
}

TEST_F(ListenSocketTest, SaysWhichAddressItCanNotListenOnAndWhy) {
  const auto taken = ListenOn("127.0.0.1:0", kUserTimeout);
  ASSERT_TRUE(taken.ok());
  const struct {
    std::string address, errno_name;
  } kCases[] = {
      {absl::StrCat("127.0.0.1:", taken->front().port()), "EADDRINUSE"},
      {"192.0.2.1:0", "EADDRNOTAVAIL"},  // An address of documents: nobody's.
      {"unix:no/such/folder.sock", "ENOENT"},
      {absl::StrCat("unix:", std::string(108, 'a')), "ENAMETOOLONG"},
  };
  for (const auto& c : kCases) {
    const absl::Status status = ListenOn(c.address, kUserTimeout).status();
    SCOPED_TRACE(status.ToString());
    ASSERT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(DetailOf(status)->reason, "LISTEN_FAILED");
    EXPECT_EQ(DetailOf(status)->errno_name, c.errno_name);
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.address));
  }
}

TEST_F(ListenSocketTest, RefusesWhatIsNoAddress) {
  EXPECT_EQ(ReasonOf("nowhere"), "MALFORMED_ADDRESS");
  EXPECT_EQ(ReasonOf("no-such-host.invalid:1"), "LISTEN_FAILED");
  std::ofstream("a.sock") << "precious";
  EXPECT_EQ(ReasonOf("unix:a.sock"), "SOCKET_UNUSABLE");
}

}  // namespace
}  // namespace viommu
