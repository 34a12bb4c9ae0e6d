#include "server/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class UnixSocketTest : public ::testing::Test {
 protected:
  // A socket's path is at most 107 bytes, and TEST_TMPDIR is often longer.
  UnixSocketTest() { EXPECT_EQ(chdir(std::getenv("TEST_TMPDIR")), 0); }
  ~UnixSocketTest() override { unlink(path_.c_str()); }

  // A socket that listens at `path_`.
  int Listen() const {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof(address.sun_path) - 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(fd, 0), 0);
    return fd;
  }
  bool Exists() const {
    struct stat info = {};
    return lstat(path_.c_str(), &info) == 0;
  }

  const std::string path_ = "viommud.sock";
};

TEST_F(UnixSocketTest, AcceptsAPathWithNothingThere) { EXPECT_TRUE(RemoveStaleSocket(path_).ok()); }

TEST_F(UnixSocketTest, RemovesTheSocketOfADaemonThatDied) {
  close(Listen());
  ASSERT_TRUE(Exists());
  EXPECT_TRUE(RemoveStaleSocket(path_).ok());
  EXPECT_FALSE(Exists());
}

TEST_F(UnixSocketTest, KeepsTheSocketOfALiveDaemon) {
  const int fd = Listen();
  // The second and later attempts meet a backlog that the earlier ones filled.
  for (int attempt = 0; attempt < 4; ++attempt) {
    const absl::Status status = RemoveStaleSocket(path_);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(path_), HasSubstr("is in use by a running viommud")));
    EXPECT_TRUE(Exists());
  }
  close(fd);
}

TEST_F(UnixSocketTest, KeepsAFileThatIsNoSocket) {
  std::ofstream(path_) << "precious";
  const absl::Status status = RemoveStaleSocket(path_);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no socket"));
  EXPECT_TRUE(Exists());
}

TEST_F(UnixSocketTest, LeavesAMissingFolderToTheOneWhoBinds) {
  EXPECT_TRUE(RemoveStaleSocket("none/s").ok());
}

}  // namespace
}  // namespace viommu
