#include "clients/device_plugin/container_answer.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "clients/device_plugin/selector.h"
#include "clients/device_plugin/vfio_node.h"

namespace viommu {
namespace {

// Reading and writing; nobody in a container makes nodes.
constexpr char kPermissions[] = "rw";

std::string DirectoryInContainer(const PluginConfig& config, const OfferedResource& resource) {
  return absl::StrCat(config.container_dir, "/", resource.short_name);
}

std::string DirectoryOnHost(const PluginConfig& config, const Allocation& allocation) {
  if (config.host_listener_dir.empty()) return allocation.listener_dir;
  return absl::StrCat(config.host_listener_dir, "/", allocation.name);
}

void AddVariables(const PluginConfig& config, const OfferedResource& resource,
                  const Allocation& allocation, ::v1beta1::ContainerAllocateResponse* answer) {
  std::vector<std::string> devices;
  for (const std::string& id : allocation.devices) devices.push_back(NameOfDevice(id));
  const auto set = [&](absl::string_view name, std::string value) {
    (*answer->mutable_envs())[absl::StrCat(resource.environment, "_", name)] = std::move(value);
  };
  set("SOCKET", absl::StrCat(DirectoryInContainer(config, resource), "/viommu.sock"));
  set("DEVICES", absl::StrJoin(devices, ","));
  set("IOAS", allocation.ioas);
  set("DOMAINS", absl::StrJoin(allocation.domains, ","));
  set("ALLOCATION", allocation.name);
}

void AddNode(const PluginConfig& config, const std::string& node,
             ::v1beta1::ContainerAllocateResponse* answer) {
  ::v1beta1::DeviceSpec& spec = *answer->add_devices();
  spec.set_container_path(absl::StrCat("/dev/", node));
  spec.set_host_path(absl::StrCat(config.dev_dir, "/", node));
  spec.set_permissions(kPermissions);
}

absl::Status AddNodes(const PluginConfig& config, const Allocation& allocation,
                      ::v1beta1::ContainerAllocateResponse* answer) {
  AddNode(config, "iommu", answer);
  for (const std::string& id : allocation.devices) {
    const auto node = VfioNode(config.sysfs_dir, id);
    if (!node.ok()) return node.status();
    AddNode(config, absl::StrCat("vfio/devices/", *node), answer);
    if (config.cdi_kind.empty()) continue;
    answer->add_cdi_devices()->set_name(absl::StrCat(config.cdi_kind, "=", id));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<::v1beta1::ContainerAllocateResponse> ContainerAnswer(
    const PluginConfig& config, const OfferedResource& resource, const Allocation& allocation) {
  ::v1beta1::ContainerAllocateResponse answer;
  AddVariables(config, resource, allocation, &answer);
  ::v1beta1::Mount& mount = *answer.add_mounts();
  // The directory, not the socket: when viommud is started anew there is a new one in it. Nobody
  // has to write in the directory to connect.
  mount.set_container_path(DirectoryInContainer(config, resource));
  mount.set_host_path(DirectoryOnHost(config, allocation));
  mount.set_read_only(true);
  if (config.device_nodes) {
    absl::Status added = AddNodes(config, allocation, &answer);
    if (!added.ok()) return added;
  }
  return answer;
}

}  // namespace viommu
