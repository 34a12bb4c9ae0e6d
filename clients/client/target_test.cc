#include "clients/client/target.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::HasSubstr;

TEST(TargetTest, UnderstandsSockets) {
  const struct {
    const char* text;
    const char* grpc;
    const char* path;
  } kCases[] = {
      {"unix:/run/v.sock", "unix:/run/v.sock", "/run/v.sock"},
      {"unix:///run/v.sock", "unix:/run/v.sock", "/run/v.sock"},
      {"unix:v.sock", "unix:v.sock", "v.sock"},
      {"/run/v.sock", "unix:/run/v.sock", "/run/v.sock"},
      {"./v.sock", "unix:./v.sock", "./v.sock"},
      {"state/v.sock", "unix:state/v.sock", "state/v.sock"},
      {"/a b/50%?#:", "unix:/a%20b/50%25%3F%23%3A", "/a b/50%?#:"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.text);
    const auto target = ParseTarget(c.text);
    ASSERT_TRUE(target.ok()) << target.status();
    EXPECT_EQ(target->grpc, c.grpc);
    EXPECT_EQ(target->socket_path, c.path);
  }
}

TEST(TargetTest, UnderstandsHostsWithPorts) {
  for (const char* text : {"127.0.0.1:7300", "localhost:1", "vm-host.example:65535", "[::1]:7300",
                           "[fe80::1%eth0]:7300"}) {
    SCOPED_TRACE(text);
    const auto target = ParseTarget(text);
    ASSERT_TRUE(target.ok()) << target.status();
    EXPECT_EQ(target->grpc, text);
    EXPECT_EQ(target->socket_path, "");
  }
}

TEST(TargetTest, RefusesTheRestAndSaysWhy) {
  const struct {
    std::string text;
    const char* why;
  } kCases[] = {
      {"", "there is no port"},
      {"localhost", "there is no port"},
      {"localhost:", "the port is not 1 to 65535"},
      {"localhost:0", "the port is not 1 to 65535"},
      {"localhost:65536", "the port is not 1 to 65535"},
      {"localhost:http", "the port is not 1 to 65535"},
      {"localhost:+80", "the port is not 1 to 65535"},
      {"localhost: 80", "the port is not 1 to 65535"},
      {"localhost:80 ", "the port is not 1 to 65535"},
      {":7300", "the host is none"},
      {"[]:7300", "the host is none"},
      {"::1:7300", "the host is none"},
      {"a b:7300", "the host is none"},
      {"unix:", "the path is empty"},
      {"unix://run/v.sock", "an absolute path"},
      {"http://localhost:7300", "not known"},
      {"/" + std::string(107, 'x'), "the path has 108 bytes, a socket's may have 107"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.text);
    const auto target = ParseTarget(c.text);
    EXPECT_EQ(target.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(target.status().message()), HasSubstr(c.why));
    EXPECT_THAT(std::string(target.status().message()), HasSubstr("HOST:PORT"));
  }
}

TEST(TargetTest, TakesTheLongestPath) {
  EXPECT_TRUE(ParseTarget("/" + std::string(106, 'x')).ok());
}

TEST(TargetTest, SeesWhoListensWithoutAnswering) {
  // A socket's path is at most 107 bytes, and TEST_TMPDIR is often longer.
  ASSERT_EQ(chdir(std::getenv("TEST_TMPDIR")), 0);
  EXPECT_FALSE(IsListenedAt(""));
  EXPECT_FALSE(IsListenedAt("none.sock"));
  EXPECT_FALSE(IsListenedAt(std::string(200, 'x')));
  std::fclose(std::fopen("file", "w"));
  EXPECT_FALSE(IsListenedAt("file"));
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  std::snprintf(name.sun_path, sizeof(name.sun_path), "v.sock");
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  EXPECT_FALSE(IsListenedAt("v.sock"));
  ASSERT_EQ(listen(fd, 0), 0);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(IsListenedAt("v.sock")) << "nobody takes them in";
  close(fd);
  EXPECT_FALSE(IsListenedAt("v.sock")) << "it was killed";
}

}  // namespace
}  // namespace viommu
