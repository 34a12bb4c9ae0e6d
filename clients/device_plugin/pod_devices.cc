#include "clients/device_plugin/pod_devices.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "clients/client/call_error.h"
#include "clients/device_plugin/plugin_error.h"
#include "grpcpp/grpcpp.h"
#include "kubelet/podresources/v1/podresources.grpc.pb.h"

namespace viommu {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(5);
// Of a node with very many pods; what the kubelet itself says at most.
constexpr int kMaxAnswerBytes = 16 << 20;

}  // namespace

absl::StatusOr<PodDevices> DevicesOfPods(const std::string& socket, const std::string& own_pod) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(kMaxAnswerBytes);
  // A connection for each question: between two of them a kubelet may be started anew.
  const auto stub = ::v1::PodResourcesLister::NewStub(grpc::CreateCustomChannel(
      absl::StrCat("unix:", socket), grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kTimeout));
  ::v1::ListPodResourcesResponse pods;
  const grpc::Status listed = stub->List(&context, ::v1::ListPodResourcesRequest(), &pods);
  if (!listed.ok()) return ToStatus(listed);
  PodDevices devices;
  bool knows_own = own_pod.empty();
  for (const auto& pod : pods.pod_resources()) {
    knows_own = knows_own || absl::StrCat(pod.namespace_(), "/", pod.name()) == own_pod;
    for (const auto& container : pod.containers()) {
      for (const auto& part : container.devices()) {
        for (const std::string& id : part.device_ids()) devices[id].insert(part.resource_name());
      }
    }
  }
  if (!knows_own) {
    return PluginError(absl::StatusCode::kUnavailable, "PODS_NOT_KNOWN",
                       absl::StrCat("the kubelet does not tell of ", own_pod, ", which runs"));
  }
  return devices;
}

}  // namespace viommu
