// tests/device_plugin/kubelet_double.h -- A kubelet, as far as device plugins see one.
//
// Written from the rules of the API: when it starts it deletes every socket in its directory;
// inside Register it calls back; each list replaces the one before, and the end of a stream makes
// all devices unhealthy; another endpoint of a resource takes the place of the one before; only the
// first answer of Allocate is read, kept, and used again whenever the container starts; an error of
// GetPreferredAllocation fails the pod. What pods have it remembers over a restart; which there are
// it has to be told.
#ifndef VIOMMU_TESTS_DEVICE_PLUGIN_KUBELET_DOUBLE_H_
#define VIOMMU_TESTS_DEVICE_PLUGIN_KUBELET_DOUBLE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/client_context.h"
#include "grpcpp/server.h"
#include "kubelet/deviceplugin/v1beta1/deviceplugin.grpc.pb.h"
#include "kubelet/podresources/v1/podresources.grpc.pb.h"

namespace viommu {

// Thread-safe.
class KubeletDouble {
 public:
  using Container = ::v1beta1::ContainerAllocateResponse;
  struct SeenDevice {
    bool healthy = false;
    std::vector<int64_t> numa_nodes;
    bool has_topology = false;
  };

  // Serves "kubelet.sock" in both directories once it is started.
  KubeletDouble(std::string plugin_dir, std::string pod_resources_dir);
  ~KubeletDouble();

  void Start();
  // What runs is cut.
  void Stop();

  // Of the last list of the resource.
  std::map<std::string, SeenDevice> Devices(const std::string& resource) const;
  std::set<std::string> HealthyDevices(const std::string& resource) const;
  // Registrations since the start of the test; base name of the last endpoint.
  int registrations(const std::string& resource) const;
  std::string endpoint(const std::string& resource) const;

  // Places a pod with one container that wants `count` healthy devices that no other has.
  absl::StatusOr<Container> AddPod(const std::string& pod, const std::string& resource, int count);
  // The same with these devices.
  absl::StatusOr<Container> AddPodWith(const std::string& pod, const std::string& resource,
                                       const std::set<std::string>& devices);
  // Starts the container of a pod, again or for the first time, with the answer that it kept.
  absl::StatusOr<Container> StartContainer(const std::string& pod);
  void DeletePod(const std::string& pod);
  // Whether the API server has told it of its pods; those keep running.
  void SetKnowsPods(bool knows);
  std::set<std::string> DevicesOf(const std::string& pod) const;

  // To ask the plugin what no kubelet would.
  std::unique_ptr<::v1beta1::DevicePlugin::Stub> Plugin(const std::string& resource) const;

 private:
  // A plugin that has registered, and the thread that takes its lists.
  struct Endpoint;
  struct Pod {
    std::string resource;
    std::set<std::string> devices;
    Container answer;
  };
  class RegistrationService;
  class PodResourcesService;

  grpc::Status Register(const ::v1beta1::RegisterRequest& request);
  void List(::v1::ListPodResourcesResponse* response) const;
  std::unique_ptr<::v1beta1::DevicePlugin::Stub> Dial(const std::string& endpoint) const;
  absl::StatusOr<std::set<std::string>> Choose(const std::string& resource, int count) const;
  void Follow(Endpoint* endpoint);

  // Where it runs the plugin.
  static constexpr char kPluginNamespace[] = "viommu";
  static constexpr char kPluginPod[] = "viommu-x7k2p";

  const std::string plugin_dir_;
  const std::string pod_resources_dir_;
  std::unique_ptr<RegistrationService> registration_;
  std::unique_ptr<PodResourcesService> pod_resources_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<grpc::Server> pod_server_;

  mutable absl::Mutex mutex_;
  std::map<std::string, std::unique_ptr<Endpoint>> endpoints_ ABSL_GUARDED_BY(mutex_);
  // Those that another has taken the place of; joined at the end.
  std::vector<std::unique_ptr<Endpoint>> replaced_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Pod> pods_ ABSL_GUARDED_BY(mutex_);
  bool knows_pods_ ABSL_GUARDED_BY(mutex_) = true;
  std::map<std::string, int> registrations_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace viommu

#endif  // VIOMMU_TESTS_DEVICE_PLUGIN_KUBELET_DOUBLE_H_
