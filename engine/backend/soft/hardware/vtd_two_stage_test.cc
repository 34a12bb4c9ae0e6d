// First-stage and nested walks: where they lead, whom they let pass, what they mark.
#include <initializer_list>
#include <vector>

#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/hardware/vtd_two_stage_world.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

using World = TwoStageWorld;

constexpr uint64_t kAccessed = 1 << 5, kDirty = 1 << 6, kExtended = 1 << 10;  // First stage.
constexpr uint64_t kSecondAccessed = 1 << 8, kSecondDirty = 1 << 9;
constexpr uint64_t kSupervisorEnable = 1 << 0, kWriteProtect = 1 << 4, kExtendedAccess = 1 << 7;

class VtdTwoStageTest : public testing::TestWithParam<bool> {
 protected:
  World Make(int levels = 4) { return World(GetParam(), levels); }
};

INSTANTIATE_TEST_SUITE_P(FirstStageAloneAndNested, VtdTwoStageTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "nested" : "alone"; });

void ExpectLeads(World& world, const Request& request, uint64_t physical, uint64_t size_bytes) {
  for (const Translation& t : {world.model->Probe(request), world.model->Translate(request),
                               world.model->Translate(request)}) {
    EXPECT_EQ(FaultReasonName(t.fault_reason), FaultReasonName(kNoFault));
    EXPECT_EQ(t.physical.value, physical);
    EXPECT_EQ(t.size_bytes, size_bytes);
  }
}

TEST_P(VtdTwoStageTest, FindsEveryPageSizeAtBothDepths) {
  for (const int levels : {4, 5}) {
    SCOPED_TRACE(levels);
    World world(GetParam(), levels);
    ExpectLeads(world, World::Read(World::kIova4K + 0x123), world.host[World::kData] + 0x123,
                0x1000 - 0x123);
    ExpectLeads(world, World::Write(World::kIova4K + 0x123), world.host[World::kData] + 0x123,
                0x1000 - 0x123);
    const uint64_t phys_2m = GetParam() ? World::kPhys1G + 0x200000 : World::kPhys2M;
    ExpectLeads(world, World::Read(World::kIova2M + 0x1f0001), phys_2m + 0x1f0001,
                0x200000 - 0x1f0001);
    ExpectLeads(world, World::Read(World::kIova1G + 0x20000000), World::kPhys1G + 0x20000000,
                0x20000000);
  }
}

TEST_P(VtdTwoStageTest, SignExtendsTheAddress) {
  const struct {
    int levels;
    uint64_t upper;    // The lowest address of the upper half.
    uint64_t beyond;   // One past the lower half.
    uint64_t entries;  // Offset of the table that an upper address begins in.
  } kCases[] = {{4, 0xffff800000000000, 0x0000800000000000, World::kFour},
                {5, 0xff00000000000000, 0x0100000000000000, World::kTop}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.levels);
    World world(GetParam(), c.levels);
    const uint64_t top = world.host[c.entries];
    world.Store(top + 8 * 256, world.Load(top));  // The same tables again, from the middle.
    ExpectLeads(world, World::Read(c.upper + World::kIova4K), world.host[World::kData], 0x1000);
    for (const uint64_t address : {c.beyond, c.upper - 1, uint64_t{1} << 63}) {
      EXPECT_EQ(world.model->Translate(World::Read(address)).fault_reason, kNotCanonical);
    }
  }
}

TEST_P(VtdTwoStageTest, UsesTheIndexBitsOfEveryLevel) {
  World world(GetParam(), 5);
  // Index 0x11 at level 5, 0x12 at level 4, ... each leading to where index 0 (level 3: 1) did.
  const uint64_t entries[] = {world.first5, world.first4, world.first3, world.first2,
                              world.first_4k};
  uint64_t address = 0;
  for (int i = 0; i < 5; ++i) {
    const uint64_t index = 0x11 + i;
    world.Store((entries[i] & ~uint64_t{0xfff}) + 8 * index, world.Load(entries[i]));
    address |= index << (12 + 9 * (4 - i));
    world.Store(entries[i], 0);
  }
  ExpectLeads(world, World::Write(address + 0xff8), world.host[World::kData] + 0xff8, 8);
}

TEST_P(VtdTwoStageTest, IgnoresTheBitsThatTheFormatGivesToSoftware) {
  World world(GetParam(), 5);
  const uint64_t ignored = 0xfffull << 52 | 0xfull << 8 | 3ull << 3;
  for (const uint64_t entry : {world.first5, world.first4, world.first3, world.first2}) {
    world.Flip(entry, ignored);
  }
  world.Flip(world.first_4k, ignored | 1 << 7);      // PAT of a small page.
  world.Flip(world.first_2m, ignored | 1ull << 12);  // PAT of a large one.
  ExpectLeads(world, World::Read(World::kIova4K), world.host[World::kData], 0x1000);
  EXPECT_TRUE(world.model->Probe(World::Read(World::kIova2M)).ok());
}

TEST_P(VtdTwoStageTest, TakesTheRequestsWithoutPasidThroughTheFirstStageToo) {
  World world = Make();
  world.Store(world.context_entry + 8, World::kGuestPasid);
  const Request request{World::kDevice, std::nullopt, World::kIova4K, true};
  ExpectLeads(world, request, world.host[World::kData], 0x1000);
  // A supervisor's, once RID_PRIV says so.
  world.Flip(world.context_entry + 8, 1 << 20);
  EXPECT_EQ(world.model->Probe(request).fault_reason, kSupervisorDisabled);
  world.Flip(world.entry + 16, kSupervisorEnable);
  EXPECT_TRUE(world.model->Probe(request).ok());
}

// The rights of user and supervisor requests, VT-d 3.6.4: the AND of U/S and of R/W over all
// levels.
TEST_P(VtdTwoStageTest, JudgesUsersAndSupervisorsByTheirOwnRights) {
  const struct {
    const char* name;
    uint64_t taken_away;  // From one entry: U/S 4, R/W 2.
    uint64_t flags;       // Of the PASID entry.
    bool supervisor, write;
    uint8_t want;
  } kCases[] = {
      {"user reads", 0, kSupervisorEnable, false, false, kNoFault},
      {"user writes", 0, kSupervisorEnable, false, true, kNoFault},
      {"user reads read-only", 2, kSupervisorEnable, false, false, kNoFault},
      {"user writes read-only", 2, kSupervisorEnable, false, true, kWriteDenied},
      {"user reads a supervisor's", 4, kSupervisorEnable, false, false, kUserDenied},
      {"user writes a supervisor's", 4, kSupervisorEnable, false, true, kUserDenied},
      {"supervisor reads a user's", 0, kSupervisorEnable, true, false, kNoFault},
      {"supervisor reads its own", 4, kSupervisorEnable, true, false, kNoFault},
      {"supervisor writes its own", 4, kSupervisorEnable, true, true, kNoFault},
      {"supervisor writes read-only", 6, kSupervisorEnable, true, true, kNoFault},
      {"write protected", 6, kSupervisorEnable | kWriteProtect, true, true, kWriteDenied},
      {"write protected, reads", 6, kSupervisorEnable | kWriteProtect, true, false, kNoFault},
      {"user, write protected", 2, kSupervisorEnable | kWriteProtect, false, true, kWriteDenied},
      {"supervisor not enabled", 0, 0, true, false, kSupervisorDisabled},
  };
  for (const auto& c : kCases) {
    for (uint64_t World::*place :
         {&World::first4, &World::first3, &World::first2, &World::first_4k}) {
      SCOPED_TRACE(c.name);
      World world = Make();
      world.Flip(world.*place, c.taken_away);
      world.Flip(world.entry + 16, c.flags);
      Request request = c.write ? World::Write(World::kIova4K) : World::Read(World::kIova4K);
      request.privileged = c.supervisor;
      // Cold, from memory, from what the first one left behind.
      EXPECT_EQ(world.model->Probe(request).fault_reason, c.want);
      world.model->Translate(World::AsSupervisor(World::Read(World::kIova4K)));
      EXPECT_EQ(world.model->Translate(request).fault_reason, c.want);
      EXPECT_EQ(world.model->Translate(request).fault_reason, c.want);
    }
  }
}

TEST_P(VtdTwoStageTest, MarksEveryEntryAccessedAndOnlyTheWrittenLeafDirty) {
  for (const bool extended : {false, true}) {
    World world(GetParam(), 5);
    if (extended) world.Flip(world.entry + 16, kExtendedAccess);
    const uint64_t accessed = kAccessed | (extended ? kExtended : 0);
    const std::vector<uint64_t> tables = {world.first5, world.first4, world.first3, world.first2};
    std::vector<uint64_t> before;
    for (const uint64_t entry : tables) before.push_back(world.Load(entry));
    const uint64_t leaf = world.Load(world.first_4k);

    EXPECT_TRUE(world.model->Probe(World::Write(World::kIova4K)).ok());
    EXPECT_EQ(world.Load(world.first_4k), leaf) << "a cold look marks nothing";
    EXPECT_TRUE(world.model->Translate(World::Read(World::kIova4K)).ok());
    EXPECT_EQ(world.Load(world.first_4k), leaf | accessed);
    EXPECT_TRUE(world.model->Translate(World::Write(World::kIova4K)).ok());
    EXPECT_EQ(world.Load(world.first_4k), leaf | accessed | kDirty);
    for (size_t i = 0; i < tables.size(); ++i) {
      EXPECT_EQ(world.Load(tables[i]), before[i] | accessed) << i;
    }
    EXPECT_EQ(world.Load(world.first_2m) & (kAccessed | kDirty), 0u) << "not on the way";
  }
}

TEST_P(VtdTwoStageTest, MarksLargePagesToo) {
  World world = Make();
  EXPECT_TRUE(world.model->Translate(World::Write(World::kIova2M)).ok());
  EXPECT_TRUE(world.model->Translate(World::Write(World::kIova1G)).ok());
  for (const uint64_t entry : {world.first_2m, world.first_1g}) {
    EXPECT_EQ(world.Load(entry) & (kAccessed | kDirty), kAccessed | kDirty);
  }
}

TEST_P(VtdTwoStageTest, LeavesALeafUnmarkedThatItDoesNotLetTheRequestUse) {
  World world = Make();
  world.Flip(world.first_4k, 2);
  EXPECT_EQ(world.model->Translate(World::Write(World::kIova4K)).fault_reason, kWriteDenied);
  EXPECT_EQ(world.Load(world.first_4k) & (kAccessed | kDirty), 0u);
}

// What a unit remembers as dirty it does not mark again: software that clears D must flush.
TEST_P(VtdTwoStageTest, MarksDirtyAgainOnlyAfterAFlush) {
  World world = Make();
  EXPECT_TRUE(world.model->Translate(World::Write(World::kIova4K)).ok());
  world.Flip(world.first_4k, kDirty);
  EXPECT_TRUE(world.model->Translate(World::Write(World::kIova4K)).ok());
  EXPECT_EQ(world.Load(world.first_4k) & kDirty, 0u);
  world.Submit(
      6 | 3 << 4 | uint64_t{World::kGuestDomain} << 16 | uint64_t{World::kGuestPasid} << 32,
      World::kIova4K | 1 << 6);
  EXPECT_TRUE(world.model->Translate(World::Write(World::kIova4K)).ok());
  EXPECT_NE(world.Load(world.first_4k) & kDirty, 0u);
}

TEST_P(VtdTwoStageTest, NeedsNoSnoopedWalkWhereEverythingIsMarkedAlready) {
  World world = Make();
  world.Flip(world.entry + 8, 1 << 23);
  EXPECT_EQ(world.model->Probe(World::Read(World::kIova4K)).fault_reason, kFirstUpdateNotSnooped);
  for (const uint64_t entry : {world.first4, world.first3, world.first2, world.first_4k}) {
    world.Flip(entry, kAccessed);
  }
  EXPECT_TRUE(world.model->Probe(World::Read(World::kIova4K)).ok());
  EXPECT_EQ(world.model->Probe(World::Write(World::kIova4K)).fault_reason, kFirstUpdateNotSnooped);
  world.Flip(world.first_4k, kDirty);
  EXPECT_TRUE(world.model->Translate(World::Write(World::kIova4K)).ok());
}

TEST(VtdNestedTest, JoinsTheSmallerOfTheTwoPagesAndBothRights) {
  World world(true);
  // A 2 MiB page of the guest, of which the second stage has only 4 KiB leaves.
  world.Store(world.first_2m, 0 | 1 << 7 | 7);
  ExpectLeads(world, World::Read(World::kIova2M + World::kGuestBase + 0x5010),
              world.host[World::kData] + 0x10, 0x1000 - 0x10);
  EXPECT_EQ(world.model->Translate(World::Read(World::kIova2M)).fault_reason, kPageNotPresent);
}

TEST(VtdNestedTest, LetsTheSecondStageForbidWhatTheFirstPermits) {
  World world(true);
  world.Flip(world.SecondLeaf(World::kData), 2);
  EXPECT_TRUE(world.model->Probe(World::Read(World::kIova4K)).ok());
  EXPECT_EQ(world.model->Probe(World::Write(World::kIova4K)).fault_reason, kWriteDenied);
  EXPECT_EQ(world.model->Translate(World::Write(World::kIova4K)).fault_reason, kWriteDenied);
  EXPECT_EQ(world.Load(world.first_4k) & kDirty, 0u);
  // A supervisor that may ignore the guest's R/W does not get past the second stage's.
  world.Flip(world.entry + 16, kSupervisorEnable);
  EXPECT_EQ(world.model->Probe(World::AsSupervisor(World::Write(World::kIova4K))).fault_reason,
            kWriteDenied);
}

TEST(VtdNestedTest, MarksTheSecondStageOfTablesAndPage) {
  World world(true);
  world.Flip(world.entry, 1 << 9);  // SSADE
  EXPECT_TRUE(world.model->Probe(World::Write(World::kIova4K)).ok());
  EXPECT_TRUE(world.model->Translate(World::Read(World::kIova4K)).ok());
  // To mark an entry of the first stage is to write to the page that holds it.
  for (const auto page : {World::kFour, World::kThree, World::kTwo, World::kOne}) {
    EXPECT_EQ(world.Load(world.SecondLeaf(page)) & (kSecondAccessed | kSecondDirty),
              kSecondAccessed | kSecondDirty)
        << page;
  }
  EXPECT_EQ(world.Load(world.SecondLeaf(World::kData)) & (kSecondAccessed | kSecondDirty),
            kSecondAccessed);
  EXPECT_TRUE(world.model->Translate(World::Write(World::kIova4K)).ok());
  EXPECT_NE(world.Load(world.SecondLeaf(World::kData)) & kSecondDirty, 0u);
  EXPECT_EQ(world.Load(world.second4) & (kSecondAccessed | kSecondDirty), kSecondAccessed);
  EXPECT_EQ(world.Load(world.SecondLeaf(World::kTop)) & kSecondAccessed, 0u);
}

// A page that is dirty to the guest already is not yet so to its host.
TEST(VtdNestedTest, MarksTheSecondStageDirtyThoughTheFirstSaysSoAlready) {
  World world(true);
  world.Flip(world.entry, 1 << 9);  // SSADE
  world.Flip(world.first_4k, kAccessed | kDirty);
  EXPECT_TRUE(world.model->Translate(World::Read(World::kIova4K)).ok());
  EXPECT_EQ(world.Load(world.SecondLeaf(World::kData)) & kSecondDirty, 0u);
  EXPECT_TRUE(world.model->Translate(World::Write(World::kIova4K)).ok());
  EXPECT_NE(world.Load(world.SecondLeaf(World::kData)) & kSecondDirty, 0u);
}

// Second-stage dirty tracking without a first stage: the base world's tables.
TEST(VtdSecondStageDirtyTest, MarksWhatWasUsedAndWhatWasWritten) {
  VtdTestWorld world(kTwoStageCap, kTwoStageEcap);
  const Request read = VtdTestWorld::Read(VtdTestWorld::kIova4K);
  const Request write = VtdTestWorld::Write(VtdTestWorld::kIova4K);
  EXPECT_TRUE(world.model->Translate(write).ok());
  EXPECT_EQ(world.Load(world.leaf_4k) & (kSecondAccessed | kSecondDirty), 0u) << "not asked to";
  world.Submit(2 | 1 << 4);
  world.Submit(7 | 3 << 4);
  world.Flip(world.rid_pasid_entry, 1 << 9);
  EXPECT_EQ(world.model->Probe(read).fault_reason, kUpdateNotSnooped);
  world.Flip(world.rid_pasid_entry + 8, 1 << 23);

  EXPECT_TRUE(world.model->Translate(read).ok());
  EXPECT_EQ(world.Load(world.leaf_4k) & (kSecondAccessed | kSecondDirty), kSecondAccessed);
  EXPECT_TRUE(world.model->Translate(write).ok());
  EXPECT_NE(world.Load(world.leaf_4k) & kSecondDirty, 0u);
  for (const uint64_t entry : {world.level4_entry, world.level3_entry, world.level2_entry}) {
    EXPECT_EQ(world.Load(entry) & (kSecondAccessed | kSecondDirty), kSecondAccessed);
  }
  // D cleared by software is set again only once the leaf is no longer remembered.
  world.Flip(world.leaf_4k, kSecondDirty);
  EXPECT_TRUE(world.model->Translate(write).ok());
  EXPECT_EQ(world.Load(world.leaf_4k) & kSecondDirty, 0u);
  world.Submit(2 | 2 << 4 | uint64_t{VtdTestWorld::kDomain} << 16);
  EXPECT_TRUE(world.model->Translate(write).ok());
  EXPECT_NE(world.Load(world.leaf_4k) & kSecondDirty, 0u);
}

}  // namespace
}  // namespace viommu::hardware
