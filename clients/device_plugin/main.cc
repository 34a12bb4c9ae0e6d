// clients/device_plugin/main.cc -- viommu-device-plugin: reads its settings, and works until a
// signal comes.

#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "clients/device_plugin/device_plugin.h"
#include "clients/device_plugin/plugin_config.h"
#include "engine/base/env.h"
#include "prometheus/gauge.h"
#include "prometheus/registry.h"
#include "server/health_endpoint.h"
#include "server/log.h"
#include "server/metrics_endpoint.h"
#include "server/process_metrics.h"
#include "server/program.h"
#include "server/signals.h"
#include "server/socket_address.h"

namespace viommu {
namespace {

constexpr char kLiveness[] = "liveness";
constexpr char kReadiness[] = "readiness";
// How old the answer to a probe may be.
constexpr absl::Duration kHealthPeriod = absl::Milliseconds(500);

void AddBuildInfo(prometheus::Registry* registry) {
  prometheus::BuildGauge()
      .Name("viommu_device_plugin_build_info")
      .Help("1, with the version that runs as label.")
      .Register(*registry)
      .Add({{"version", kVersion}})
      .Set(1);
}

// What is served beside the kubelet.
struct Endpoints {
  std::unique_ptr<HealthEndpoint> health;
  std::unique_ptr<MetricsEndpoint> metrics;
};

absl::Status StartEndpoints(const PluginConfig& config,
                            const std::shared_ptr<prometheus::Registry>& registry, Log* log,
                            Endpoints* endpoints) {
  if (!config.health_address.empty()) {
    auto health = HealthEndpoint::Start(config.health_address, {kLiveness, kReadiness}, log);
    if (!health.ok()) return health.status();
    endpoints->health = *std::move(health);
  }
  if (!config.metrics_address.empty()) {
    const auto address = ParseSocketAddress(config.metrics_address);
    if (!address.ok()) return address.status();
    const auto process = std::make_shared<ProcessMetrics>(RealEnv()->Now());
    auto metrics = MetricsEndpoint::Serve(*address, {registry, process});
    if (!metrics.ok()) return metrics.status();
    endpoints->metrics = *std::move(metrics);
  }
  log->Write(LogLevel::kInfo, "serving",
             {{"health_port", endpoints->health == nullptr ? 0 : endpoints->health->port()},
              {"metrics_address",
               endpoints->metrics == nullptr ? "" : endpoints->metrics->address().ToString()}});
  return absl::OkStatus();
}

// Tells probes until it is told to end.
void TellHealth(const DevicePlugin& plugin, HealthEndpoint* health, absl::Notification* end) {
  health->SetService("", true);
  health->SetService(kLiveness, true);
  do {
    health->SetService(kReadiness, plugin.IsReady());
  } while (!end->WaitForNotificationWithTimeout(kHealthPeriod));
}

absl::Status Work(const PluginConfig& config, const TerminationSignals& signals, Log* log) {
  const auto registry = std::make_shared<prometheus::Registry>();
  AddBuildInfo(registry.get());
  Endpoints endpoints;
  absl::Status started = StartEndpoints(config, registry, log, &endpoints);
  if (!started.ok()) return started;
  DevicePlugin plugin(&config, {}, registry.get(), log);
  absl::Notification end;
  std::thread health;
  if (endpoints.health != nullptr) {
    health = std::thread([&] { TellHealth(plugin, endpoints.health.get(), &end); });
  }
  const int signal = signals.Wait();
  signals.ExitOnNext(kExitFailure);
  log->Write(LogLevel::kInfo, "drain", {{"signal", signal}});
  end.Notify();
  if (health.joinable()) health.join();
  if (endpoints.health != nullptr) endpoints.health->Drain();
  return absl::OkStatus();
}

int Main(const std::vector<std::string>& arguments) {
  // Before any thread is made, so that all of them leave the signals to us.
  const TerminationSignals signals;
  Problems problems;
  const CommandLine command_line = ParsePluginCommandLine(arguments, &problems);
  if (command_line.help || command_line.version) {
    const std::string text = command_line.help
                                 ? PluginHelpText()
                                 : absl::StrCat("viommu-device-plugin ", kVersion, "\n");
    std::fputs(text.c_str(), stdout);
    return 0;
  }
  const PluginConfig config = LoadPluginConfig(command_line, &problems);
  if (!problems.empty()) return RefuseSettings("viommu-device-plugin", problems);

  PrepareProcess();
  Log log(config.log_level, STDERR_FILENO, RealEnv());
  log.Write(LogLevel::kInfo, "start", {{"version", kVersion}, {"pid", getpid()}});
  const absl::Status worked = Work(config, signals, &log);
  if (!worked.ok()) {
    log.Write(LogLevel::kError, "start_failed", {{"error", worked.message()}});
    return kExitFailure;
  }
  log.Write(LogLevel::kInfo, "stop");
  return 0;
}

}  // namespace
}  // namespace viommu

int main(int argc, char** argv) { return viommu::Main({argv + 1, argv + argc}); }
