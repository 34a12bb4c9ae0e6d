// server/server_options.h -- What a Server is told: where it listens, its limits, who is told what.
#ifndef VIOMMU_SERVER_SERVER_OPTIONS_H_
#define VIOMMU_SERVER_SERVER_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "grpcpp/server.h"
#include "grpcpp/support/server_interceptor.h"
#include "server/admission.h"
#include "server/admission_metrics.h"
#include "server/connection_metrics.h"
#include "server/log.h"
#include "server/mapping_metrics.h"

namespace viommu {

using Interceptors =
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>;

struct ServerOptions {
  // "unix:/run/viommud.sock" or "127.0.0.1:7300"; port 0 lets the kernel choose. Whoever connects
  // there is the operator.
  std::vector<std::string> listen_addresses;
  // Where tenants have their sockets (listener_directory.h); empty: there are no tenants.
  std::string listener_dir;
  uint32_t max_listeners = 128;
  // How much of each limit below the calls through one tenant's socket may take.
  uint32_t listener_share_percent = 25;
  // Of these one in eight is kept for operators' unix sockets; one more is closed as soon as it
  // comes in.
  int max_connections = 1024;
  size_t max_message_bytes = size_t{4} << 20;
  int max_metadata_bytes = 8 << 10;
  // For all that clients have sent and that waits in gRPC; beyond, gRPC cancels calls. Tenants have
  // their shares apart.
  size_t max_buffered_bytes = size_t{256} << 20;
  // What may be at work at once. gRPC's own threads must be more, or it refuses first.
  AdmissionLimits admission;
  int max_threads = 512;
  // How long any answer may stay unread, see client_watchdog.h; and mapping_service.h.
  absl::Duration stream_write_timeout = absl::Seconds(10);
  size_t max_stream_bytes_in_flight = size_t{8} << 20;
  int max_streams_per_connection = 128;
  absl::Duration handshake_timeout = absl::Seconds(3);
  // A silent connection is asked after `keepalive_interval` and closed when it does not answer in
  // `keepalive_timeout`; clients may ask us every `min_client_keepalive_interval`.
  absl::Duration keepalive_interval = absl::Minutes(1);
  absl::Duration keepalive_timeout = absl::Seconds(10);
  absl::Duration min_client_keepalive_interval = absl::Seconds(10);
  // Told of every map and unmap batch, of connections, of what an operator should know; each may be
  // null. They outlive the server.
  MappingMetrics* mapping_metrics = nullptr;
  ConnectionMetrics* connection_metrics = nullptr;
  Log* log = nullptr;
  // As above, of every call that is let in or refused.
  AdmissionMetrics* admission_metrics = nullptr;
  // Served beside ours to operators, with the same limits and interceptors, synchronously; they
  // outlive the server.
  std::vector<grpc::Service*> further_services;
  // Makes what sees every call, in this order: metrics, logs. Asked for each socket of a tenant
  // too; may be empty.
  std::function<Interceptors()> interceptors;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_SERVER_OPTIONS_H_
