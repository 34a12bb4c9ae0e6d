#include "clients/device_plugin/selector.h"

#include <string>
#include <vector>

#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::google::protobuf::TextFormat;

v1::Device Device() {
  v1::Device device;
  device.set_name("devices/0000:81:00.0");
  device.set_iommu("iommus/dmar1");
  device.set_numa_node(1);
  return device;
}

v1::HardwareInfo Hardware() {
  v1::HardwareInfo hardware;
  hardware.set_type(v1::HARDWARE_TYPE_VTD);
  hardware.mutable_capabilities()->set_max_pasid_log2(20);
  hardware.mutable_capabilities()->set_ats(true);
  return hardware;
}

config::v1::DeviceSelector Parse(const std::string& text) {
  config::v1::DeviceSelector selector;
  EXPECT_TRUE(TextFormat::ParseFromString(text, &selector)) << text;
  return selector;
}

TEST(SelectorTest, SelectsWhatHasAllThatIsAskedFor) {
  const struct {
    const char* selector;
    bool selects;
  } kCases[] = {
      {"", true},
      {"architecture: ARCHITECTURE_VTD", true},
      {"architecture: ARCHITECTURE_ARM_SMMU_V3", false},
      {"iommu: 'dmar0' iommu: 'dmar1'", true},
      {"iommu: 'dmar0'", false},
      {"numa_node: 0 numa_node: 1", true},
      {"numa_node: 0", false},
      {"capabilities: CAPABILITY_PASID capabilities: CAPABILITY_ATS", true},
      {"capabilities: CAPABILITY_PASID capabilities: CAPABILITY_PAGE_REQUESTS", false},
      {"capabilities: CAPABILITY_NESTING", false},
      {"capabilities: CAPABILITY_DIRTY_TRACKING", false},
      {"address_pattern: '0000:81:*'", true},
      {"address_pattern: '0000:8[2-9]:*' address_pattern: '*.0'", true},
      {"address_pattern: '0000:82:*'", false},
      {"address_pattern: '0000:81'", false},
      {"numa_node: 1 address_pattern: '0000:82:*'", false},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(Selects(Parse(c.selector), Device(), Hardware()), c.selects) << c.selector;
  }
}

TEST(SelectorTest, IsNearToNoNodeWhenItsNodeIsUnknown) {
  v1::Device device = Device();
  device.clear_numa_node();
  EXPECT_FALSE(Selects(Parse("numa_node: 0 numa_node: 1"), device, Hardware()));
  EXPECT_TRUE(Selects(Parse(""), device, Hardware()));
}

TEST(SelectorTest, OffersADeviceOnceUnderTheFirstResourceThatSelectsIt) {
  std::vector<OfferedResource> resources(3);
  resources[0].selector = Parse("numa_node: 0");
  resources[1].selector = Parse("numa_node: 1");
  EXPECT_EQ(ResourceOf(resources, Device(), Hardware()), &resources[1]);
  resources.resize(1);
  EXPECT_EQ(ResourceOf(resources, Device(), Hardware()), nullptr);
}

}  // namespace
}  // namespace viommu
