#include "tests/device_plugin/plugin_fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/device_plugin/allocation_book.h"
#include "engine/base/env.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/domain.grpc.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/listener.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu {
namespace {

constexpr char kTopology[] = R"(
iommus { id: "dmar0" numa_node: 0 vtd {} }
iommus { id: "dmar1" numa_node: 1 vtd { first_stage: true nesting: true page_requests: true } }
iommus { id: "smmu0" smmu_v3 {} }
devices { id: "0001:01:00.0" iommu: "smmu0" }
devices { id: "0000:00:02.0" iommu: "dmar0" numa_node: 0
  reserved_regions { first: 0x7a000000 last: 0x7a7fffff type: RESERVED_REGION_TYPE_DIRECT } }
devices { id: "0000:01:00.0" iommu: "dmar0" numa_node: 0 }
devices { id: "0000:02:00.0" iommu: "dmar0" group: "nic0" numa_node: 0 }
devices { id: "0000:02:00.1" iommu: "dmar0" group: "nic0" numa_node: 0 }
devices { id: "0000:03:00.0" iommu: "dmar0" }
devices { id: "0000:81:00.0" iommu: "dmar1" numa_node: 1 pasid_bits: 20 ats: true pri: true }
devices { id: "0000:82:00.0" iommu: "dmar1" numa_node: 1 pasid_bits: 20 ats: true }
)";

constexpr char kResources[] = R"(
resources { name: "viommu.dev/near" selector { iommu: "dmar0" } }
resources { name: "viommu.dev/pasid" selector { capabilities: CAPABILITY_PASID } domain { pasid: true } }
)";

// Short, because a socket's path is.
std::string NewFolder() {
  std::string path = "/tmp/viommu-XXXXXX";
  EXPECT_NE(mkdtemp(path.data()), nullptr);
  for (const char* name : {"/plugins", "/pods"}) std::filesystem::create_directory(path + name);
  std::ofstream(path + "/topology.textproto") << kTopology;
  std::ofstream(path + "/plugin.textproto") << kResources;
  return path;
}

bool HasLabels(const prometheus::ClientMetric& metric, const std::string& resource,
               const std::string& label) {
  bool has_resource = resource.empty();
  bool has_label = label.empty();
  for (const auto& pair : metric.label) {
    has_resource = has_resource || (pair.name == "resource" && pair.value == resource);
    has_label = has_label || (pair.name != "resource" && pair.value == label);
  }
  return has_resource && has_label;
}

}  // namespace

RunningPlugin::RunningPlugin(PluginConfig config, const DevicePlugin::Options& options,
                             const std::string& log_path)
    : config_(std::move(config)),
      log_fd_(open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)),
      log_(LogLevel::kDebug, log_fd_, RealEnv()),
      plugin_(std::make_unique<DevicePlugin>(&config_, options, &registry_, &log_)) {}

RunningPlugin::~RunningPlugin() {
  plugin_.reset();
  close(log_fd_);
}

double RunningPlugin::Metric(const std::string& name, const std::string& resource,
                             const std::string& label) const {
  for (const auto& family : registry_.Collect()) {
    if (family.name != "viommu_device_plugin_" + name) continue;
    for (const auto& metric : family.metric) {
      if (HasLabels(metric, resource, label)) return metric.gauge.value + metric.counter.value;
    }
  }
  ADD_FAILURE() << "no series " << name << " of " << resource << " " << label;
  return -1;
}

double RunningPlugin::Begun(const std::string& method) const {
  for (const auto& family : registry_.Collect()) {
    if (family.name != "grpc_server_started_total") continue;
    for (const auto& metric : family.metric) {
      if (HasLabels(metric, "", method)) return metric.counter.value;
    }
  }
  ADD_FAILURE() << "no such calls: " << method;
  return -1;
}

PluginTest::PluginTest(std::vector<std::string> flags)
    : folder_(NewFolder()), flags_(std::move(flags)), kubelet_(Path("plugins"), Path("pods")) {
  kubelet_.Start();
  StartViommud();
}

PluginTest::~PluginTest() {
  plugin_.reset();
  kubelet_.Stop();
  client_.reset();
  viommud_.reset();
  if (HasFailure()) std::fputs(Log().c_str(), stderr);
  std::filesystem::remove_all(folder_);
}

void PluginTest::StartViommud() {
  std::vector<std::string> flags = {
      "--state_dir=" + Path("state"), "--unix_socket=" + Path("viommud.sock"),
      "--listener_dir=" + Path("listeners"), "--topology=" + Path("topology.textproto")};
  flags.insert(flags.end(), flags_.begin(), flags_.end());
  viommud_ = std::make_unique<ChildProcess>("server/viommud", flags, Path("viommud.log"));
  ClientOptions options;
  options.connect_timeout = kPatience;
  auto client = Client::Connect("unix:" + Path("viommud.sock"), options);
  ASSERT_TRUE(client.ok()) << client.status() << Log();
  client_ = *std::move(client);
}

void PluginTest::StopViommud() {
  client_.reset();
  viommud_->Signal(SIGTERM);
  EXPECT_EQ(viommud_->Wait(), 0);
}

PluginConfig PluginTest::Config() const {
  Problems problems;
  const CommandLine line = ParsePluginCommandLine(
      {"--config=" + Path("plugin.textproto"), "--viommud_socket=" + Path("viommud.sock"),
       "--device_plugin_dir=" + Path("plugins"), "--pod_resources_dir=" + Path("pods"),
       "--own_pod=viommu/viommu-x7k2p"},
      &problems);
  PluginConfig config = LoadPluginConfig(line, &problems);
  EXPECT_TRUE(problems.empty()) << problems.front();
  return config;
}

DevicePlugin::Options PluginTest::Options() const {
  DevicePlugin::Options options;
  options.registrar.look = absl::Milliseconds(100);
  options.registrar.retry = absl::Milliseconds(50);
  options.keeper = Keeper::Options{absl::Milliseconds(50), kGrace};
  options.viommud_patience = absl::Milliseconds(200);
  return options;
}

std::unique_ptr<RunningPlugin> PluginTest::NewPlugin(PluginConfig config,
                                                     const DevicePlugin::Options& options) const {
  return std::make_unique<RunningPlugin>(std::move(config), options, Path("plugin.log"));
}

void PluginTest::StartPlugin(PluginConfig config, const DevicePlugin::Options& options) {
  ReplacePlugin(std::move(config), options);
  AwaitHealthy();
}

void PluginTest::ReplacePlugin(PluginConfig config, const DevicePlugin::Options& options) {
  plugin_.reset();
  // Until then the kubelet may still have the list of the former one, and call that.
  std::map<std::string, int> before;
  for (const auto& resource : config.resources) {
    before[resource.name] = kubelet_.registrations(resource.name);
  }
  plugin_ = NewPlugin(std::move(config), options);
  ASSERT_TRUE(Soon([&] {
    return std::all_of(before.begin(), before.end(), [this](const auto& entry) {
      return kubelet_.registrations(entry.first) > entry.second;
    });
  })) << Log();
}

void PluginTest::AwaitHealthy() {
  ASSERT_TRUE(Soon([this] {
    return kubelet_.HealthyDevices(kNear).size() == 4 &&
           kubelet_.HealthyDevices(kPasid).size() == 2;
  })) << Log();
}

bool PluginTest::Soon(const std::function<bool()>& holds) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!holds()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(10));
  }
  return true;
}

Client& PluginTest::viommud() { return *client_; }

v1::Device PluginTest::GetDevice(const std::string& id) {
  v1::GetDeviceRequest request;
  request.set_name("devices/" + id);
  const auto device = viommud().Call(&v1::DeviceService::Stub::GetDevice, request);
  EXPECT_TRUE(device.ok()) << device.status();
  return device.value_or(v1::Device());
}

void PluginTest::SetHealth(const std::string& id, v1::DeviceHealth health) {
  v1::SetDeviceHealthRequest request;
  request.set_name("devices/" + id);
  request.set_health(health);
  if (health == v1::DEVICE_HEALTH_UNHEALTHY) request.set_health_reason("too hot");
  const auto set = viommud().Call(&v1::SimulationService::Stub::SetDeviceHealth, request);
  ASSERT_TRUE(set.ok()) << set.status();
}

std::set<std::string> PluginTest::Allocations() {
  Viommud viommud(Path("viommud.sock"));
  const auto book = ReadBook(viommud);
  EXPECT_TRUE(book.ok()) << book.status();
  std::set<std::string> names;
  if (!book.ok()) return names;
  for (const auto& [name, record] : *book) names.insert(name);
  return names;
}

size_t PluginTest::Leftovers() {
  using v1::DomainService;
  using v1::IoasService;
  using v1::MemoryService;
  const auto ioas = viommud().Call(&IoasService::Stub::ListIoas, v1::ListIoasRequest());
  const auto regions =
      viommud().Call(&MemoryService::Stub::ListMemoryRegions, v1::ListMemoryRegionsRequest());
  const auto domains = viommud().Call(&DomainService::Stub::ListDomains, v1::ListDomainsRequest());
  const auto listeners =
      viommud().Call(&v1::ListenerService::Stub::ListListeners, v1::ListListenersRequest());
  const auto attachments =
      viommud().Call(&v1::DeviceService::Stub::ListAttachments, v1::ListAttachmentsRequest());
  EXPECT_TRUE(ioas.ok() && regions.ok() && domains.ok() && listeners.ok() && attachments.ok());
  size_t directories = 0;
  for (const auto& entry : std::filesystem::directory_iterator(Path("listeners"))) {
    if (entry.is_directory()) ++directories;
  }
  return ioas->ioas_size() + regions->memory_regions_size() + domains->domains_size() +
         listeners->listeners_size() + attachments->attachments_size() + directories;
}

absl::StatusOr<std::unique_ptr<Client>> PluginTest::Inside(
    const KubeletDouble::Container& container, absl::Duration patience) {
  ClientOptions options;
  options.connect_timeout = patience;
  options.reconnect_timeout = absl::ZeroDuration();
  options.max_attempts = 1;
  return Client::Connect(absl::StrCat("unix:", container.mounts(0).host_path(), "/viommu.sock"),
                         options);
}

void PluginTest::FillMemory(Client& container, const std::string& text) {
  v1::CreateMemoryRegionRequest region;
  region.set_memory_region_id("ram");
  region.mutable_memory_region()->set_size_bytes(kPage);
  const auto made = container.Call(&v1::MemoryService::Stub::CreateMemoryRegion, region);
  ASSERT_TRUE(made.ok()) << made.status();
  v1::MapRequest map;
  map.set_name("ioas/main");
  v1::MapEntry& entry = *map.add_mappings();
  entry.set_iova(kIova);
  entry.set_memory_region("memoryRegions/ram");
  entry.set_length(kPage);
  const auto mapped = container.Call(&v1::IoasService::Stub::Map, map);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  v1::WriteMemoryRequest write;
  write.set_name("memoryRegions/ram");
  write.set_data(text);
  const auto written = container.Call(&v1::SimulationService::Stub::WriteMemory, write);
  ASSERT_TRUE(written.ok()) << written.status();
}

std::optional<std::string> PluginTest::ReadByDevice(Client& client, const std::string& id,
                                                    size_t size) {
  v1::DmaRequest request;
  request.set_name("devices/" + id);
  request.set_iova(kIova);
  request.set_read_length(size);
  const auto dma = client.Call(&v1::SimulationService::Stub::Dma, request);
  EXPECT_TRUE(dma.ok()) << dma.status();
  if (!dma.ok() || dma->has_fault()) return std::nullopt;
  return dma->data();
}

std::string PluginTest::Log() const {
  std::ostringstream all;
  for (const char* name : {"viommud.log", "plugin.log"}) {
    std::ifstream in(Path(name));
    all << "--- " << name << "\n" << in.rdbuf();
  }
  return all.str();
}

}  // namespace viommu
