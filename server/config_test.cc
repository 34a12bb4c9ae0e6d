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

Environment Variables(const std::map<std::string, std::string>& variables) {
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
  std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/c.textproto";
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
  EXPECT_EQ(config.listener_dir, "");
  EXPECT_EQ(config.max_listeners, 128u);
  EXPECT_EQ(config.listener_share_percent, 25u);
  EXPECT_EQ(config.max_connections, 1024u);
  EXPECT_EQ(config.max_streams_per_connection, 128u);
  EXPECT_EQ(config.max_metadata_bytes, 8192u);
  EXPECT_EQ(config.max_buffered_bytes, 268435456u);
  EXPECT_EQ(config.handshake_timeout, absl::Seconds(3));
  EXPECT_EQ(config.keepalive_interval, absl::Minutes(1));
  EXPECT_EQ(config.keepalive_timeout, absl::Seconds(10));
  EXPECT_EQ(config.min_client_keepalive_interval, absl::Seconds(10));
  EXPECT_EQ(config.max_calls, 128u);
  EXPECT_EQ(config.max_revokes, 32u);
  EXPECT_EQ(config.max_streams, 64u);
  EXPECT_EQ(config.max_wait, absl::Minutes(1));
  EXPECT_EQ(config.stream_write_timeout, absl::Seconds(10));
  EXPECT_EQ(config.max_stream_bytes_in_flight, 8388608u);
  EXPECT_EQ(config.drain_timeout, absl::Seconds(30));
  EXPECT_EQ(config.flush_queue.ring_entries, 256u);
  EXPECT_EQ(config.flush_queue.timeout, absl::Milliseconds(10));
  EXPECT_EQ(config.log_level, LogLevel::kInfo);
  EXPECT_EQ(config.owner_limits.max_memory_regions, 4096u);
  EXPECT_EQ(config.owner_limits.max_ioas, 4096u);
  EXPECT_EQ(config.owner_limits.max_domains, 4096u);
  EXPECT_EQ(config.owner_limits.max_mappings, 16777216u);
  EXPECT_EQ(config.owner_limits.max_mapped_bytes, uint64_t{1} << 46);
  EXPECT_EQ(config.owner_limits.max_region_bytes_total, uint64_t{1} << 46);
  EXPECT_EQ(config.owner_limits.max_operations_in_flight, 256u);
  EXPECT_EQ(config.owner_limits.max_streams, 64u);
  EXPECT_EQ(config.owner_limits.max_pasids, 65536u);
  EXPECT_EQ(config.owner_limits.max_viommus, 4096u);
  EXPECT_EQ(config.owner_limits.max_queued_events, 1048576u);
  EXPECT_EQ(config.owner_limits.max_fault_queues, 1024u);
  EXPECT_EQ(config.owner_limits.max_fault_groups, 65536u);
}

TEST(ConfigTest, TakesEachLimitOfAnOwnerFromFileAndFlag) {
  const std::string path = WriteFile(R"(
    owner_max_memory_regions: 1 owner_max_ioas: 2 owner_max_domains: 3 owner_max_mappings: 4
    owner_max_mapped_bytes: 5 owner_max_region_bytes_total: 6 owner_max_operations_in_flight: 7
    owner_max_streams: 8 owner_max_pasids: 10
    owner_max_viommus: 11 owner_max_queued_events: 12
    owner_max_fault_queues: 13 owner_max_fault_groups: 14
  )");
  const auto [config, problems] = Load({"--config", path, "--owner_max_streams=9"});
  EXPECT_THAT(problems, IsEmpty());
  EXPECT_EQ(config.owner_limits.max_memory_regions, 1u);
  EXPECT_EQ(config.owner_limits.max_ioas, 2u);
  EXPECT_EQ(config.owner_limits.max_domains, 3u);
  EXPECT_EQ(config.owner_limits.max_mappings, 4u);
  EXPECT_EQ(config.owner_limits.max_mapped_bytes, 5u);
  EXPECT_EQ(config.owner_limits.max_region_bytes_total, 6u);
  EXPECT_EQ(config.owner_limits.max_operations_in_flight, 7u);
  EXPECT_EQ(config.owner_limits.max_streams, 9u);
  EXPECT_EQ(config.owner_limits.max_pasids, 10u);
  EXPECT_EQ(config.owner_limits.max_viommus, 11u);
  EXPECT_EQ(config.owner_limits.max_queued_events, 12u);
  EXPECT_EQ(config.owner_limits.max_fault_queues, 13u);
  EXPECT_EQ(config.owner_limits.max_fault_groups, 14u);
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
    max_connections: 9 max_streams_per_connection: 10 max_metadata_bytes: 2048
    max_buffered_bytes: 16777216 handshake_timeout_ms: 101 keepalive_interval_ms: 1001
    keepalive_timeout_ms: 102 min_client_keepalive_interval_ms: 103
    topology: "t" max_message_bytes: 65536 max_threads: 24 drain_timeout_seconds: 0
    log_level: LOG_LEVEL_ERROR max_calls: 1 max_revokes: 2 max_streams: 3 max_wait_seconds: 4
    stream_write_timeout_seconds: 5 max_stream_bytes_in_flight: 70000
    flush_queue_entries: 512 flush_queue_timeout_ms: 25 health_address: "[::]:9478"
    listener_dir: "/l" max_listeners: 6 listener_share_percent: 7
  )");
  const auto [config, problems] = Load({"--config", path});
  EXPECT_THAT(problems, IsEmpty());
  EXPECT_EQ(config.state_dir, "s");
  EXPECT_EQ(config.unix_socket, "u.sock");
  EXPECT_EQ(config.tcp_address, "[::1]:0");
  EXPECT_EQ(config.metrics_address, "");
  EXPECT_EQ(config.health_address, "[::]:9478");
  EXPECT_EQ(config.topology, "t");
  EXPECT_EQ(config.listener_dir, "/l");
  EXPECT_EQ(config.max_listeners, 6u);
  EXPECT_EQ(config.listener_share_percent, 7u);
  EXPECT_EQ(config.max_message_bytes, 65536u);
  EXPECT_EQ(config.max_connections, 9u);
  EXPECT_EQ(config.max_streams_per_connection, 10u);
  EXPECT_EQ(config.max_metadata_bytes, 2048u);
  EXPECT_EQ(config.max_buffered_bytes, 16777216u);
  EXPECT_EQ(config.handshake_timeout, absl::Milliseconds(101));
  EXPECT_EQ(config.keepalive_interval, absl::Milliseconds(1001));
  EXPECT_EQ(config.keepalive_timeout, absl::Milliseconds(102));
  EXPECT_EQ(config.min_client_keepalive_interval, absl::Milliseconds(103));
  EXPECT_EQ(config.max_threads, 24u);
  EXPECT_EQ(config.max_calls, 1u);
  EXPECT_EQ(config.max_revokes, 2u);
  EXPECT_EQ(config.max_streams, 3u);
  EXPECT_EQ(config.max_wait, absl::Seconds(4));
  EXPECT_EQ(config.stream_write_timeout, absl::Seconds(5));
  EXPECT_EQ(config.max_stream_bytes_in_flight, 70000u);
  EXPECT_EQ(config.drain_timeout, absl::ZeroDuration());
  EXPECT_EQ(config.flush_queue.ring_entries, 512u);
  EXPECT_EQ(config.flush_queue.timeout, absl::Milliseconds(25));
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
      {"listener_dir", {"", "/l", "/" + std::string(92, 'a')}, {"/" + std::string(93, 'a')}},
      {"max_listeners", {"1", "4096"}, {"0", "4097"}},
      {"listener_share_percent", {"1", "100"}, {"0", "101", "25%"}},
      {"max_connections", {"8", "65536"}, {"7", "65537"}},
      {"max_streams_per_connection", {"1", "4096"}, {"0", "4097"}},
      {"max_metadata_bytes", {"1024", "1048576"}, {"1023", "1048577"}},
      {"max_buffered_bytes", {"16777216", "2146435072"}, {"16777215", "2146435073"}},
      {"handshake_timeout_ms", {"100", "60000"}, {"99", "60001", "3s"}},
      {"keepalive_interval_ms", {"1000", "7200000"}, {"999", "7200001"}},
      {"keepalive_timeout_ms", {"100", "600000"}, {"99", "600001"}},
      {"min_client_keepalive_interval_ms", {"100", "3600000"}, {"99", "3600001"}},
      {"max_threads", {"240", "8192"}, {"239", "8193"}},
      {"max_calls", {"1", "4096"}, {"0", "4097"}},
      {"max_revokes", {"1", "1024"}, {"0", "1025"}},
      {"max_streams", {"1", "2048"}, {"0", "2049"}},
      {"max_wait_seconds", {"1", "3600"}, {"0", "3601"}},
      {"stream_write_timeout_seconds", {"1", "3600"}, {"0", "3601"}},
      {"max_stream_bytes_in_flight", {"65536", "1073741824"}, {"65535", "1073741825"}},
      {"drain_timeout_seconds", {"0", "3600"}, {"3601", "30s"}},
      {"flush_queue_entries", {"2", "32768"}, {"0", "1", "32769"}},
      {"flush_queue_timeout_ms", {"1", "10000"}, {"0", "10001", "10ms"}},
      {"tcp_address", {"", "127.0.0.1:0", "localhost:65535"}, {"7700", "127.0.0.1:65536"}},
      {"metrics_address", {"", "[::1]:9477"}, {"9477", "::1:9477"}},
      {"health_address", {"", "0.0.0.0:9478"}, {"9478", "0.0.0.0:none"}},
      {"log_level", {"debug", "info", "warning", "error"}, {"", "unspecified", "3"}},
      {"unix_socket", {std::string(107, 'a')}, {std::string(108, 'a'), ""}},
      {"owner_max_memory_regions", {"1", "1048576"}, {"0", "1048577"}},
      {"owner_max_ioas", {"1", "1048576"}, {"0", "1048577"}},
      {"owner_max_domains", {"1", "1048576"}, {"0", "1048577"}},
      {"owner_max_mappings", {"1", "4294967296"}, {"0", "4294967297", "many"}},
      {"owner_max_mapped_bytes", {"1", "4611686018427387904"}, {"0", "4611686018427387905", "-1"}},
      {"owner_max_region_bytes_total", {"1", "4611686018427387904"}, {"0", "4611686018427387905"}},
      {"owner_max_operations_in_flight", {"1", "65536"}, {"0", "65537"}},
      {"owner_max_streams", {"1", "4096"}, {"0", "4097"}},
      {"owner_max_pasids", {"1", "1048576"}, {"0", "1048577"}},
      {"owner_max_viommus", {"1", "1048576"}, {"0", "1048577"}},
      {"owner_max_queued_events", {"1", "67108864"}, {"0", "67108865"}},
      {"owner_max_fault_queues", {"1", "65536"}, {"0", "65537"}},
      {"owner_max_fault_groups", {"1", "4194304"}, {"0", "4194305"}},
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

TEST(ConfigTest, ReportsALimitOutOfItsRangeOnce) {
  EXPECT_THAT(Load({"--max_calls=5000", "--max_threads=300"}).problems,
              ElementsAre("--max_calls: 5000 is not in 1..4096"));
  EXPECT_THAT(
      Load({"--max_streams=0", "--max_threads=8193"}).problems,
      ElementsAre("--max_streams: 0 is not in 1..2048", "--max_threads: 8193 is not in 24..8192"));
}

TEST(ConfigTest, WantsRoomForTheLargestMessage) {
  EXPECT_THAT(Load({"--max_message_bytes=16777217", "--max_buffered_bytes=16777216"}).problems,
              ElementsAre("--max_buffered_bytes: 16777216 is below 16777217, the value of "
                          "max_message_bytes"));
  EXPECT_THAT(Load({"--max_message_bytes=16777216", "--max_buffered_bytes=16777216"}).problems,
              IsEmpty());
  EXPECT_THAT(Load({"--max_message_bytes=99999999", "--max_buffered_bytes=16777216"}).problems,
              ElementsAre("--max_message_bytes: 99999999 is not in 65536..67108864"));
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
