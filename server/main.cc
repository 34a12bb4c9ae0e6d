// server/main.cc -- viommud: puts the parts together, serves, and takes them apart in order.
//
// The only file that knows which backend and which journal there are.

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/topology.h"
#include "engine/base/env.h"
#include "engine/base/status_macros.h"
#include "engine/engine.h"
#include "engine/journal/memory_journal.h"
#include "prometheus/registry.h"
#include "server/admission_metrics.h"
#include "server/announcement.h"
#include "server/config.h"
#include "server/connection_metrics.h"
#include "server/engine_metrics.h"
#include "server/file_limit.h"
#include "server/health_endpoint.h"
#include "server/log.h"
#include "server/mapping_metrics.h"
#include "server/metrics_endpoint.h"
#include "server/notify_socket.h"
#include "server/process_metrics.h"
#include "server/program.h"
#include "server/pulse.h"
#include "server/rpc_interceptor.h"
#include "server/rpc_metrics.h"
#include "server/self_check.h"
#include "server/server.h"
#include "server/signals.h"
#include "server/socket_address.h"
#include "server/state_dir.h"
#include "server/text_file.h"
#include "server/topology.h"

namespace viommu {
namespace {

// How often the daemon asks itself whether it answers, how long an answer may take, and for how
// long there may be none before its health says so.
constexpr absl::Duration kCheckPeriod = absl::Seconds(2);
constexpr absl::Duration kCheckTimeout = absl::Seconds(5);
constexpr absl::Duration kCheckPatience = absl::Seconds(10);
// Of a time-out of the service manager's that may pass between two messages.
constexpr int kMessagesPerWatchdogTimeout = 4;

std::optional<std::string> EnvironmentVariable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return std::nullopt;
  return value;
}

std::vector<RpcMethod> AllMethods() {
  std::vector<RpcMethod> methods = MethodsOf(Server::ServiceNames());
  for (RpcMethod& method : BuiltInMethods()) methods.push_back(std::move(method));
  return methods;
}

// What a running daemon is made of; each part uses those above it.
struct Daemon {
  NotifySocket service_manager;
  std::unique_ptr<HealthEndpoint> health;  // Null: not asked for.
  std::unique_ptr<StateDir> state_dir;
  std::unique_ptr<SoftBackend> backend;
  MemoryJournal journal;
  std::unique_ptr<Engine> engine;
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  RpcMetrics rpc_metrics{AllMethods(), registry.get()};
  MappingMetrics mapping_metrics{registry.get()};
  ConnectionMetrics connection_metrics{registry.get()};
  AdmissionMetrics admission_metrics{registry.get()};
  std::unique_ptr<Server> server;
  std::unique_ptr<MetricsEndpoint> metrics;
  std::unique_ptr<SelfCheck> self_check;
  std::unique_ptr<Pulse> pulse;  // Null: nobody wants to know.
  Endpoints endpoints;
};

absl::Status StartEngine(const Config& config, Topology topology, Daemon* daemon) {
  ASSIGN_OR_RETURN(daemon->backend, SoftBackend::Create(std::move(topology), {}, {}));
  ASSIGN_OR_RETURN(daemon->engine,
                   Engine::Create({kVersion, config.owner_limits, config.flush_queue},
                                  daemon->backend.get(), &daemon->journal, RealEnv()));
  return absl::OkStatus();
}

// As many connections as were asked for, or as the limit of open files has room for beside those
// of listeners.
int MaxConnections(const Config& config, Log* log) {
  const auto wanted = static_cast<int>(config.max_connections);
  const int listeners = config.listener_dir.empty() ? 0 : static_cast<int>(config.max_listeners);
  const int most = MakeRoomForConnections(wanted, listeners);
  if (most < wanted) {
    log->Write(LogLevel::kWarning, "max_connections_lowered",
               {{"wanted", wanted}, {"max_connections", most}, {"why", "limit of open files"}});
  }
  return most;
}

absl::Status StartServer(const Config& config, Log* log, Daemon* daemon) {
  ServerOptions options;
  options.listen_addresses.push_back("unix:" + config.unix_socket);
  if (!config.tcp_address.empty()) options.listen_addresses.push_back(config.tcp_address);
  options.max_message_bytes = config.max_message_bytes;
  options.max_threads = static_cast<int>(config.max_threads);
  options.max_connections = MaxConnections(config, log);
  daemon->connection_metrics.SetLimit(options.max_connections);
  options.max_metadata_bytes = static_cast<int>(config.max_metadata_bytes);
  options.max_buffered_bytes = config.max_buffered_bytes;
  options.max_streams_per_connection = static_cast<int>(config.max_streams_per_connection);
  options.handshake_timeout = config.handshake_timeout;
  options.keepalive_interval = config.keepalive_interval;
  options.keepalive_timeout = config.keepalive_timeout;
  options.min_client_keepalive_interval = config.min_client_keepalive_interval;
  options.mapping_metrics = &daemon->mapping_metrics;
  options.connection_metrics = &daemon->connection_metrics;
  options.log = log;
  options.admission = {config.max_calls, config.max_revokes, config.max_streams, config.max_wait};
  options.stream_write_timeout = config.stream_write_timeout;
  options.max_stream_bytes_in_flight = config.max_stream_bytes_in_flight;
  options.admission_metrics = &daemon->admission_metrics;
  options.interceptors = [metrics = &daemon->rpc_metrics, log] {
    Interceptors interceptors;
    interceptors.push_back(std::make_unique<RpcInterceptorFactory>(metrics, log));
    return interceptors;
  };
  options.listener_dir = config.listener_dir;
  options.max_listeners = config.max_listeners;
  daemon->connection_metrics.SetListenerLimit(config.listener_dir.empty() ? 0
                                                                          : config.max_listeners);
  options.listener_share_percent = config.listener_share_percent;
  ASSIGN_OR_RETURN(daemon->server, Server::Start(daemon->engine.get(), std::move(options)));
  daemon->endpoints.unix_socket = std::filesystem::absolute(config.unix_socket).string();
  if (config.tcp_address.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(SocketAddress tcp, ParseSocketAddress(config.tcp_address));
  tcp.port = static_cast<uint16_t>(daemon->server->ports().back());
  daemon->endpoints.tcp_address = tcp.ToString();
  return absl::OkStatus();
}

absl::Status StartMetrics(const Config& config, Daemon* daemon) {
  if (config.metrics_address.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const SocketAddress address, ParseSocketAddress(config.metrics_address));
  Engine* engine = daemon->engine.get();
  const auto engine_metrics =
      std::make_shared<EngineMetrics>([engine] { return engine->Stats(); }, engine->GetHost());
  const auto process_metrics = std::make_shared<ProcessMetrics>(engine->GetHost().start_time);
  ASSIGN_OR_RETURN(
      daemon->metrics,
      MetricsEndpoint::Serve(address, {daemon->registry, engine_metrics, process_metrics}));
  daemon->endpoints.metrics_address = daemon->metrics->address().ToString();
  return absl::OkStatus();
}

absl::Status StartHealth(const Config& config, Log* log, Daemon* daemon) {
  if (config.health_address.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(daemon->health,
                   HealthEndpoint::Start(config.health_address, Server::ServiceNames(), log));
  ASSIGN_OR_RETURN(SocketAddress address, ParseSocketAddress(config.health_address));
  address.port = static_cast<uint16_t>(daemon->health->port());
  daemon->endpoints.health_address = address.ToString();
  return absl::OkStatus();
}

void TellHealth(bool works, const std::string& why, Log* log, HealthEndpoint* health) {
  if (health != nullptr) health->Set(works);
  if (works) {
    log->Write(LogLevel::kInfo, "self_check_recovered");
  } else {
    log->Write(LogLevel::kError, "self_check_failed", {{"error", why}});
  }
}

// From now on health and the service manager's watchdog follow what the daemon is able to do.
absl::Status StartPulse(const Config& config, Log* log, Daemon* daemon) {
  const absl::Duration watchdog = daemon->service_manager.watchdog_timeout();
  if (daemon->health == nullptr && watchdog == absl::InfiniteDuration()) return absl::OkStatus();
  daemon->self_check =
      std::make_unique<SelfCheck>([engine = daemon->engine.get()] { engine->Stats(); },
                                  config.unix_socket, std::min(kCheckTimeout, watchdog / 2));
  RETURN_IF_ERROR(daemon->self_check->Run());
  if (daemon->health != nullptr) daemon->health->Set(true);
  Pulse::Options options;
  options.period = std::min(kCheckPeriod, watchdog / kMessagesPerWatchdogTimeout);
  options.patience = kCheckPatience;
  options.prove = [check = daemon->self_check.get()] { return check->Run(); };
  // Whoever does not take the message will act as on one that did not come.
  options.on_success = [daemon] { daemon->service_manager.Tell("WATCHDOG=1").IgnoreError(); };
  options.on_change = [log, health = daemon->health.get()](bool works, const std::string& why) {
    TellHealth(works, why, log, health);
  };
  daemon->pulse = std::make_unique<Pulse>(std::move(options));
  return absl::OkStatus();
}

// Tells programs (endpoints.json), collectors (the log), people (standard output) and the service
// manager.
absl::Status Announce(const Daemon& daemon, Log* log) {
  const Endpoints& endpoints = daemon.endpoints;
  RETURN_IF_ERROR(
      daemon.state_dir->ReplaceFile(kEndpointsFile, EndpointsJson(endpoints, getpid())));
  log->Write(LogLevel::kInfo, "ready",
             {{"unix_socket", endpoints.unix_socket},
              {"tcp_address", endpoints.tcp_address},
              {"metrics_address", endpoints.metrics_address},
              {"health_address", endpoints.health_address},
              {"state_dir", daemon.state_dir->path()}});
  const std::string grpcurl = EnvironmentVariable("VIOMMU_GRPCURL").value_or("grpcurl");
  std::fputs(Greeting(endpoints, grpcurl).c_str(), stdout);
  std::fflush(stdout);
  return daemon.service_manager.Tell("READY=1\nSTATUS=Serving");
}

// Lets running calls finish. The metrics go on being served meanwhile.
void Drain(const Config& config, const TerminationSignals& signals, int signal, Daemon* daemon,
           Log* log) {
  signals.ExitOnNext(kExitFailure);
  log->Write(
      LogLevel::kInfo, "drain",
      {{"signal", signal}, {"timeout_seconds", absl::ToDoubleSeconds(config.drain_timeout)}});
  daemon->service_manager.Tell("STOPPING=1\nSTATUS=Finishing running calls").IgnoreError();
  if (daemon->health != nullptr) daemon->health->Drain();
  daemon->server->Drain();
  daemon->server->Shutdown(absl::Now() + config.drain_timeout);
  daemon->state_dir->RemoveFile(kEndpointsFile);
}

// Serves until a signal comes. An error: it could not be started.
absl::Status Serve(const Config& config, Topology topology, const TerminationSignals& signals,
                   Log* log) {
  Daemon daemon;
  ASSIGN_OR_RETURN(daemon.service_manager,
                   NotifySocket::FromEnvironment(EnvironmentVariable, getpid()));
  ASSIGN_OR_RETURN(daemon.state_dir, StateDir::Open(config.state_dir));
  // That of a daemon that was killed must not be taken for ours.
  daemon.state_dir->RemoveFile(kEndpointsFile);
  RETURN_IF_ERROR(StartHealth(config, log, &daemon));
  RETURN_IF_ERROR(StartEngine(config, std::move(topology), &daemon));
  RETURN_IF_ERROR(StartServer(config, log, &daemon));
  RETURN_IF_ERROR(StartMetrics(config, &daemon));
  RETURN_IF_ERROR(StartPulse(config, log, &daemon));
  RETURN_IF_ERROR(Announce(daemon, log));
  Drain(config, signals, signals.Wait(), &daemon, log);
  return absl::OkStatus();
}

int Main(const std::vector<std::string>& arguments) {
  // Before any thread is made, so that all of them leave the signals to us.
  const TerminationSignals signals;
  Problems problems;
  const CommandLine command_line = ParseCommandLine(arguments, &problems);
  if (command_line.help || command_line.version) {
    const std::string text =
        command_line.help ? HelpText() : absl::StrCat("viommud ", kVersion, "\n");
    std::fputs(text.c_str(), stdout);
    return 0;
  }
  const Config config = LoadConfig(command_line, EnvironmentVariable, &problems);
  Topology topology = LoadTopology(config.topology, &problems);
  if (!problems.empty()) return RefuseSettings("viommud", problems);

  PrepareProcess();
  Log log(config.log_level, STDERR_FILENO, RealEnv());
  log.Write(LogLevel::kInfo, "start", {{"version", kVersion}, {"pid", getpid()}});
  const absl::Status served = Serve(config, std::move(topology), signals, &log);
  if (!served.ok()) {
    log.Write(LogLevel::kError, "start_failed", {{"error", served.message()}});
    return kExitFailure;
  }
  log.Write(LogLevel::kInfo, "stop");
  return 0;
}

}  // namespace
}  // namespace viommu

int main(int argc, char** argv) { return viommu::Main({argv + 1, argv + argc}); }
