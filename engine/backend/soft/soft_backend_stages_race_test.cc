// A guest's memory is unmapped below it while its devices work, come and go on other threads.
#include <atomic>
#include <string>
#include <thread>

#include "engine/backend/soft/stages_world.h"
#include "engine/backend/soft/test_topology.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr int kRounds = 200;
constexpr uint32_t kPasid = 777;

class StagesRaceTest : public StagesWorld {};

TEST_F(StagesRaceTest, NothingOfAGuestIsReachableOnceUnmapOrBlockHasAnswered) {
  Claim(kDiskA), Claim(kDiskB), Claim(kFarDisk);
  ASSERT_TRUE(Switch(kDiskB, kPasid, On(kNestedA)).ok());
  ASSERT_TRUE(Switch(kFarDisk, kRid, On(kNestedA2)).ok());
  std::atomic<bool> stop{false};
  std::thread warm([&] {
    while (!stop) {
      for (const DeviceIndex device : {kDiskA, kDiskB, kFarDisk}) {
        Read(device, kRid);
        Read(device, kPasid);
      }
    }
  });
  std::thread below([&] {
    for (int round = 0; round < kRounds; ++round) {
      ASSERT_EQ(Read(kDiskB, kPasid), "200");
      UnmapPage(kIoasParentA, GuestPage(0));
      ASSERT_EQ(Read(kDiskB, kPasid), "SSS.2");
      MapPage(kIoasParentA, GuestPage(0), GuestOffset(0) + GuestPage(0));
    }
  });
  std::thread siblings([&] {
    for (int round = 0; round < kRounds; ++round) {
      ASSERT_TRUE(backend_->CreateDomain(kSpare, NestedSpec(kParentA, 1), {}).ok());
      ASSERT_TRUE(Switch(kDiskA, kPasid, On(kSpare)).ok());
      ASSERT_EQ(Read(kDiskA, kPasid), "201");
      ASSERT_TRUE(Switch(kDiskA, kPasid, On(kNestedB)).ok());
      ASSERT_EQ(Read(kDiskA, kPasid), "300");
      ASSERT_TRUE(Switch(kDiskA, kPasid, {}).ok());
      ASSERT_EQ(Read(kDiskA, kPasid), "blocked");
      ASSERT_TRUE(backend_->DestroyDomain(kSpare).ok());
    }
  });
  std::thread quarantine([&] {
    const VtdStage1Invalidation all = {0, VtdStage1Invalidation::kAllPages, false};
    for (int round = 0; round < kRounds; ++round) {
      ASSERT_TRUE(backend_->Block(kFarDisk).ok());
      ASSERT_EQ(Read(kFarDisk, kRid), "blocked");
      ASSERT_TRUE(backend_->Unblock(kFarDisk).ok());
      ASSERT_EQ(Read(kFarDisk, kRid), "201");
      ASSERT_TRUE(backend_->Invalidate(kNestedA, {all}).ok());
      sim_->DumpTables(kDiskA, kPasid, iova_);
      backend_->PlanSwitch({kDiskA}, kPasid, On(kNestedA));
    }
  });
  below.join();
  siblings.join();
  quarantine.join();
  stop = true;
  warm.join();
}

}  // namespace
}  // namespace viommu
