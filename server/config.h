// server/config.h -- The daemon's settings, from the command line and a file.
//
// viommu.config.v1.DaemonConfig is the one list of settings: a field is also a flag of its name. A
// flag wins over the file, the file over the default. Nothing is half right: every problem of both
// is reported, naming the flag or the place in the file.
#ifndef VIOMMU_SERVER_CONFIG_H_
#define VIOMMU_SERVER_CONFIG_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "engine/types.h"
#include "server/log.h"
#include "server/settings.h"
#include "server/text_file.h"

namespace viommu {

// Settings that can be used. What each one means, and its range: config.proto.
struct Config {
  std::string state_dir;
  std::string unix_socket;
  std::string tcp_address;      // Empty: no TCP.
  std::string metrics_address;  // Empty: no metrics.
  std::string health_address;   // Empty: health is served beside the API only.
  std::string topology;         // Empty: the one built in.
  std::string listener_dir;     // Empty: no tenants.
  uint32_t max_listeners = 0;
  uint32_t listener_share_percent = 0;
  uint32_t max_message_bytes = 0;
  uint32_t max_threads = 0;
  uint32_t max_connections = 0;
  uint32_t max_streams_per_connection = 0;
  uint32_t max_metadata_bytes = 0;
  uint32_t max_buffered_bytes = 0;
  absl::Duration handshake_timeout;
  absl::Duration keepalive_interval;
  absl::Duration keepalive_timeout;
  absl::Duration min_client_keepalive_interval;
  uint32_t max_calls = 0;
  uint32_t max_revokes = 0;
  uint32_t max_streams = 0;
  absl::Duration max_wait;
  absl::Duration stream_write_timeout;
  uint32_t max_stream_bytes_in_flight = 0;
  absl::Duration drain_timeout;
  LogLevel log_level = LogLevel::kInfo;
  OwnerLimits owner_limits;
  FlushQueueOptions flush_queue;
};

// `arguments` without the program's name; problems as those of ParseFlags.
CommandLine ParseCommandLine(const std::vector<std::string>& arguments, Problems* problems);

// Value of an environment variable, if it is set.
using Environment = std::function<std::optional<std::string>(const char* name)>;

// Reads the file that the command line names and lays the flags over it. The answer can be used
// only when nothing was appended to `problems`.
Config LoadConfig(const CommandLine& command_line, const Environment& environment,
                  Problems* problems);

// What --help prints.
std::string HelpText();

}  // namespace viommu

#endif  // VIOMMU_SERVER_CONFIG_H_
