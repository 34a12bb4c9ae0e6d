#include "server/config.h"

namespace viommu {

std::string HelpText() {
  return R"(viommud serves the IOMMUs of this host over gRPC.

Usage: viommud [--config FILE] [--FLAG VALUE]...

Every flag is also a field of the config file (protobuf text format,
proto/viommu/config/v1/config.proto); a flag wins over the file.

Where it listens
  --unix_socket PATH          API; mode 0600     [viommud.sock in the state folder]
  --tcp_address HOST:PORT     API over TCP as well, without authentication  [off]
  --metrics_address HOST:PORT /metrics for Prometheus; empty: off  [127.0.0.1:9477]

What it serves
  --topology FILE             units and devices of the software IOMMU   [built in]
  --state_dir DIR             its own files        [$STATE_DIRECTORY, else .state]

Limits
  --max_message_bytes N       largest request                            [4194304]
  --max_calls N               calls that run at once                         [128]
  --max_revokes N             besides them, calls that take something away    [32]
  --max_streams N             mapping streams that are open                   [64]
  --max_threads N             threads for all of them and 16 more            [256]
  --max_wait_seconds N        that a call waits for its turn                  [60]
  --stream_write_timeout_seconds N
                              until a client that reads no answer is cut off  [10]
  --max_stream_bytes_in_flight N
                              unanswered batches of one stream           [8388608]
  --drain_timeout_seconds N   for running calls after SIGTERM                 [30]

Other
  --log_level LEVEL           debug, info, warning or error                 [info]
  --config FILE               reads settings from a file
  --version                   prints the version
  --help                      prints this

A port of 0 lets the kernel choose; the addresses in use are printed, and written
to endpoints.json in the state folder.

Exit codes: 0 stopped when told to, 1 failure, 2 unusable settings.
)";
}

}  // namespace viommu
