#include "clients/device_plugin/roster.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "viommu/v1/device.pb.h"

namespace viommu {
namespace {

using ::testing::IsEmpty;

v1::Device Device(const std::string& id) {
  v1::Device device;
  device.set_name("devices/" + id);
  device.set_health(v1::DEVICE_HEALTH_HEALTHY);
  device.set_ownership(v1::DEVICE_OWNERSHIP_CLAIMED);
  device.set_claimed_by(std::string(kIdleOwner));
  return device;
}

InventoryState StateOf(const v1::Device& device) {
  InventoryState state;
  state.present = true;
  state.devices["d"].device = device;
  return state;
}

std::string ReasonIn(const InventoryState& state) {
  const std::vector<OfferedResource> all(1);
  const auto roster = RosterOf(all, all[0], state);
  EXPECT_EQ(roster.size(), 1u);
  return roster.at(0).reason;
}

TEST(RosterTest, TellsIdleAndAllocatedDevicesAsHealthy) {
  v1::Device device = Device("d");
  EXPECT_EQ(ReasonIn(StateOf(device)), "");
  device.set_claimed_by("alloc-1");
  EXPECT_EQ(ReasonIn(StateOf(device)), "");
}

TEST(RosterTest, SaysWhyADeviceIsUnhealthy) {
  v1::Device device = Device("d");
  device.set_claimed_by("local");
  EXPECT_EQ(ReasonIn(StateOf(device)), "CLAIMED_ELSEWHERE");
  device.set_claimed_by("alloc-1");
  InventoryState renamed = StateOf(device);
  renamed.renamed.insert("d");
  EXPECT_EQ(ReasonIn(renamed), "OTHER_RESOURCE");
  device.clear_claimed_by();
  device.set_ownership(v1::DEVICE_OWNERSHIP_HOST);
  EXPECT_EQ(ReasonIn(StateOf(device)), "NOT_CLAIMED");
  device.set_health(v1::DEVICE_HEALTH_UNHEALTHY);
  EXPECT_EQ(ReasonIn(StateOf(device)), "DEVICE_UNHEALTHY");
  InventoryState state = StateOf(device);
  state.lost["d"] = "alloc-1";
  EXPECT_EQ(ReasonIn(state), "STATE_LOST");
  state.present = false;
  EXPECT_EQ(ReasonIn(state), "VIOMMUD_AWAY");
}

TEST(RosterTest, LeavesAnUnknownNodeOut) {
  InventoryState state = StateOf(Device("d"));
  state.devices["e"].device = Device("e");
  state.devices["e"].device.set_numa_node(0);
  const std::vector<OfferedResource> all(1);
  const auto list = ListOf(RosterOf(all, all[0], state));
  ASSERT_EQ(list.devices_size(), 2);
  EXPECT_FALSE(list.devices(0).has_topology());
  ASSERT_EQ(list.devices(1).topology().nodes_size(), 1);
  EXPECT_EQ(list.devices(1).topology().nodes(0).id(), 0);
  EXPECT_EQ(list.devices(1).health(), "Healthy");
}

TEST(RosterTest, OffersADeviceUnderOneResourceAlone) {
  const std::vector<OfferedResource> all(2);
  const InventoryState state = StateOf(Device("d"));
  EXPECT_EQ(RosterOf(all, all[0], state).size(), 1u);
  EXPECT_THAT(RosterOf(all, all[1], state), IsEmpty());
}

TEST(RosterTest, KnowsThatASiblingIsTakenByWhoHoldsTheGroup) {
  v1::Device device = Device("d");
  device.set_group("nic0");
  device.add_group_members("devices/e");
  EXPECT_FALSE(PlacementsOf(StateOf(device))["d"].sibling_taken);
  device.set_claimed_by("alloc-1");
  EXPECT_TRUE(PlacementsOf(StateOf(device))["d"].sibling_taken);
  EXPECT_EQ(PlacementsOf(StateOf(device))["d"].group, "nic0");
  // What is left of an allocation of its own keeps nobody from it.
  device.clear_group_members();
  EXPECT_FALSE(PlacementsOf(StateOf(device))["d"].sibling_taken);
}

}  // namespace
}  // namespace viommu
