// Our protos are on the wire what the kubelet's are: names of methods, numbers and types of fields.
// The kubelet's double speaks ours, and would not notice.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"
#include "kubelet/deviceplugin/v1beta1/deviceplugin.pb.h"
#include "kubelet/podresources/v1/podresources.pb.h"

namespace viommu {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::FileDescriptor;
using ::google::protobuf::MethodDescriptor;
using ::testing::UnorderedElementsAreArray;

std::string TypeOf(const FieldDescriptor& field) {
  if (field.is_map()) {
    const Descriptor& entry = *field.message_type();
    return absl::StrCat("map ", TypeOf(*entry.field(0)), " ", TypeOf(*entry.field(1)));
  }
  const std::string type = field.message_type() == nullptr
                               ? std::string(field.type_name())
                               : std::string(field.message_type()->full_name());
  return absl::StrCat(field.is_repeated() ? "repeated " : "", type);
}

// One line a method and a field.
std::vector<std::string> LinesOf(const FileDescriptor& file) {
  std::vector<std::string> lines;
  for (int i = 0; i < file.service_count(); ++i) {
    for (int j = 0; j < file.service(i)->method_count(); ++j) {
      const MethodDescriptor& method = *file.service(i)->method(j);
      lines.push_back(absl::StrCat(
          "/", file.service(i)->full_name(), "/", method.name(), " ", method.input_type()->name(),
          " -> ", method.server_streaming() ? "stream " : "", method.output_type()->name()));
    }
  }
  for (int i = 0; i < file.message_type_count(); ++i) {
    const Descriptor& message = *file.message_type(i);
    for (int j = 0; j < message.field_count(); ++j) {
      const FieldDescriptor& field = *message.field(j);
      lines.push_back(
          absl::StrCat(message.name(), " ", field.number(), " ", field.name(), " ", TypeOf(field)));
    }
  }
  return lines;
}

TEST(WireTest, IsTheKubeletsDevicePluginApi) {
  const std::vector<std::string> want = {
      "/v1beta1.Registration/Register RegisterRequest -> Empty",
      "/v1beta1.DevicePlugin/GetDevicePluginOptions Empty -> DevicePluginOptions",
      "/v1beta1.DevicePlugin/ListAndWatch Empty -> stream ListAndWatchResponse",
      ("/v1beta1.DevicePlugin/GetPreferredAllocation PreferredAllocationRequest -> "
       "PreferredAllocationResponse"),
      "/v1beta1.DevicePlugin/Allocate AllocateRequest -> AllocateResponse",
      ("/v1beta1.DevicePlugin/PreStartContainer PreStartContainerRequest -> "
       "PreStartContainerResponse"),
      "DevicePluginOptions 1 pre_start_required bool",
      "DevicePluginOptions 2 get_preferred_allocation_available bool",
      "RegisterRequest 1 version string",
      "RegisterRequest 2 endpoint string",
      "RegisterRequest 3 resource_name string",
      "RegisterRequest 4 options v1beta1.DevicePluginOptions",
      "ListAndWatchResponse 1 devices repeated v1beta1.Device",
      "TopologyInfo 1 nodes repeated v1beta1.NUMANode",
      "NUMANode 1 ID int64",
      "Device 1 ID string",
      "Device 2 health string",
      "Device 3 topology v1beta1.TopologyInfo",
      "PreStartContainerRequest 1 devices_ids repeated string",
      ("PreferredAllocationRequest 1 container_requests repeated "
       "v1beta1.ContainerPreferredAllocationRequest"),
      "ContainerPreferredAllocationRequest 1 available_deviceIDs repeated string",
      "ContainerPreferredAllocationRequest 2 must_include_deviceIDs repeated string",
      "ContainerPreferredAllocationRequest 3 allocation_size int32",
      ("PreferredAllocationResponse 1 container_responses repeated "
       "v1beta1.ContainerPreferredAllocationResponse"),
      "ContainerPreferredAllocationResponse 1 deviceIDs repeated string",
      "AllocateRequest 1 container_requests repeated v1beta1.ContainerAllocateRequest",
      "ContainerAllocateRequest 1 devices_ids repeated string",
      "AllocateResponse 1 container_responses repeated v1beta1.ContainerAllocateResponse",
      "ContainerAllocateResponse 1 envs map string string",
      "ContainerAllocateResponse 2 mounts repeated v1beta1.Mount",
      "ContainerAllocateResponse 3 devices repeated v1beta1.DeviceSpec",
      "ContainerAllocateResponse 4 annotations map string string",
      "ContainerAllocateResponse 5 cdi_devices repeated v1beta1.CDIDevice",
      "CDIDevice 1 name string",
      "Mount 1 container_path string",
      "Mount 2 host_path string",
      "Mount 3 read_only bool",
      "DeviceSpec 1 container_path string",
      "DeviceSpec 2 host_path string",
      "DeviceSpec 3 permissions string",
  };
  EXPECT_THAT(LinesOf(*::v1beta1::Device::descriptor()->file()), UnorderedElementsAreArray(want));
}

TEST(WireTest, IsTheKubeletsPodResourcesApiAsFarAsItIsRead) {
  const std::vector<std::string> want = {
      "/v1.PodResourcesLister/List ListPodResourcesRequest -> ListPodResourcesResponse",
      "/v1.PodResourcesLister/Get GetPodResourcesRequest -> GetPodResourcesResponse",
      "ListPodResourcesResponse 1 pod_resources repeated v1.PodResources",
      "GetPodResourcesRequest 1 pod_name string",
      "GetPodResourcesRequest 2 pod_namespace string",
      "GetPodResourcesResponse 1 pod_resources v1.PodResources",
      "PodResources 1 name string",
      "PodResources 2 namespace string",
      "PodResources 3 containers repeated v1.ContainerResources",
      "ContainerResources 1 name string",
      "ContainerResources 2 devices repeated v1.ContainerDevices",
      "ContainerDevices 1 resource_name string",
      "ContainerDevices 2 device_ids repeated string",
  };
  EXPECT_THAT(LinesOf(*::v1::PodResources::descriptor()->file()), UnorderedElementsAreArray(want));
}

}  // namespace
}  // namespace viommu
