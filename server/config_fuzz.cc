// Flags and a settings file are refused with what is wrong, or give settings within their limits.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/config.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/memory_file.h"

namespace viommu {
namespace {

using fuzz::Check;

void CheckLimits(const Config& config) {
  Check(!config.state_dir.empty() && !config.unix_socket.empty(), "no place to be");
  Check(config.unix_socket.size() < 108, "a socket path that no socket can have");
  Check(config.max_message_bytes >= 64 << 10 && config.max_message_bytes <= 64 << 20,
        "max_message_bytes out of its range");
  Check(config.max_threads >= 24 && config.max_threads <= 8192, "max_threads out of its range");
  Check(config.max_calls >= 1 && config.max_revokes >= 1 && config.max_streams >= 1,
        "nothing may run");
  Check(config.max_threads >= config.max_calls + config.max_revokes + config.max_streams + 16,
        "gRPC would refuse before admission does");
  Check(config.max_buffered_bytes >= config.max_message_bytes, "no room for the largest message");
  Check(config.max_connections >= 8 && config.max_connections <= 65536,
        "max_connections out of its range");
  Check(config.max_listeners >= 1 && config.listener_share_percent >= 1 &&
            config.listener_share_percent <= 100,
        "no listener could serve");
  Check(config.owner_limits.max_operations_in_flight >= 1 && config.owner_limits.max_streams >= 1,
        "an owner may do nothing");
  Check(config.drain_timeout >= absl::ZeroDuration() && config.drain_timeout <= absl::Hours(1),
        "drain_timeout out of its range");
}

// The arguments, one a line, an empty line, the file.
void CheckConfig(absl::string_view input) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(input, absl::MaxSplits("\n\n", 1));
  const std::vector<std::string> arguments = absl::StrSplit(parts.first, '\n', absl::SkipEmpty());
  Problems problems;
  CommandLine line = ParseCommandLine(arguments, &problems);
  // The daemon loads nothing from a command line that it did not understand.
  if (!problems.empty()) return;
  const fuzz::MemoryFile file(parts.second);
  // Never a path of the fuzzer's choice.
  line.config_file = file.path();
  const Environment nothing_set = [](const char*) { return std::optional<std::string>(); };
  const Config config = LoadConfig(line, nothing_set, &problems);
  for (const std::string& problem : problems) Check(!problem.empty(), "a problem without words");
  if (problems.empty()) CheckLimits(config);
}

}  // namespace
}  // namespace viommu

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  viommu::CheckConfig({reinterpret_cast<const char*>(data), size});
  return 0;
}
