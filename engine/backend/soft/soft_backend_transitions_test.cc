// Looks at the machine after every single store of every change between two places (rules R3, I3):
// by the tables in memory, and through caches that were warm.
#include <optional>
#include <string>
#include <vector>

#include "engine/backend/soft/stages_world.h"
#include "engine/backend/soft/test_topology.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint32_t kPasid = 777;
constexpr uint32_t kOther = 778;  // In the same table.

class TransitionsTest : public StagesWorld {
 protected:
  // Everyone but the one that moves: they must not notice.
  std::vector<std::string> Bystanders(DeviceIndex device, std::optional<uint32_t> moving) const {
    std::vector<std::string> views;
    for (DeviceIndex d = 0; d < kTestDevices; ++d) {
      for (const std::optional<uint32_t> pasid : {kRid, std::optional(kPasid), {kOther}}) {
        if (d != device || pasid != moving) views.push_back(ReadCold(d, pasid));
      }
    }
    return views;
  }

  void Move(DeviceIndex device, std::optional<uint32_t> pasid, const Place& from, const Place& to) {
    SCOPED_TRACE(std::string(from.name) + " to " + to.name);
    ASSERT_TRUE(Switch(device, pasid, from.target).ok());
    ASSERT_EQ(Read(device, pasid), from.reads);
    const Transition planned = backend_->PlanSwitch({device}, pasid, to.target);
    // One 128-bit store commits a change, unless it has to change the first stage's root as well.
    EXPECT_EQ(planned.hitless,
              from.first_stage == 0 || to.first_stage == 0 || from.first_stage == to.first_stage);
    EXPECT_EQ(planned.hitless, planned.reason.empty());
    const std::vector<std::string> others = Bystanders(device, pasid);
    const auto is_allowed = [&](const std::string& seen) {
      return seen == from.reads || seen == to.reads || (!planned.hitless && seen == "blocked");
    };
    look_ = [&] {
      EXPECT_TRUE(is_allowed(ReadCold(device, pasid))) << ReadCold(device, pasid);
      EXPECT_EQ(Bystanders(device, pasid), others);
      const std::string warm = Read(device, pasid);
      EXPECT_TRUE(is_allowed(warm)) << warm;
    };
    const auto done = backend_->Switch({device}, pasid, to.target);
    look_ = nullptr;
    ASSERT_TRUE(done.ok()) << done.status();
    EXPECT_EQ(done->hitless, planned.hitless);
    EXPECT_EQ(ReadCold(device, pasid), to.reads);
    EXPECT_EQ(Read(device, pasid), to.reads);
    ++pairs_;
  }
  void MoveBetweenAll(DeviceIndex device, std::optional<uint32_t> pasid) {
    const std::vector<Place> places = Places();
    for (const Place& from : places) {
      for (const Place& to : places) Move(device, pasid, from, to);
    }
    ASSERT_TRUE(Switch(device, pasid, {}).ok());
  }

  int pairs_ = 0;
};

TEST_F(TransitionsTest, EveryStoreShowsARidItsOldOrItsNewPlaceOrNone) {
  for (const DeviceIndex device : {kDiskA, kDiskB}) {
    SCOPED_TRACE(device);
    Claim(device);
    MoveBetweenAll(device, kRid);
    ASSERT_TRUE(Switch(device, kOther, On(kFirstB)).ok());
    MoveBetweenAll(device, kRid);
  }
  EXPECT_EQ(pairs_, 4 * 81);
}

TEST_F(TransitionsTest, EveryStoreShowsAPasidItsOldOrItsNewPlaceOrNoneWhereverTheRidIs) {
  for (const DeviceIndex device : {kDiskA, kDiskB}) {
    Claim(device);
    for (const Place& rid : Places()) {
      SCOPED_TRACE(std::to_string(device) + " with its RID on " + rid.name);
      ASSERT_TRUE(Switch(device, kRid, rid.target).ok());
      ASSERT_TRUE(Switch(device, kOther, On(kNestedA)).ok());
      MoveBetweenAll(device, kPasid);
      EXPECT_EQ(Read(device, kRid), rid.reads);
      EXPECT_EQ(Read(device, kOther), "200");
    }
  }
  EXPECT_EQ(pairs_, 2 * 9 * 81);
}

}  // namespace
}  // namespace viommu
