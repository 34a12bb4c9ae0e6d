// The daemons here are shell scripts; the real one is started by demo_test.py.
#include "clients/demo/daemon_process.h"

#include <signal.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::HasSubstr;

// Becomes ready; what shall happen on SIGTERM must stand before it. $1 is --state_dir=DIR.
constexpr char kReady[] = R"(
dir=${1#--state_dir=}
echo '{"pid":1,"unix_socket":"/s","metrics_address":"127.0.0.1:9"}' > "$dir/new"
mv "$dir/new" "$dir/endpoints.json"
)";
constexpr char kWait[] = "while :; do sleep 0.01; done\n";

class DaemonProcessTest : public ::testing::Test {
 protected:
  DaemonProcessTest() {
    std::filesystem::create_directories(temporary_);
    setenv("TMPDIR", temporary_.c_str(), /*overwrite=*/1);
  }
  ~DaemonProcessTest() override {
    EXPECT_TRUE(std::filesystem::is_empty(temporary_)) << "a state folder was left behind";
  }

  std::string Script(const std::string& text) {
    std::string path = ::testing::TempDir() + "/daemon.sh";
    std::ofstream(path) << "#!/bin/sh\n" << text;
    chmod(path.c_str(), 0755);
    return path;
  }

  const std::string temporary_ = ::testing::TempDir() + "/tmp";
};

TEST_F(DaemonProcessTest, KnowsWhereAReadyDaemonListens) {
  auto daemon = DaemonProcess::Start(Script("trap 'exit 0' TERM\n" + std::string(kReady) + kWait));
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  EXPECT_EQ((*daemon)->endpoints().unix_socket, "/s");
  EXPECT_EQ((*daemon)->endpoints().metrics_address, "127.0.0.1:9");
  EXPECT_TRUE((*daemon)->Stop().ok());
  EXPECT_TRUE((*daemon)->Stop().ok()) << "nothing is left to stop";
}

TEST_F(DaemonProcessTest, TellsWithWhatItStopped) {
  const struct {
    const char* on_term;
    const char* want;
  } kCases[] = {{"trap 'echo sorry; exit 3' TERM\n", "exit code 3:\nsorry"},
                {"trap 'kill -ABRT $$' TERM\n", "killed by signal 6"}};
  for (const auto& c : kCases) {
    auto daemon = DaemonProcess::Start(Script(c.on_term + std::string(kReady) + kWait));
    ASSERT_TRUE(daemon.ok()) << daemon.status();
    const absl::Status stopped = (*daemon)->Stop();
    EXPECT_EQ(stopped.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(stopped.message()), HasSubstr(c.want));
  }
}

TEST_F(DaemonProcessTest, SaysWhyItCouldNotBeStarted) {
  const struct {
    std::string program;
    absl::StatusCode code;
    const char* want;
  } kCases[] = {
      {"/nonexistent/viommud", absl::StatusCode::kNotFound, "No such file or directory"},
      {::testing::TempDir(), absl::StatusCode::kNotFound, "Permission denied"},
      {Script("echo no port >&2; exit 2\n"), absl::StatusCode::kUnavailable,
       "exit code 2):\nno port"},
  };
  for (const auto& c : kCases) {
    const absl::Status status = DaemonProcess::Start(c.program).status();
    EXPECT_EQ(status.code(), c.code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.want));
  }
}

TEST_F(DaemonProcessTest, LeavesNoProcessBehind) {
  pid_t pid = 0;
  {
    auto daemon = DaemonProcess::Start(Script(std::string(kReady) + kWait));
    ASSERT_TRUE(daemon.ok()) << daemon.status();
    pid = (*daemon)->pid();
    EXPECT_EQ(kill(pid, 0), 0);
  }
  EXPECT_NE(kill(pid, 0), 0);
}

TEST(ParseEndpointsTest, RefusesWhatViommudDoesNotWrite) {
  for (const char* json :
       {"", "[]", "{}", R"({"unix_socket":"/s"})", R"({"unix_socket":"/s","metrics_address":""})",
        R"({"unix_socket":7,"metrics_address":"a:1"})"}) {
    EXPECT_EQ(ParseEndpoints(json).status().code(), absl::StatusCode::kInvalidArgument) << json;
  }
}

}  // namespace
}  // namespace viommu
