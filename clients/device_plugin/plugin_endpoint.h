// clients/device_plugin/plugin_endpoint.h -- The socket at which the kubelet finds one resource.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_PLUGIN_ENDPOINT_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_PLUGIN_ENDPOINT_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "clients/device_plugin/plugin_config.h"
#include "clients/device_plugin/plugin_service.h"
#include "grpcpp/server.h"
#include "server/rpc_metrics.h"

namespace viommu {

// Whether a socket of the resource, of this plugin or another, can have this base name.
bool IsSocketOf(const OfferedResource& resource, absl::string_view name);

// Serves until it is destroyed, under a name that no other has or had. Thread-safe.
class PluginEndpoint {
 public:
  // `parts` and `rpc_metrics` outlive it.
  // kUnavailable ENDPOINT_FAILED: no socket can be made in the directory
  static absl::StatusOr<std::unique_ptr<PluginEndpoint>> Serve(const PluginParts& parts,
                                                               const OfferedResource* resource,
                                                               const RpcMetrics* rpc_metrics);
  // Ends the lists, and waits a while for calls that run.
  ~PluginEndpoint();
  PluginEndpoint(const PluginEndpoint&) = delete;
  PluginEndpoint& operator=(const PluginEndpoint&) = delete;

  // Base name of the socket.
  const std::string& name() const { return name_; }
  // Whether the socket is there, and is still its own.
  bool IsThere() const;
  // Lists that the kubelet follows.
  int streams() const { return service_->streams(); }

 private:
  PluginEndpoint(std::string name, std::string path, std::unique_ptr<PluginService> service,
                 std::unique_ptr<grpc::Server> server);

  const std::string name_;
  const std::string path_;
  const uint64_t inode_;
  const std::unique_ptr<PluginService> service_;  // Outlives server_.
  const std::unique_ptr<grpc::Server> server_;
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_PLUGIN_ENDPOINT_H_
