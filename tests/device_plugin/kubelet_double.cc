#include "tests/device_plugin/kubelet_double.h"

#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "clients/client/call_error.h"
#include "grpcpp/grpcpp.h"

namespace viommu {
namespace {

// As the kubelet's for PreStartContainer; for the others it has none.
constexpr absl::Duration kTimeout = absl::Seconds(30);

void SetDeadline(grpc::ClientContext* context) {
  context->set_deadline(absl::ToChronoTime(absl::Now() + kTimeout));
}

void DeleteSockets(const std::string& directory) {
  std::vector<std::filesystem::path> sockets;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.is_socket()) sockets.push_back(entry.path());
  }
  for (const auto& socket : sockets) std::filesystem::remove(socket);
}

std::unique_ptr<grpc::Server> Serve(grpc::Service* service, const std::string& path) {
  grpc::ServerBuilder builder;
  builder.RegisterService(service);
  builder.AddListeningPort(absl::StrCat("unix:", path), grpc::InsecureServerCredentials());
  return builder.BuildAndStart();
}

void ShutDown(std::unique_ptr<grpc::Server>* server) {
  if (*server != nullptr) (*server)->Shutdown(absl::ToChronoTime(absl::Now()));
  server->reset();
}

}  // namespace

struct KubeletDouble::Endpoint {
  std::string name;
  std::string resource;
  std::unique_ptr<::v1beta1::DevicePlugin::Stub> stub;
  grpc::ClientContext context;
  std::map<std::string, SeenDevice> devices;  // Guarded by the kubelet's mutex_.
  std::thread thread;

  ~Endpoint() {
    context.TryCancel();
    if (thread.joinable()) thread.join();
  }
};

class KubeletDouble::RegistrationService final : public ::v1beta1::Registration::Service {
 public:
  explicit RegistrationService(KubeletDouble* kubelet) : kubelet_(*kubelet) {}
  grpc::Status Register(grpc::ServerContext* /*context*/, const ::v1beta1::RegisterRequest* request,
                        ::v1beta1::Empty* /*response*/) override {
    return kubelet_.Register(*request);
  }

 private:
  KubeletDouble& kubelet_;
};

class KubeletDouble::PodResourcesService final : public ::v1::PodResourcesLister::Service {
 public:
  explicit PodResourcesService(const KubeletDouble* kubelet) : kubelet_(*kubelet) {}
  grpc::Status List(grpc::ServerContext* /*context*/,
                    const ::v1::ListPodResourcesRequest* /*request*/,
                    ::v1::ListPodResourcesResponse* response) override {
    kubelet_.List(response);
    return grpc::Status::OK;
  }

 private:
  const KubeletDouble& kubelet_;
};

KubeletDouble::KubeletDouble(std::string plugin_dir, std::string pod_resources_dir)
    : plugin_dir_(std::move(plugin_dir)),
      pod_resources_dir_(std::move(pod_resources_dir)),
      registration_(std::make_unique<RegistrationService>(this)),
      pod_resources_(std::make_unique<PodResourcesService>(this)) {}

KubeletDouble::~KubeletDouble() { Stop(); }

void KubeletDouble::Start() {
  DeleteSockets(plugin_dir_);
  pod_server_ = Serve(pod_resources_.get(), absl::StrCat(pod_resources_dir_, "/kubelet.sock"));
  server_ = Serve(registration_.get(), absl::StrCat(plugin_dir_, "/kubelet.sock"));
}

void KubeletDouble::Stop() {
  ShutDown(&server_);
  ShutDown(&pod_server_);
  std::map<std::string, std::unique_ptr<Endpoint>> endpoints;
  std::vector<std::unique_ptr<Endpoint>> replaced;
  {
    const absl::MutexLock lock(&mutex_);
    endpoints.swap(endpoints_);
    replaced.swap(replaced_);
  }
}

std::unique_ptr<::v1beta1::DevicePlugin::Stub> KubeletDouble::Dial(
    const std::string& endpoint) const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return ::v1beta1::DevicePlugin::NewStub(
      grpc::CreateCustomChannel(absl::StrCat("unix:", plugin_dir_, "/", endpoint),
                                grpc::InsecureChannelCredentials(), arguments));
}

grpc::Status KubeletDouble::Register(const ::v1beta1::RegisterRequest& request) {
  const std::string& resource = request.resource_name();
  if (request.version() != "v1beta1") return {grpc::StatusCode::INVALID_ARGUMENT, "version"};
  if (!absl::StrContains(resource, '/') || absl::StrContains(resource, "kubernetes.io/")) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "resource name"};
  }
  if (absl::StrContains(request.endpoint(), '/')) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "endpoint"};
  }
  auto endpoint = std::make_unique<Endpoint>();
  endpoint->name = request.endpoint();
  endpoint->resource = resource;
  endpoint->stub = Dial(request.endpoint());
  // Inside Register: whoever serves only afterwards never gets registered.
  grpc::ClientContext context;
  SetDeadline(&context);
  ::v1beta1::DevicePluginOptions options;
  grpc::Status asked =
      endpoint->stub->GetDevicePluginOptions(&context, ::v1beta1::Empty(), &options);
  if (!asked.ok()) return asked;
  // Both are used below.
  if (!options.get_preferred_allocation_available() || !options.pre_start_required()) {
    return {grpc::StatusCode::FAILED_PRECONDITION, "options"};
  }
  const absl::MutexLock lock(&mutex_);
  ++registrations_[resource];
  Endpoint* const started = endpoint.get();
  std::unique_ptr<Endpoint>& place = endpoints_[resource];
  if (place != nullptr) {
    place->context.TryCancel();
    replaced_.push_back(std::move(place));
  }
  place = std::move(endpoint);
  started->thread = std::thread([this, started] { Follow(started); });
  return grpc::Status::OK;
}

void KubeletDouble::Follow(Endpoint* endpoint) {
  const auto reader = endpoint->stub->ListAndWatch(&endpoint->context, ::v1beta1::Empty());
  ::v1beta1::ListAndWatchResponse list;
  while (reader->Read(&list)) {
    std::map<std::string, SeenDevice> devices;
    for (const auto& device : list.devices()) {
      SeenDevice& seen = devices[device.id()];
      seen.healthy = device.health() == "Healthy";
      seen.has_topology = device.has_topology();
      for (const auto& node : device.topology().nodes()) seen.numa_nodes.push_back(node.id());
    }
    const absl::MutexLock lock(&mutex_);
    endpoint->devices = std::move(devices);
  }
  reader->Finish();
  const absl::MutexLock lock(&mutex_);
  for (auto& [id, device] : endpoint->devices) device.healthy = false;
}

void KubeletDouble::List(::v1::ListPodResourcesResponse* response) const {
  const absl::MutexLock lock(&mutex_);
  if (!knows_pods_) return;
  // A pod without devices is told of as well.
  ::v1::PodResources& plugin = *response->add_pod_resources();
  plugin.set_namespace_(kPluginNamespace);
  plugin.set_name(kPluginPod);
  for (const auto& [name, pod] : pods_) {
    ::v1::PodResources& resources = *response->add_pod_resources();
    resources.set_namespace_("default");
    resources.set_name(name);
    ::v1::ContainerResources& container = *resources.add_containers();
    container.set_name("main");
    // As the kubelet does for devices near to different nodes: several entries of one resource.
    for (const std::string& device : pod.devices) {
      ::v1::ContainerDevices& part = *container.add_devices();
      part.set_resource_name(pod.resource);
      part.add_device_ids(device);
    }
  }
}

std::map<std::string, KubeletDouble::SeenDevice> KubeletDouble::Devices(
    const std::string& resource) const {
  const absl::MutexLock lock(&mutex_);
  const auto found = endpoints_.find(resource);
  if (found == endpoints_.end()) return {};
  return found->second->devices;
}

std::set<std::string> KubeletDouble::HealthyDevices(const std::string& resource) const {
  std::set<std::string> healthy;
  for (const auto& [id, device] : Devices(resource)) {
    if (device.healthy) healthy.insert(id);
  }
  return healthy;
}

int KubeletDouble::registrations(const std::string& resource) const {
  const absl::MutexLock lock(&mutex_);
  const auto found = registrations_.find(resource);
  return found == registrations_.end() ? 0 : found->second;
}

std::string KubeletDouble::endpoint(const std::string& resource) const {
  const absl::MutexLock lock(&mutex_);
  const auto found = endpoints_.find(resource);
  return found == endpoints_.end() ? "" : found->second->name;
}

std::unique_ptr<::v1beta1::DevicePlugin::Stub> KubeletDouble::Plugin(
    const std::string& resource) const {
  return Dial(endpoint(resource));
}

absl::StatusOr<std::set<std::string>> KubeletDouble::Choose(const std::string& resource,
                                                            int count) const {
  std::set<std::string> available = HealthyDevices(resource);
  {
    const absl::MutexLock lock(&mutex_);
    for (const auto& [name, pod] : pods_) {
      for (const std::string& taken : pod.devices) available.erase(taken);
    }
  }
  if (available.size() < static_cast<size_t>(count)) {
    return absl::ResourceExhaustedError("too few devices");
  }
  ::v1beta1::PreferredAllocationRequest request;
  auto& container = *request.add_container_requests();
  for (const std::string& id : available) container.add_available_deviceids(id);
  container.set_allocation_size(count);
  ::v1beta1::PreferredAllocationResponse preferred;
  grpc::ClientContext context;
  SetDeadline(&context);
  const grpc::Status asked =
      Plugin(resource)->GetPreferredAllocation(&context, request, &preferred);
  if (!asked.ok()) return ToStatus(asked);
  const auto& ids = preferred.container_responses(0).deviceids();
  return std::set<std::string>(ids.begin(), ids.end());
}

absl::StatusOr<KubeletDouble::Container> KubeletDouble::AddPod(const std::string& pod,
                                                               const std::string& resource,
                                                               int count) {
  const auto devices = Choose(resource, count);
  if (!devices.ok()) return devices.status();
  return AddPodWith(pod, resource, *devices);
}

absl::StatusOr<KubeletDouble::Container> KubeletDouble::AddPodWith(
    const std::string& pod, const std::string& resource, const std::set<std::string>& devices) {
  ::v1beta1::AllocateRequest request;
  auto& container = *request.add_container_requests();
  for (const std::string& id : devices) container.add_devices_ids(id);
  ::v1beta1::AllocateResponse response;
  grpc::ClientContext context;  // Without a deadline, as the kubelet.
  const grpc::Status allocated = Plugin(resource)->Allocate(&context, request, &response);
  if (!allocated.ok()) return ToStatus(allocated);
  if (response.container_responses().empty()) return absl::InternalError("no answer");
  {
    const absl::MutexLock lock(&mutex_);
    pods_[pod] = {resource, devices, response.container_responses(0)};
  }
  return StartContainer(pod);
}

absl::StatusOr<KubeletDouble::Container> KubeletDouble::StartContainer(const std::string& name) {
  Pod pod;
  {
    const absl::MutexLock lock(&mutex_);
    const auto found = pods_.find(name);
    if (found == pods_.end()) return absl::NotFoundError(name);
    pod = found->second;
  }
  ::v1beta1::PreStartContainerRequest request;
  for (const std::string& id : pod.devices) request.add_devices_ids(id);
  ::v1beta1::PreStartContainerResponse response;
  grpc::ClientContext context;
  SetDeadline(&context);
  const grpc::Status started =
      Plugin(pod.resource)->PreStartContainer(&context, request, &response);
  if (!started.ok()) return ToStatus(started);
  return pod.answer;
}

void KubeletDouble::SetKnowsPods(bool knows) {
  const absl::MutexLock lock(&mutex_);
  knows_pods_ = knows;
}

void KubeletDouble::DeletePod(const std::string& pod) {
  const absl::MutexLock lock(&mutex_);
  pods_.erase(pod);
}

std::set<std::string> KubeletDouble::DevicesOf(const std::string& pod) const {
  const absl::MutexLock lock(&mutex_);
  const auto found = pods_.find(pod);
  return found == pods_.end() ? std::set<std::string>() : found->second.devices;
}

}  // namespace viommu
