// clients/device_plugin/plugin_service.h -- What the kubelet asks about one resource.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_PLUGIN_SERVICE_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_PLUGIN_SERVICE_H_

#include <atomic>

#include "absl/status/statusor.h"
#include "clients/device_plugin/allocator.h"
#include "clients/device_plugin/inventory.h"
#include "clients/device_plugin/plugin_config.h"
#include "clients/device_plugin/plugin_metrics.h"
#include "kubelet/deviceplugin/v1beta1/deviceplugin.grpc.pb.h"
#include "server/log.h"

namespace viommu {

// What all resources have in common. All outlive the services.
struct PluginParts {
  const PluginConfig* config = nullptr;
  Inventory* inventory = nullptr;
  Allocator* allocator = nullptr;
  const PluginMetrics* metrics = nullptr;
  Log* log = nullptr;
};

// What the kubelet wants to be answered to GetDevicePluginOptions and told by Register.
::v1beta1::DevicePluginOptions PluginOptions();

// Thread-safe.
class PluginService final : public ::v1beta1::DevicePlugin::Service {
 public:
  // `resource` is one of the config's.
  PluginService(const PluginParts& parts, const OfferedResource* resource)
      : parts_(parts), resource_(*resource), metrics_(parts.metrics->Of(*resource)) {}

  // Lists that are being followed.
  int streams() const { return streams_; }
  // Ends them, and lets no other begin.
  void EndStreams() { ending_ = true; }

  grpc::Status GetDevicePluginOptions(grpc::ServerContext* context, const ::v1beta1::Empty* request,
                                      ::v1beta1::DevicePluginOptions* response) override;
  grpc::Status ListAndWatch(grpc::ServerContext* context, const ::v1beta1::Empty* request,
                            grpc::ServerWriter<::v1beta1::ListAndWatchResponse>* writer) override;
  grpc::Status GetPreferredAllocation(grpc::ServerContext* context,
                                      const ::v1beta1::PreferredAllocationRequest* request,
                                      ::v1beta1::PreferredAllocationResponse* response) override;
  grpc::Status Allocate(grpc::ServerContext* context, const ::v1beta1::AllocateRequest* request,
                        ::v1beta1::AllocateResponse* response) override;
  grpc::Status PreStartContainer(grpc::ServerContext* context,
                                 const ::v1beta1::PreStartContainerRequest* request,
                                 ::v1beta1::PreStartContainerResponse* response) override;

 private:
  absl::StatusOr<::v1beta1::ContainerAllocateResponse> AllocateOne(
      const grpc::ServerContext& context, const ::v1beta1::ContainerAllocateRequest& request,
      Allocation* made);

  const PluginParts parts_;
  const OfferedResource& resource_;
  const ResourceMetrics& metrics_;
  std::atomic<int> streams_{0};
  std::atomic<bool> ending_{false};
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_PLUGIN_SERVICE_H_
