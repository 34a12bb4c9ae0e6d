#include "server/log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FixedEnv : public Env {
 public:
  absl::Time Now() override { return absl::FromUnixMicros(1714564800000007); }
  uint64_t Random() override { return 4; }
};

// A log into a file of its own, to be read back.
class LogTest : public ::testing::Test {
 protected:
  LogTest() : path_(std::string(std::getenv("TEST_TMPDIR")) + "/log") {
    fd_ = open(path_.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_APPEND, 0600);
  }
  ~LogTest() override { close(fd_); }

  std::vector<std::string> Lines() const {
    std::ifstream in(path_);
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }

  const std::string path_;
  int fd_;
  FixedEnv env_;
};

TEST_F(LogTest, WritesOneJsonObjectALine) {
  Log log(LogLevel::kDebug, fd_, &env_);
  log.Write(LogLevel::kInfo, "ready", {{"socket", "/run/a\"b"}, {"port", 7700}, {"drained", true}});
  log.Write(
      LogLevel::kError, "failed",
      {{"error", std::string("first\nsecond")}, {"seconds", 0.25}, {"bytes", uint64_t{1} << 40}});
  log.Write(LogLevel::kWarning, "odd");
  log.Write(LogLevel::kDebug, "rpc");
  EXPECT_THAT(
      Lines(),
      ElementsAre(R"({"time":"2024-05-01T12:00:00.000007Z","level":"info","event":"ready",)"
                  R"("socket":"/run/a\"b","port":7700,"drained":true})",
                  R"({"time":"2024-05-01T12:00:00.000007Z","level":"error","event":"failed",)"
                  R"("error":"first\nsecond","seconds":0.25,"bytes":1099511627776})",
                  R"({"time":"2024-05-01T12:00:00.000007Z","level":"warning","event":"odd"})",
                  R"({"time":"2024-05-01T12:00:00.000007Z","level":"debug","event":"rpc"})"));
}

TEST_F(LogTest, DropsWhatIsBelowItsLevel) {
  Log log(LogLevel::kWarning, fd_, &env_);
  EXPECT_FALSE(log.Enabled(LogLevel::kInfo));
  EXPECT_TRUE(log.Enabled(LogLevel::kError));
  log.Write(LogLevel::kDebug, "debug_event");
  log.Write(LogLevel::kInfo, "info_event");
  log.Write(LogLevel::kWarning, "warning_event");
  log.Write(LogLevel::kError, "error_event");
  EXPECT_THAT(Lines(), ElementsAre(HasSubstr("warning_event"), HasSubstr("error_event")));
}

TEST_F(LogTest, NeverMixesTheLinesOfThreads) {
  constexpr int kThreads = 4, kEvents = 200;
  Log log(LogLevel::kInfo, fd_, &env_);
  const std::string payload(1000, 'x');
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEvents; ++i) log.Write(LogLevel::kInfo, "e", {{"p", payload}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<std::string> lines = Lines();
  ASSERT_EQ(lines.size(), kThreads * kEvents);
  for (const std::string& line : lines) ASSERT_EQ(line, lines[0]);
}

}  // namespace
}  // namespace viommu
