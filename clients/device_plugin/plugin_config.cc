#include "clients/device_plugin/plugin_config.h"

#include <sys/un.h>

#include <cstddef>
#include <set>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "server/socket_address.h"

namespace viommu {
namespace {

using ::viommu::config::v1::DevicePluginConfig;
using ::viommu::config::v1::DevicePluginResource;
using ::viommu::config::v1::DeviceSelector;

constexpr absl::string_view kDefaultMetricsAddress = "127.0.0.1:9479";
constexpr absl::string_view kKubeletSocket = "kubelet.sock";
// sun_path holds the path and its terminating zero.
constexpr size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path) - 1;
// "viommu-", the short name, "-", eight digits, ".sock".
constexpr size_t kSocketNameBytes = 7 + 1 + 8 + 5;
// What Kubernetes allows: a name behind the slash, a domain before it, for which a quota's name
// with "requests." before it must be one, too.
constexpr size_t kMaxShortName = 63;
constexpr size_t kMaxDomain = 253;
constexpr absl::string_view kQuotaPrefix = "requests.";

struct Limit {
  uint32_t least;
  uint32_t most;
  uint32_t by_default;
};
constexpr Limit kReconcileSeconds = {1, 3600, 30};
constexpr Limit kGraceSeconds = {1, 86400, 120};
constexpr Limit kPatienceSeconds = {0, 600, 5};

// Letters and digits, and between them '-', '_' and '.'; `more` says what of these.
bool IsName(absl::string_view text, absl::string_view more, size_t most) {
  if (text.empty() || text.size() > most) return false;
  if (!absl::ascii_isalnum(text.front()) || !absl::ascii_isalnum(text.back())) return false;
  for (const char c : text) {
    if (!absl::ascii_isalnum(c) && !absl::StrContains(more, c)) return false;
  }
  return true;
}

// A domain of DNS, in small letters.
bool IsDomain(absl::string_view text) {
  if (absl::AsciiStrToLower(text) != text) return false;
  for (const absl::string_view label : absl::StrSplit(text, '.')) {
    if (!IsName(label, "-", kMaxDomain)) return false;
  }
  return text.size() + kQuotaPrefix.size() <= kMaxDomain;
}

// "VIOMMU_VTD_PASID" of "vtd-pasid".
std::string EnvironmentOf(absl::string_view short_name) {
  std::string name = absl::StrCat("VIOMMU_", absl::AsciiStrToUpper(short_name));
  for (char& c : name) {
    if (!absl::ascii_isalnum(c)) c = '_';
  }
  return name;
}

// Takes the message apart, with the origin of each setting at hand for what is wrong.
class Checker {
 public:
  Checker(const DevicePluginConfig& message, const SettingsSource& source, Problems* problems)
      : message_(message), source_(source), problems_(problems) {}

  PluginConfig Check();

 private:
  void Report(absl::string_view setting, absl::string_view what) {
    problems_->push_back(absl::StrCat(source_.Origin(setting), ": ", what));
  }

  // The path, which must be absolute: the plugin, the kubelet and a container all mean the same.
  std::string Directory(absl::string_view setting, bool given, const std::string& value,
                        absl::string_view by_default);
  std::string Optional(absl::string_view setting, const std::string& value);
  std::string Address(absl::string_view setting, const std::string& value);
  absl::Duration Seconds(absl::string_view setting, bool given, uint32_t value, const Limit& limit);
  std::string PodResourcesSocket();
  std::string OwnPod();
  uint32_t ListenerMode();
  LogLevel Level();
  void DeviceNodes(PluginConfig* config);
  void Resources(PluginConfig* config);
  OfferedResource Resource(const DevicePluginResource& resource, const std::string& place);
  void CheckName(const std::string& name, const std::string& place);
  void CheckSelector(const DeviceSelector& selector, const std::string& place);
  void CheckSocketPath(absl::string_view setting, absl::string_view path, size_t size);

  const DevicePluginConfig& message_;
  const SettingsSource& source_;
  Problems* const problems_;
};

std::string Checker::Directory(absl::string_view setting, bool given, const std::string& value,
                               absl::string_view by_default) {
  if (!given) return std::string(by_default);
  if (!absl::StartsWith(value, "/")) {
    Report(setting, absl::StrCat("\"", value, "\" is no absolute path"));
  }
  return value;
}

std::string Checker::Optional(absl::string_view setting, const std::string& value) {
  return value.empty() ? value : Directory(setting, true, value, "");
}

std::string Checker::Address(absl::string_view setting, const std::string& value) {
  if (value.empty()) return value;
  const absl::StatusOr<SocketAddress> address = ParseSocketAddress(value);
  if (!address.ok()) Report(setting, address.status().message());
  return value;
}

absl::Duration Checker::Seconds(absl::string_view setting, bool given, uint32_t value,
                                const Limit& limit) {
  if (!given) return absl::Seconds(limit.by_default);
  if (value < limit.least || value > limit.most) {
    Report(setting, absl::StrCat(value, " is not in ", limit.least, "..", limit.most));
  }
  return absl::Seconds(value);
}

void Checker::CheckSocketPath(absl::string_view setting, absl::string_view path, size_t size) {
  if (size <= kMaxSocketPath) return;
  Report(setting, absl::StrCat("\"", path, "\" makes a socket's path of ", size,
                               " bytes; it has at most ", kMaxSocketPath));
}

std::string Checker::PodResourcesSocket() {
  const std::string directory = message_.has_pod_resources_dir()
                                    ? Optional("pod_resources_dir", message_.pod_resources_dir())
                                    : "/var/lib/kubelet/pod-resources";
  if (directory.empty()) return "";
  std::string path = absl::StrCat(directory, "/", kKubeletSocket);
  CheckSocketPath("pod_resources_dir", path, path.size());
  return path;
}

std::string Checker::OwnPod() {
  const std::string& pod = message_.own_pod();
  if (pod.empty()) return pod;
  const std::vector<absl::string_view> parts = absl::StrSplit(pod, '/');
  if (parts.size() != 2 || !IsName(parts[0], "-", kMaxShortName) ||
      !IsName(parts[1], "-.", kMaxDomain)) {
    Report("own_pod", absl::StrCat("\"", pod, "\" is not \"namespace/name\""));
  }
  return pod;
}

uint32_t Checker::ListenerMode() {
  const struct {
    absl::string_view text;
    uint32_t mode;
  } kModes[] = {{"0600", 0600}, {"0660", 0660}, {"0606", 0606}, {"0666", 0666}};
  if (!message_.has_listener_mode()) return 0666;
  for (const auto& mode : kModes) {
    if (message_.listener_mode() == mode.text) return mode.mode;
  }
  Report("listener_mode",
         absl::StrCat("\"", message_.listener_mode(), "\" is none of 0600, 0660, 0606, 0666"));
  return 0;
}

LogLevel Checker::Level() {
  switch (message_.log_level()) {
    case DevicePluginConfig::LOG_LEVEL_DEBUG:
      return LogLevel::kDebug;
    case DevicePluginConfig::LOG_LEVEL_UNSPECIFIED:
    case DevicePluginConfig::LOG_LEVEL_INFO:
      return LogLevel::kInfo;
    case DevicePluginConfig::LOG_LEVEL_WARNING:
      return LogLevel::kWarning;
    case DevicePluginConfig::LOG_LEVEL_ERROR:
      return LogLevel::kError;
    default:
      Report("log_level", absl::StrCat("unknown level ", static_cast<int>(message_.log_level())));
      return LogLevel::kInfo;
  }
}

void Checker::DeviceNodes(PluginConfig* config) {
  config->device_nodes = message_.mode() == DevicePluginConfig::MODE_CDEV;
  if (!DevicePluginConfig::Mode_IsValid(message_.mode())) {
    Report("mode", absl::StrCat("unknown mode ", static_cast<int>(message_.mode())));
  }
  config->dev_dir = Directory("dev_dir", message_.has_dev_dir(), message_.dev_dir(), "/dev");
  config->sysfs_dir =
      Directory("sysfs_dir", message_.has_sysfs_dir(), message_.sysfs_dir(), "/sys");
  config->cdi_kind = message_.cdi_kind();
  if (config->cdi_kind.empty()) return;
  const size_t slash = config->cdi_kind.find('/');
  const absl::string_view kind = config->cdi_kind;
  if (slash == std::string::npos || !IsName(kind.substr(0, slash), ".-", kMaxDomain) ||
      !IsName(kind.substr(slash + 1), "-_.", kMaxShortName)) {
    Report("cdi_kind", absl::StrCat("\"", kind, "\" is not \"vendor.com/class\""));
  }
  if (!config->device_nodes) Report("cdi_kind", "CDI names are given with mode cdev alone");
}

void Checker::CheckName(const std::string& name, const std::string& place) {
  const size_t slash = name.find('/');
  const absl::string_view text = name;
  if (slash == std::string::npos || !IsDomain(text.substr(0, slash)) ||
      !IsName(text.substr(slash + 1), "-_.", kMaxShortName)) {
    Report(place, absl::StrCat("\"", name, "\" is not \"example.com/device\""));
    return;
  }
  // The kubelet does not look whether a dot comes before.
  if (absl::EndsWith(text.substr(0, slash), "kubernetes.io")) {
    Report(place, absl::StrCat("\"", name, "\": kubernetes.io is the kubelet's own"));
  }
  if (absl::StartsWith(text, kQuotaPrefix)) {
    Report(place, absl::StrCat("\"", name, "\": ", kQuotaPrefix, " is for quotas"));
  }
}

void Checker::CheckSelector(const DeviceSelector& selector, const std::string& place) {
  if (!DeviceSelector::Architecture_IsValid(selector.architecture())) {
    Report(absl::StrCat(place, ".architecture"),
           absl::StrCat("unknown architecture ", static_cast<int>(selector.architecture())));
  }
  for (int i = 0; i < selector.capabilities_size(); ++i) {
    const auto capability = selector.capabilities(i);
    if (capability == DeviceSelector::CAPABILITY_UNSPECIFIED ||
        !DeviceSelector::Capability_IsValid(capability)) {
      Report(absl::StrCat(place, ".capabilities[", i, "]"),
             absl::StrCat("unknown capability ", static_cast<int>(capability)));
    }
  }
  for (int i = 0; i < selector.numa_node_size(); ++i) {
    if (selector.numa_node(i) < 0) {
      Report(absl::StrCat(place, ".numa_node[", i, "]"),
             absl::StrCat(selector.numa_node(i), " is no NUMA node"));
    }
  }
  for (int i = 0; i < selector.address_pattern_size(); ++i) {
    if (selector.address_pattern(i).empty()) {
      Report(absl::StrCat(place, ".address_pattern[", i, "]"), "must not be empty");
    }
  }
}

OfferedResource Checker::Resource(const DevicePluginResource& resource, const std::string& place) {
  OfferedResource offered;
  offered.name = resource.name();
  if (resource.name().empty()) {
    Report(place, "has no name");
  } else {
    CheckName(resource.name(), absl::StrCat(place, ".name"));
  }
  offered.short_name = resource.name().substr(resource.name().find('/') + 1);
  offered.environment = EnvironmentOf(offered.short_name);
  offered.selector = resource.selector();
  offered.domain = resource.domain();
  CheckSelector(resource.selector(), absl::StrCat(place, ".selector"));
  return offered;
}

void Checker::Resources(PluginConfig* config) {
  if (message_.resources().empty()) problems_->push_back("resources: at least one is needed");
  std::set<std::string> seen;
  for (int i = 0; i < message_.resources_size(); ++i) {
    const std::string place = absl::StrCat("resources[", i, "]");
    OfferedResource resource = Resource(message_.resources(i), place);
    // Two resources of one container must not give it the same variables and directories.
    if (!resource.short_name.empty() && !seen.insert(resource.environment).second) {
      Report(absl::StrCat(place, ".name"),
             absl::StrCat("\"", resource.name, "\": an earlier one has the variables ",
                          resource.environment, "_..., too"));
    }
    CheckSocketPath(
        absl::StrCat(place, ".name"), resource.name,
        config->device_plugin_dir.size() + 1 + resource.short_name.size() + kSocketNameBytes);
    config->resources.push_back(std::move(resource));
  }
}

PluginConfig Checker::Check() {
  PluginConfig config;
  config.viommud_socket = Directory("viommud_socket", message_.has_viommud_socket(),
                                    message_.viommud_socket(), "/run/viommu/viommud.sock");
  CheckSocketPath("viommud_socket", config.viommud_socket, config.viommud_socket.size());
  config.device_plugin_dir =
      Directory("device_plugin_dir", message_.has_device_plugin_dir(), message_.device_plugin_dir(),
                "/var/lib/kubelet/device-plugins");
  config.pod_resources_socket = PodResourcesSocket();
  config.own_pod = OwnPod();
  config.listener_dir = Optional("listener_dir", message_.listener_dir());
  config.host_listener_dir = Optional("host_listener_dir", message_.host_listener_dir());
  config.container_dir = Directory("container_dir", message_.has_container_dir(),
                                   message_.container_dir(), "/run/viommu");
  config.metrics_address = Address("metrics_address", message_.has_metrics_address()
                                                          ? message_.metrics_address()
                                                          : std::string(kDefaultMetricsAddress));
  config.health_address = Address("health_address", message_.health_address());
  config.log_level = Level();
  DeviceNodes(&config);
  config.listener_mode = ListenerMode();
  if (message_.has_listener_uid()) config.listener_uid = message_.listener_uid();
  if (message_.has_listener_gid()) config.listener_gid = message_.listener_gid();
  config.reconcile_period =
      Seconds("reconcile_period_seconds", message_.has_reconcile_period_seconds(),
              message_.reconcile_period_seconds(), kReconcileSeconds);
  config.grace_period = Seconds("grace_period_seconds", message_.has_grace_period_seconds(),
                                message_.grace_period_seconds(), kGraceSeconds);
  config.viommud_patience =
      Seconds("viommud_patience_seconds", message_.has_viommud_patience_seconds(),
              message_.viommud_patience_seconds(), kPatienceSeconds);
  Resources(&config);
  return config;
}

}  // namespace

CommandLine ParsePluginCommandLine(const std::vector<std::string>& arguments, Problems* problems) {
  return ParseFlags(*DevicePluginConfig::descriptor(), arguments, problems);
}

PluginConfig LoadPluginConfig(const CommandLine& command_line, Problems* problems) {
  DevicePluginConfig message;
  const SettingsSource source(command_line, &message, problems);
  return Checker(message, source, problems).Check();
}

}  // namespace viommu
