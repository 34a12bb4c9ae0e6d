#include "clients/device_plugin/container_answer.h"

#include <cstdlib>
#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::google::protobuf::TextFormat;
using ::google::protobuf::util::MessageDifferencer;
using ::testing::HasSubstr;

::v1beta1::ContainerAllocateResponse Parse(const std::string& text) {
  ::v1beta1::ContainerAllocateResponse answer;
  EXPECT_TRUE(TextFormat::ParseFromString(text, &answer)) << text;
  return answer;
}

PluginConfig Config() {
  PluginConfig config;
  config.container_dir = "/run/viommu";
  config.dev_dir = "/dev";
  return config;
}

OfferedResource Resource() {
  OfferedResource resource;
  resource.short_name = "vtd-pasid";
  resource.environment = "VIOMMU_VTD_PASID";
  return resource;
}

Allocation TwoDevices() {
  Allocation allocation;
  allocation.name = "alloc-7";
  allocation.devices = {"0000:01:00.0", "0000:02:00.0"};
  allocation.listener_dir = "/run/listeners/alloc-7";
  allocation.ioas = "ioas/main";
  allocation.domains = {"domains/main0", "domains/main1"};
  return allocation;
}

constexpr char kVariables[] = R"(
  envs { key: "VIOMMU_VTD_PASID_SOCKET" value: "/run/viommu/vtd-pasid/viommu.sock" }
  envs { key: "VIOMMU_VTD_PASID_DEVICES" value: "devices/0000:01:00.0,devices/0000:02:00.0" }
  envs { key: "VIOMMU_VTD_PASID_IOAS" value: "ioas/main" }
  envs { key: "VIOMMU_VTD_PASID_DOMAINS" value: "domains/main0,domains/main1" }
  envs { key: "VIOMMU_VTD_PASID_ALLOCATION" value: "alloc-7" })";

// A sysfs in which the devices are vfio0 and vfio1.
std::string Sysfs() {
  std::string root = std::string(std::getenv("TEST_TMPDIR")) + "/sys";
  const std::string devices = root + "/bus/pci/devices/";
  std::filesystem::create_directories(devices + "0000:01:00.0/vfio-dev/vfio0");
  std::filesystem::create_directories(devices + "0000:02:00.0/vfio-dev/vfio1");
  std::filesystem::create_directories(devices + "0000:03:00.0");
  return root;
}

TEST(ContainerAnswerTest, GivesNoNodesOfASoftwareIommu) {
  const auto answer = ContainerAnswer(Config(), Resource(), TwoDevices());
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_TRUE(MessageDifferencer::Equals(*answer, Parse(std::string(kVariables) + R"(
  mounts {
    container_path: "/run/viommu/vtd-pasid" host_path: "/run/listeners/alloc-7" read_only: true
  })")))
      << answer->DebugString();
}

TEST(ContainerAnswerTest, MountsTheDirectoryThatTheHostHas) {
  PluginConfig config = Config();
  config.host_listener_dir = "/host/listeners";
  EXPECT_EQ(ContainerAnswer(config, Resource(), TwoDevices())->mounts(0).host_path(),
            "/host/listeners/alloc-7");
}

TEST(ContainerAnswerTest, GivesTheCharacterDevicesAndNeverAGroup) {
  PluginConfig config = Config();
  config.device_nodes = true;
  config.sysfs_dir = Sysfs();
  config.dev_dir = "/host/dev";
  config.cdi_kind = "viommu.dev/device";
  const auto answer = ContainerAnswer(config, Resource(), TwoDevices());
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_TRUE(MessageDifferencer::Equals(*answer, Parse(std::string(kVariables) + R"(
  mounts {
    container_path: "/run/viommu/vtd-pasid" host_path: "/run/listeners/alloc-7" read_only: true
  }
  devices { container_path: "/dev/iommu" host_path: "/host/dev/iommu" permissions: "rw" }
  devices {
    container_path: "/dev/vfio/devices/vfio0" host_path: "/host/dev/vfio/devices/vfio0"
    permissions: "rw"
  }
  devices {
    container_path: "/dev/vfio/devices/vfio1" host_path: "/host/dev/vfio/devices/vfio1"
    permissions: "rw"
  }
  cdi_devices { name: "viommu.dev/device=0000:01:00.0" }
  cdi_devices { name: "viommu.dev/device=0000:02:00.0" })")))
      << answer->DebugString();
}

TEST(ContainerAnswerTest, RefusesADeviceWithoutANodeInsteadOfFallingBack) {
  PluginConfig config = Config();
  config.device_nodes = true;
  config.sysfs_dir = Sysfs();
  Allocation allocation = TwoDevices();
  allocation.devices.insert("0000:03:00.0");
  const auto answer = ContainerAnswer(config, Resource(), allocation);
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(answer.status().message()),
              HasSubstr("NO_VFIO_NODE: 0000:03:00.0 has no device in"));
}

}  // namespace
}  // namespace viommu
