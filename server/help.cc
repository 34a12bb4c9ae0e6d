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
  --health_address HOST:PORT  nothing but health, for probes                 [off]

  --listener_dir DIR          sockets of tenants, each in a directory of its own  [off]

What it serves
  --topology FILE             units and devices of the software IOMMU   [built in]
  --state_dir DIR             its own files        [$STATE_DIRECTORY, else .state]

Limits
  --max_message_bytes N       largest request                            [4194304]
  --max_connections N         open at once; one in eight is for the unix socket
                                                                            [1024]
  --max_listeners N           sockets of tenants                             [128]
  --listener_share_percent N  of the limits below, for each of them           [25]
  --max_streams_per_connection N
                              calls at once on one connection                [128]
  --max_metadata_bytes N      headers of one call                           [8192]
  --max_buffered_bytes N      of all calls that wait to be read        [268435456]
  --handshake_timeout_ms N    for a new connection to speak HTTP/2          [3000]
  --keepalive_interval_ms N   silence after which a client is asked        [60000]
  --keepalive_timeout_ms N    for its answer                               [10000]
  --min_client_keepalive_interval_ms N
                              least time between a client's pings          [10000]
  --max_calls N               calls that run at once                         [128]
  --max_revokes N             besides them, calls that take something away    [32]
  --max_streams N             streams that are open                           [64]
  --max_threads N             threads for all of them and 16 more            [256]
  --max_wait_seconds N        that a call waits for its turn                  [60]
  --stream_write_timeout_seconds N
                              for a client to take an answer, or to open a
                              stream                                          [10]
  --max_stream_bytes_in_flight N
                              unanswered batches of one stream           [8388608]
  --drain_timeout_seconds N   for running calls after SIGTERM                 [30]
  --flush_queue_entries N     ring of deferred flushes of each device group  [256]
  --flush_queue_timeout_ms N  that a deferred flush waits                     [10]

What one owner may have at a time
  --owner_max_memory_regions N           memory regions                     [4096]
  --owner_max_ioas N                     IO address spaces                  [4096]
  --owner_max_domains N                  paging domains                     [4096]
  --owner_max_mappings N                 mappings of all its spaces     [16777216]
  --owner_max_mapped_bytes N             bytes that they map                [2^46]
  --owner_max_region_bytes_total N       bytes of its memory regions        [2^46]
  --owner_max_operations_in_flight N     calls and batches under way         [256]
  --owner_max_streams N                  open mapping streams and watches     [64]
  --owner_max_pasids N                   PASIDs of its devices             [65536]
  --owner_max_fault_queues N             fault queues                       [1024]
  --owner_max_fault_groups N             groups that they keep             [65536]
  --owner_max_viommus N                  virtual IOMMUs of its guests       [4096]
  --owner_max_queued_events N            depths of their event queues    [1048576]

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
