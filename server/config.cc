#include "server/config.h"

#include <sys/un.h>

#include <algorithm>
#include <filesystem>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "server/socket_address.h"
#include "viommu/config/v1/config.pb.h"

namespace viommu {
namespace {

using ::google::protobuf::FieldDescriptor;
using ::viommu::config::v1::DaemonConfig;

constexpr absl::string_view kDefaultStateDir = ".state";
constexpr absl::string_view kDefaultSocketName = "viommud.sock";
constexpr absl::string_view kDefaultMetricsAddress = "127.0.0.1:9477";
// sun_path holds the path and its terminating zero.
constexpr size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path) - 1;

// What a tenant's socket has behind the directory: the name of an owner, and its own.
constexpr size_t kLeastBehindListenerDir = sizeof("/x/viommu.sock") - 1;

struct Limit {
  uint32_t least;
  uint32_t most;
  uint32_t by_default;
};
constexpr bool Within(const Limit& limit, uint32_t value) {
  return limit.least <= value && value <= limit.most;
}
constexpr Limit kMessageBytes = {64 << 10, 64 << 20, 4 << 20};
constexpr Limit kListeners = {1, 4096, 128};
constexpr Limit kListenerSharePercent = {1, 100, 25};
constexpr Limit kConnections = {8, 65536, 1024};
constexpr Limit kStreamsPerConnection = {1, 4096, 128};
constexpr Limit kMetadataBytes = {1 << 10, 1 << 20, 8 << 10};
constexpr Limit kBufferedBytes = {16 << 20, 2047u << 20, 256 << 20};
constexpr Limit kHandshakeMs = {100, 60000, 3000};
constexpr Limit kKeepaliveIntervalMs = {1000, 7200000, 60000};
constexpr Limit kKeepaliveTimeoutMs = {100, 600000, 10000};
constexpr Limit kMinClientKeepaliveIntervalMs = {100, 3600000, 10000};
constexpr Limit kThreads = {24, 8192, 256};
constexpr Limit kCalls = {1, 4096, 128};
constexpr Limit kRevokes = {1, 1024, 32};
constexpr Limit kStreams = {1, 2048, 64};
constexpr Limit kWaitSeconds = {1, 3600, 60};
constexpr Limit kWriteSeconds = {1, 3600, 10};
constexpr Limit kStreamBytes = {64 << 10, 1 << 30, 8 << 20};
// For health, reflection, refusals and gRPC's own pollers.
constexpr uint32_t kSpareThreads = 16;
constexpr Limit kDrainSeconds = {0, 3600, 30};
constexpr Limit kFlushQueueEntries = {2, 32768, 256};
constexpr Limit kFlushQueueMs = {1, 10000, 10};

// The settings that limit one owner, each with its largest value; the least is 1. Their defaults
// are the engine's.
struct OwnerLimit {
  const char* setting;
  uint64_t OwnerLimits::*value;
  uint64_t most;
};
constexpr OwnerLimit kOwnerLimits[] = {
    {"owner_max_memory_regions", &OwnerLimits::max_memory_regions, uint64_t{1} << 20},
    {"owner_max_ioas", &OwnerLimits::max_ioas, uint64_t{1} << 20},
    {"owner_max_domains", &OwnerLimits::max_domains, uint64_t{1} << 20},
    {"owner_max_mappings", &OwnerLimits::max_mappings, uint64_t{1} << 32},
    {"owner_max_mapped_bytes", &OwnerLimits::max_mapped_bytes, uint64_t{1} << 62},
    {"owner_max_region_bytes_total", &OwnerLimits::max_region_bytes_total, uint64_t{1} << 62},
    {"owner_max_operations_in_flight", &OwnerLimits::max_operations_in_flight, 65536},
    {"owner_max_streams", &OwnerLimits::max_streams, 4096},
    {"owner_max_pasids", &OwnerLimits::max_pasids, uint64_t{1} << 20},
    {"owner_max_fault_queues", &OwnerLimits::max_fault_queues, 65536},
    {"owner_max_fault_groups", &OwnerLimits::max_fault_groups, uint64_t{1} << 22},
    {"owner_max_viommus", &OwnerLimits::max_viommus, uint64_t{1} << 20},
    {"owner_max_queued_events", &OwnerLimits::max_queued_events, uint64_t{1} << 26},
};

// Takes the merged message apart, with the origin of each setting at hand for what is wrong.
class Checker {
 public:
  Checker(const DaemonConfig& message, const SettingsSource& source, Problems* problems)
      : message_(message), source_(source), problems_(problems) {}

  Config Check(const Environment& environment);

 private:
  void Report(absl::string_view setting, absl::string_view what) {
    problems_->push_back(absl::StrCat(source_.Origin(setting), ": ", what));
  }

  std::string StateDir(const Environment& environment);
  std::string UnixSocket(const std::string& state_dir);
  std::string Address(absl::string_view setting, const std::string& text);
  void Listeners(Config* config);
  uint32_t Number(absl::string_view setting, bool given, uint32_t value, const Limit& limit);
  void Calls(Config* config);
  uint32_t Threads(const Config& config);
  LogLevel Level();
  OwnerLimits Owner();
  FlushQueueOptions FlushQueue();
  uint32_t BufferedBytes(uint32_t message_bytes);
  void CheckConnections(Config* config);

  const DaemonConfig& message_;
  const SettingsSource& source_;
  Problems* const problems_;
};

std::string Checker::StateDir(const Environment& environment) {
  if (message_.has_state_dir()) {
    if (message_.state_dir().empty()) Report("state_dir", "must not be empty");
    return message_.state_dir();
  }
  // systemd separates several directories by colons; the first one is the daemon's.
  const std::string inherited = environment("STATE_DIRECTORY").value_or("");
  const std::string first = inherited.substr(0, inherited.find(':'));
  return first.empty() ? std::string(kDefaultStateDir) : first;
}

std::string Checker::UnixSocket(const std::string& state_dir) {
  std::string path = message_.has_unix_socket() ? message_.unix_socket()
                                                : absl::StrCat(state_dir, "/", kDefaultSocketName);
  if (path.empty()) Report("unix_socket", "must not be empty");
  if (path.size() > kMaxSocketPath) {
    Report("unix_socket", absl::StrCat("\"", path, "\" has ", path.size(),
                                       " bytes; a socket path has at most ", kMaxSocketPath));
  }
  return path;
}

std::string Checker::Address(absl::string_view setting, const std::string& text) {
  if (text.empty()) return text;
  const absl::StatusOr<SocketAddress> address = ParseSocketAddress(text);
  if (!address.ok()) Report(setting, address.status().message());
  return text;
}

void Checker::Listeners(Config* config) {
  config->listener_dir = message_.listener_dir();
  if (!config->listener_dir.empty()) {
    const size_t size = std::filesystem::absolute(config->listener_dir).string().size();
    if (size + kLeastBehindListenerDir > kMaxSocketPath) {
      Report("listener_dir", absl::StrCat("\"", config->listener_dir, "\" has ", size,
                                          " bytes as an absolute path; at most ",
                                          kMaxSocketPath - kLeastBehindListenerDir));
    }
  }
  config->max_listeners =
      Number("max_listeners", message_.has_max_listeners(), message_.max_listeners(), kListeners);
  config->listener_share_percent =
      Number("listener_share_percent", message_.has_listener_share_percent(),
             message_.listener_share_percent(), kListenerSharePercent);
}

uint32_t Checker::Number(absl::string_view setting, bool given, uint32_t value,
                         const Limit& limit) {
  if (!given) return limit.by_default;
  if (!Within(limit, value)) {
    Report(setting, absl::StrCat(value, " is not in ", limit.least, "..", limit.most));
  }
  return value;
}

void Checker::Calls(Config* config) {
  config->max_calls = Number("max_calls", message_.has_max_calls(), message_.max_calls(), kCalls);
  config->max_revokes =
      Number("max_revokes", message_.has_max_revokes(), message_.max_revokes(), kRevokes);
  config->max_streams =
      Number("max_streams", message_.has_max_streams(), message_.max_streams(), kStreams);
  config->max_wait = absl::Seconds(Number("max_wait_seconds", message_.has_max_wait_seconds(),
                                          message_.max_wait_seconds(), kWaitSeconds));
  config->stream_write_timeout = absl::Seconds(
      Number("stream_write_timeout_seconds", message_.has_stream_write_timeout_seconds(),
             message_.stream_write_timeout_seconds(), kWriteSeconds));
  config->max_stream_bytes_in_flight =
      Number("max_stream_bytes_in_flight", message_.has_max_stream_bytes_in_flight(),
             message_.max_stream_bytes_in_flight(), kStreamBytes);
  config->max_threads = Threads(*config);
}

uint32_t Checker::Threads(const Config& config) {
  const uint32_t least = config.max_calls + config.max_revokes + config.max_streams + kSpareThreads;
  if (!message_.has_max_threads()) return std::max(kThreads.by_default, least);
  const uint32_t threads = Number("max_threads", true, message_.max_threads(), kThreads);
  // What is out of its own range has been reported; that is enough.
  const bool comparable = Within(kCalls, config.max_calls) &&
                          Within(kRevokes, config.max_revokes) &&
                          Within(kStreams, config.max_streams) && Within(kThreads, threads);
  if (comparable && threads < least) {
    Report("max_threads", absl::StrCat(threads, " is below ", least, ": max_calls + max_revokes + ",
                                       "max_streams + ", kSpareThreads));
  }
  return threads;
}

LogLevel Checker::Level() {
  switch (message_.log_level()) {
    case DaemonConfig::LOG_LEVEL_DEBUG:
      return LogLevel::kDebug;
    case DaemonConfig::LOG_LEVEL_UNSPECIFIED:
    case DaemonConfig::LOG_LEVEL_INFO:
      return LogLevel::kInfo;
    case DaemonConfig::LOG_LEVEL_WARNING:
      return LogLevel::kWarning;
    case DaemonConfig::LOG_LEVEL_ERROR:
      return LogLevel::kError;
    default:
      Report("log_level", absl::StrCat("unknown level ", static_cast<int>(message_.log_level())));
      return LogLevel::kInfo;
  }
}

OwnerLimits Checker::Owner() {
  OwnerLimits limits;
  for (const OwnerLimit& limit : kOwnerLimits) {
    const FieldDescriptor* field = DaemonConfig::descriptor()->FindFieldByName(limit.setting);
    if (!DaemonConfig::GetReflection()->HasField(message_, field)) continue;
    const uint64_t value = DaemonConfig::GetReflection()->GetUInt64(message_, field);
    if (value < 1 || value > limit.most) {
      Report(limit.setting, absl::StrCat(value, " is not in 1..", limit.most));
    }
    limits.*limit.value = value;
  }
  return limits;
}

FlushQueueOptions Checker::FlushQueue() {
  FlushQueueOptions options;
  options.ring_entries = Number("flush_queue_entries", message_.has_flush_queue_entries(),
                                message_.flush_queue_entries(), kFlushQueueEntries);
  options.timeout =
      absl::Milliseconds(Number("flush_queue_timeout_ms", message_.has_flush_queue_timeout_ms(),
                                message_.flush_queue_timeout_ms(), kFlushQueueMs));
  return options;
}

// A message that is buffered in parts until it is whole must fit, or its call would be cancelled
// without a word.
uint32_t Checker::BufferedBytes(uint32_t message_bytes) {
  const uint32_t bytes = Number("max_buffered_bytes", message_.has_max_buffered_bytes(),
                                message_.max_buffered_bytes(), kBufferedBytes);
  if (Within(kBufferedBytes, bytes) && Within(kMessageBytes, message_bytes) &&
      bytes < message_bytes) {
    Report("max_buffered_bytes",
           absl::StrCat(bytes, " is below ", message_bytes, ", the value of max_message_bytes"));
  }
  return bytes;
}

void Checker::CheckConnections(Config* config) {
  config->max_connections = Number("max_connections", message_.has_max_connections(),
                                   message_.max_connections(), kConnections);
  config->max_streams_per_connection =
      Number("max_streams_per_connection", message_.has_max_streams_per_connection(),
             message_.max_streams_per_connection(), kStreamsPerConnection);
  config->max_metadata_bytes = Number("max_metadata_bytes", message_.has_max_metadata_bytes(),
                                      message_.max_metadata_bytes(), kMetadataBytes);
  config->max_buffered_bytes = BufferedBytes(config->max_message_bytes);
  config->handshake_timeout =
      absl::Milliseconds(Number("handshake_timeout_ms", message_.has_handshake_timeout_ms(),
                                message_.handshake_timeout_ms(), kHandshakeMs));
  config->keepalive_interval =
      absl::Milliseconds(Number("keepalive_interval_ms", message_.has_keepalive_interval_ms(),
                                message_.keepalive_interval_ms(), kKeepaliveIntervalMs));
  config->keepalive_timeout =
      absl::Milliseconds(Number("keepalive_timeout_ms", message_.has_keepalive_timeout_ms(),
                                message_.keepalive_timeout_ms(), kKeepaliveTimeoutMs));
  config->min_client_keepalive_interval = absl::Milliseconds(
      Number("min_client_keepalive_interval_ms", message_.has_min_client_keepalive_interval_ms(),
             message_.min_client_keepalive_interval_ms(), kMinClientKeepaliveIntervalMs));
}

Config Checker::Check(const Environment& environment) {
  Config config;
  config.state_dir = StateDir(environment);
  config.unix_socket = UnixSocket(config.state_dir);
  config.tcp_address = Address("tcp_address", message_.tcp_address());
  config.metrics_address = Address("metrics_address", message_.has_metrics_address()
                                                          ? message_.metrics_address()
                                                          : std::string(kDefaultMetricsAddress));
  config.health_address = Address("health_address", message_.health_address());
  config.topology = message_.topology();
  Listeners(&config);
  config.max_message_bytes = Number("max_message_bytes", message_.has_max_message_bytes(),
                                    message_.max_message_bytes(), kMessageBytes);
  CheckConnections(&config);
  Calls(&config);
  config.drain_timeout =
      absl::Seconds(Number("drain_timeout_seconds", message_.has_drain_timeout_seconds(),
                           message_.drain_timeout_seconds(), kDrainSeconds));
  config.log_level = Level();
  config.owner_limits = Owner();
  config.flush_queue = FlushQueue();
  return config;
}

}  // namespace

CommandLine ParseCommandLine(const std::vector<std::string>& arguments, Problems* problems) {
  return ParseFlags(*DaemonConfig::descriptor(), arguments, problems);
}

Config LoadConfig(const CommandLine& command_line, const Environment& environment,
                  Problems* problems) {
  DaemonConfig message;
  const SettingsSource source(command_line, &message, problems);
  return Checker(message, source, problems).Check(environment);
}

}  // namespace viommu
