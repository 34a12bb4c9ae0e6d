#include "server/config.h"

#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"
#include "viommu/config/v1/config.pb.h"

namespace viommu {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

struct Loaded {
  Config config;
  Problems problems;
};

Environment Variables(std::map<std::string, std::string> variables) {
  return [variables](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
}

Loaded Load(const std::vector<std::string>& arguments,
            const std::map<std::string, std::string>& variables = {}) {
  Loaded loaded;
  const CommandLine line = ParseCommandLine(arguments, &loaded.problems);
  loaded.config = LoadConfig(line, Variables(variables), &loaded.problems);
  return loaded;
}

std::string WriteFile(const std::string& text) {
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/c.textproto";
  std::ofstream(path) << text;
  return path;
}

TEST(ConfigTest, HasTheDocumentedDefaults) {
  const auto [config, problems] = Load({});
  EXPECT_THAT(problems, IsEmpty());
  EXPECT_EQ(config.state_dir, ".state");
  EXPECT_EQ(config.unix_socket, ".state/viommud.sock");
  EXPECT_EQ(config.tcp_address, "");
  EXPECT_EQ(config.metrics_address, "127.0.0.1:9477");
  EXPECT_EQ(config.topology, "");
  EXPECT_EQ(config.max_message_bytes, 4194304u);
  EXPECT_EQ(config.max_threads, 256u);
  EXPECT_EQ(config.max_calls, 128u);
  EXPECT_EQ(config.max_revokes, 32u);
  EXPECT_EQ(config.max_streams, 64u);
  EXPECT_EQ(config.max_wait, absl::Minutes(1));
  EXPECT_EQ(config.stream_write_timeout, absl::Seconds(10));
  EXPECT_EQ(config.max_stream_bytes_in_flight, 8388608u);
  EXPECT_EQ(config.drain_timeout, absl::Seconds(30));
  EXPECT_EQ(config.log_level, LogLevel::kInfo);
}

TEST(ConfigTest, TakesTheStateFolderOfSystemd) {
  EXPECT_EQ(Load({}, {{"STATE_DIRECTORY", "/var/lib/viommu"}}).config.unix_socket,
            "/var/lib/viommu/viommud.sock");
  EXPECT_EQ(Load({}, {{"STATE_DIRECTORY", "/a:/b"}}).config.state_dir, "/a");
  EXPECT_EQ(Load({}, {{"STATE_DIRECTORY", ""}}).config.state_dir, ".state");
  EXPECT_EQ(Load({"--state_dir=x"}, {{"STATE_DIRECTORY", "/a"}}).config.state_dir, "x");
}

TEST(ConfigTest, ReadsEverySettingFromTheFile) {
  const std::string path = WriteFile(R"(
    state_dir: "s" unix_socket: "u.sock" tcp_address: "[::1]:0" metrics_address: ""
    topology: "t" max_message_bytes: 65536 max_threads: 24 drain_timeout_seconds: 0
    log_level: LOG_LEVEL_ERROR max_calls: 1 max_revokes: 2 max_streams: 3 max_wait_seconds: 4
    stream_write_timeout_seconds: 5 max_stream_bytes_in_flight: 70000
  )");
  const auto [config, problems] = Load({"--config", path});
  EXPECT_THAT(problems, IsEmpty());
  EXPECT_EQ(config.state_dir, "s");
  EXPECT_EQ(config.unix_socket, "u.sock");
  EXPECT_EQ(config.tcp_address, "[::1]:0");
  EXPECT_EQ(config.metrics_address, "");
  EXPECT_EQ(config.topology, "t");
  EXPECT_EQ(config.max_message_bytes, 65536u);
  EXPECT_EQ(config.max_threads, 24u);
  EXPECT_EQ(config.max_calls, 1u);
  EXPECT_EQ(config.max_revokes, 2u);
  EXPECT_EQ(config.max_streams, 3u);
  EXPECT_EQ(config.max_wait, absl::Seconds(4));
  EXPECT_EQ(config.stream_write_timeout, absl::Seconds(5));
  EXPECT_EQ(config.max_stream_bytes_in_flight, 70000u);
  EXPECT_EQ(config.drain_timeout, absl::ZeroDuration());
  EXPECT_EQ(config.log_level, LogLevel::kError);
}

TEST(ConfigTest, LetsFlagsWinOverTheFile) {
  const std::string path = WriteFile(R"(
    tcp_address: "127.0.0.1:1" max_threads: 300 log_level: LOG_LEVEL_ERROR state_dir: "kept"
  )");
  const auto [config, problems] = Load({"--tcp_address=127.0.0.1:2", "--config=" + path,
                                        "--max_threads", "301", "--log_level", "debug"});
  EXPECT_THAT(problems, IsEmpty());
  EXPECT_EQ(config.tcp_address, "127.0.0.1:2");
  EXPECT_EQ(config.max_threads, 301u);
  EXPECT_EQ(config.log_level, LogLevel::kDebug);
  EXPECT_EQ(config.state_dir, "kept");
}

TEST(ConfigTest, LetsAnEmptyFlagSwitchTcpOff) {
  const std::string path = WriteFile("tcp_address: \"127.0.0.1:1\"");
  EXPECT_EQ(Load({"--config", path, "--tcp_address="}).config.tcp_address, "");
}

TEST(ConfigTest, ReportsEveryProblemOfFileAndFlagsAtOnce) {
  const std::string path = WriteFile(
      "tcp_address: \"nowhere\"\n"
      "colour: 3\n"
      "max_threads: 4\n"
      "max_message_bytes: 1\n"
      "log_level: 9\n");
  const auto [config, problems] =
      Load({"--config", path, "--verbose", "--max_message_bytes=99999999999", "stray",
            "--log_level=loud", "--drain_timeout_seconds=3601",
            "--unix_socket=", "--state_dir=", "--metrics_address"});
  EXPECT_THAT(
      problems,
      ElementsAre("--verbose: no such flag; see --help", "\"stray\": not understood; see --help",
                  "--metrics_address: needs a value",
                  AllOf(StartsWith(path + ":2:1: "), HasSubstr("colour")),
                  "--max_message_bytes: \"99999999999\" is no whole number",
                  "--log_level: \"loud\" is none of debug, info, warning, error",
                  "--state_dir: must not be empty", "--unix_socket: must not be empty",
                  AllOf(StartsWith(path + ":1:1: tcp_address: "), HasSubstr("nowhere")),
                  path + ":3:1: max_threads: 4 is not in 24..8192",
                  "--drain_timeout_seconds: 3601 is not in 0..3600"));
}

TEST(ConfigTest, KeepsSettingsInTheirRange) {
  const struct {
    const char* flag;
    std::vector<std::string> good, bad;
  } kCases[] = {
      {"max_message_bytes", {"65536", "67108864"}, {"65535", "67108865", "-1", "0x10000", ""}},
      {"max_threads", {"240", "8192"}, {"239", "8193"}},
      {"max_calls", {"1", "4096"}, {"0", "4097"}},
      {"max_revokes", {"1", "1024"}, {"0", "1025"}},
      {"max_streams", {"1", "2048"}, {"0", "2049"}},
      {"max_wait_seconds", {"1", "3600"}, {"0", "3601"}},
      {"stream_write_timeout_seconds", {"1", "3600"}, {"0", "3601"}},
      {"max_stream_bytes_in_flight", {"65536", "1073741824"}, {"65535", "1073741825"}},
      {"drain_timeout_seconds", {"0", "3600"}, {"3601", "30s"}},
      {"tcp_address", {"", "127.0.0.1:0", "localhost:65535"}, {"7700", "127.0.0.1:65536"}},
      {"metrics_address", {"", "[::1]:9477"}, {"9477", "::1:9477"}},
      {"log_level", {"debug", "info", "warning", "error"}, {"", "unspecified", "3"}},
      {"unix_socket", {std::string(107, 'a')}, {std::string(108, 'a'), ""}},
      {"state_dir", {"a"}, {"", std::string(100, 'a')}},
  };
  for (const auto& c : kCases) {
    for (const std::string& value : c.good) {
      EXPECT_THAT(Load({absl::StrCat("--", c.flag, "=", value)}).problems, IsEmpty()) << c.flag;
    }
    for (const std::string& value : c.bad) {
      SCOPED_TRACE(absl::StrCat(c.flag, "=", value));
      EXPECT_EQ(Load({absl::StrCat("--", c.flag, "=", value)}).problems.size(), 1u);
    }
  }
}

TEST(ConfigTest, WantsThreadsForEveryCallThatMayRun) {
  EXPECT_THAT(Load({"--max_calls=200", "--max_threads=311"}).problems,
              ElementsAre("--max_threads: 311 is below 312: max_calls + max_revokes + max_streams "
                          "+ 16"));
  EXPECT_THAT(Load({"--max_calls=200", "--max_threads=312"}).problems, IsEmpty());
  EXPECT_EQ(Load({"--max_calls=200"}).config.max_threads, 312u) << "the default grows with them";
}

TEST(ConfigTest, RefusesLevelsThatTheFileMakesUp) {
  const std::string path = WriteFile("\nlog_level: 9");
  EXPECT_THAT(Load({"--config", path}).problems,
              ElementsAre(path + ":2:1: log_level: unknown level 9"));
}

TEST(ConfigTest, RefusesAFlagGivenTwice) {
  EXPECT_THAT(Load({"--max_threads=300", "--max_threads=301"}).problems,
              ElementsAre("--max_threads: given twice"));
}

TEST(ConfigTest, RefusesAMissingFile) {
  EXPECT_THAT(Load({"--config", "no/file"}).problems,
              ElementsAre("--config: no/file: No such file or directory"));
}

TEST(ConfigTest, NamesTheRootOfASocketPathThatIsTooLong) {
  EXPECT_THAT(Load({"--state_dir", std::string(100, 'a')}).problems,
              ElementsAre(AllOf(StartsWith("default of unix_socket: "), EndsWith("at most 107"))));
}

TEST(ConfigTest, SeesHelpAndVersion) {
  Problems problems;
  EXPECT_TRUE(ParseCommandLine({"--help"}, &problems).help);
  EXPECT_TRUE(ParseCommandLine({"-h"}, &problems).help);
  EXPECT_TRUE(ParseCommandLine({"--version"}, &problems).version);
  EXPECT_FALSE(ParseCommandLine({}, &problems).help);
  EXPECT_THAT(problems, IsEmpty());
}

TEST(ConfigTest, ExplainsEverySettingInHelp) {
  const auto* settings = config::v1::DaemonConfig::descriptor();
  for (int i = 0; i < settings->field_count(); ++i) {
    EXPECT_THAT(HelpText(), HasSubstr(absl::StrCat("\n  --", settings->field(i)->name(), " ")));
  }
}

}  // namespace
}  // namespace viommu
