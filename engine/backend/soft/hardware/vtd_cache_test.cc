// Each cache uses what it remembers until a descriptor that covers it is consumed, and no longer.
#include <functional>

#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/hardware/vtd_test_world.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

using World = VtdTestWorld;

// Descriptors, word 0, by VT-d 6.5.2: type 3:0, granularity 5:4, domain 31:16.
constexpr uint64_t kDomainField = uint64_t{World::kDomain} << 16;
constexpr uint64_t kOtherDomain = uint64_t{World::kDomain + 1} << 16;
constexpr uint64_t kPasidField = uint64_t{World::kPasid} << 32;
constexpr uint64_t kOtherPasid = uint64_t{World::kPasid + 1} << 32;
constexpr uint64_t kDeviceField = uint64_t{World::kDevice} << 32;
constexpr uint64_t kHint = 1 << 6;  // Word 1: IH.

struct DescriptorCase {
  const char* name;
  uint64_t word0, word1;
  // Whether it drops the context, the PASID entry, a second-stage leaf, a table above that leaf,
  // and a pass-through translation of kPasid, all of kDevice or kDomain.
  bool context, pasid, leaf, table, pass_through;
};

constexpr uint64_t kPage = World::kIova4K;

constexpr DescriptorCase kDescriptors[] = {
    {"context global", 1 | 1 << 4, 0, true, true, false, false, false},
    {"context domain", 1 | 2 << 4 | kOtherDomain, 0, true, false, false, false, false},
    {"context device", 1 | 3 << 4 | kDeviceField, 0, true, true, false, false, false},
    {"context other device", 1 | 3 << 4 | (kDeviceField ^ 1ull << 32), 0, false, false, false,
     false, false},
    {"context other bus", 1 | 3 << 4 | 3ull << 48 | (kDeviceField ^ 1ull << 40), 0, false, false,
     false, false, false},
    {"PASID domain", 7 | 0 << 4 | kDomainField, 0, false, true, false, false, false},
    {"PASID other domain", 7 | 0 << 4 | kOtherDomain, 0, false, false, false, false, false},
    {"PASID one", 7 | 1 << 4 | kDomainField | kPasidField, 0, false, true, false, false, false},
    {"PASID another", 7 | 1 << 4 | kDomainField | kOtherPasid, 0, false, false, false, false,
     false},
    {"PASID one, other domain", 7 | 1 << 4 | kOtherDomain | kPasidField, 0, false, false, false,
     false, false},
    {"PASID global", 7 | 3 << 4, 0, false, true, false, false, false},
    {"IOTLB global", 2 | 1 << 4, 0, false, false, true, true, true},
    {"IOTLB domain", 2 | 2 << 4 | kDomainField, 0, false, false, true, true, true},
    {"IOTLB other domain", 2 | 2 << 4 | kOtherDomain, 0, false, false, false, false, false},
    {"IOTLB page", 2 | 3 << 4 | kDomainField, kPage, false, false, true, true, true},
    {"IOTLB page, hint", 2 | 3 << 4 | kDomainField, kPage | kHint, false, false, true, false, true},
    {"IOTLB next page", 2 | 3 << 4 | kDomainField, kPage + 0x1000, false, false, false, true,
     false},
    {"IOTLB other page", 2 | 3 << 4 | kDomainField, 1ull << 47, false, false, false, false, false},
    {"IOTLB page, other domain", 2 | 3 << 4 | kOtherDomain, kPage, false, false, false, false,
     false},
    {"PASID IOTLB", 6 | 2 << 4 | kDomainField | kPasidField, 0, false, false, false, false, true},
    {"PASID IOTLB, other PASID", 6 | 2 << 4 | kDomainField | kOtherPasid, 0, false, false, false,
     false, false},
    {"PASID IOTLB, other domain", 6 | 2 << 4 | kOtherDomain | kPasidField, 0, false, false, false,
     false, false},
    {"PASID IOTLB page", 6 | 3 << 4 | kDomainField | kPasidField, kPage, false, false, false, false,
     false},
    {"wait", 5 | 1 << 6, 0, false, false, false, false, false},
};

// Remembers a translation of kPage, then changes memory by `change`, then submits. Whether the
// translation still is what it was before the change.
bool StaysStale(const DescriptorCase& c, const std::function<void(World&)>& prepare,
                const std::function<void(World&)>& change) {
  World world;
  prepare(world);
  const Request request = World::Read(kPage, World::kPasid);
  const Translation before = world.model->Translate(request);
  EXPECT_TRUE(before.ok());
  change(world);
  const auto same = [&](const Translation& t) { return t.ok() && t.physical == before.physical; };
  EXPECT_FALSE(same(world.model->Probe(request)));
  EXPECT_TRUE(same(world.model->Translate(request)));  // No descriptor yet: always stale.
  world.Submit(c.word0, c.word1);
  EXPECT_FALSE(world.QueueError());
  return same(world.model->Translate(request));
}

void Nothing(World&) {}

TEST(VtdCacheTest, KeepsContextsUntilADescriptorCoversThem) {
  for (const DescriptorCase& c : kDescriptors) {
    SCOPED_TRACE(c.name);
    const auto change = [](World& w) { w.Flip(w.context_entry, 1); };
    EXPECT_EQ(StaysStale(c, Nothing, change), !c.context);
  }
}

TEST(VtdCacheTest, KeepsPasidEntriesUntilADescriptorCoversThem) {
  for (const DescriptorCase& c : kDescriptors) {
    SCOPED_TRACE(c.name);
    const auto change = [](World& w) { w.Flip(w.pasid_entry, 1); };
    EXPECT_EQ(StaysStale(c, Nothing, change), !c.pasid);
  }
}

TEST(VtdCacheTest, KeepsLeavesUntilADescriptorCoversThem) {
  for (const DescriptorCase& c : kDescriptors) {
    SCOPED_TRACE(c.name);
    const auto change = [](World& w) { w.Store(w.leaf_4k, w.level1 | 3); };
    EXPECT_EQ(StaysStale(c, Nothing, change), !c.leaf);
  }
}

// A table that software has freed: its entry in the parent is gone, its contents are still there.
TEST(VtdCacheTest, KeepsTablesUntilADescriptorCoversThem) {
  for (const DescriptorCase& c : kDescriptors) {
    for (uint64_t World::*parent :
         {&World::level4_entry, &World::level3_entry, &World::level2_entry}) {
      SCOPED_TRACE(c.name);
      World world;
      const Request request = World::Read(kPage, World::kPasid);
      EXPECT_TRUE(world.model->Translate(request).ok());
      world.Store(world.*parent, 0);
      world.Submit(c.word0, c.word1);
      // Without the leaf, so that the walk starts at the deepest table that is left.
      world.Submit(2 | 3 << 4 | kDomainField, kPage | kHint);
      EXPECT_EQ(world.model->Translate(request).ok(), !c.table);
    }
  }
}

TEST(VtdCacheTest, KeepsPassThroughUntilADescriptorCoversIt) {
  for (const DescriptorCase& c : kDescriptors) {
    SCOPED_TRACE(c.name);
    const auto pass_through = [](World& w) { w.Store(w.pasid_entry, 4 << 6 | 2 << 2 | 1); };
    // The same tags, now with second-stage tables, and no stale PASID entry in the way.
    const auto second_stage = [](World& w) {
      w.Store(w.pasid_entry, w.level4 | 2 << 6 | 2 << 2 | 1);
      w.Submit(7 | 3 << 4);
    };
    EXPECT_EQ(StaysStale(c, pass_through, second_stage), !c.pass_through);
  }
}

TEST(VtdCacheTest, SharesLeavesBetweenPasidsOfOneDomain) {
  World world;
  EXPECT_TRUE(world.model->Translate(World::Read(kPage, World::kPasid)).ok());
  world.Store(world.leaf_4k, 0);
  EXPECT_TRUE(world.model->Translate(World::Read(kPage)).ok());
  world.Store(world.rid_pasid_entry + 8, World::kDomain + 1);
  world.Submit(7 | 3 << 4);
  EXPECT_EQ(world.model->Translate(World::Read(kPage)).fault_reason, kPageNotPresent);
}

TEST(VtdCacheTest, DropsDevicesUnderTheFunctionMask) {
  const struct {
    uint64_t function_mask;
    uint16_t difference;  // Between the device remembered and the one named.
    bool dropped;
  } kCases[] = {
      {0, 0, true},  {0, 4, false}, {1, 4, true},  {1, 2, false},     {2, 6, true},
      {2, 1, false}, {3, 7, true},  {3, 8, false}, {3, 0x100, false},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(testing::Message() << "FM " << c.function_mask << " differing " << c.difference);
    World world;
    EXPECT_TRUE(world.model->Translate(World::Read(kPage)).ok());
    world.Flip(world.context_entry, 1);
    world.Submit(1 | 3 << 4 | uint64_t(World::kDevice ^ c.difference) << 32 |
                 c.function_mask << 48);
    EXPECT_EQ(world.model->Translate(World::Read(kPage)).ok(), !c.dropped);
  }
}

TEST(VtdCacheTest, DropsLeavesOfEverySizeThatOverlapTheAddressMask) {
  const struct {
    const char* name;
    uint64_t remembered;
    uint64_t address;
    uint64_t address_mask;
    bool dropped;
  } kCases[] = {
      {"one page inside 2 MiB", World::kIova2M, World::kIova2M + 0x1ff000, 0, true},
      {"one page before 2 MiB", World::kIova2M, World::kIova2M - 0x1000, 0, false},
      {"one page after 2 MiB", World::kIova2M, World::kIova2M + 0x200000, 0, false},
      {"one page inside 1 GiB", World::kIova1G, World::kIova1G + 0x3ffff000, 0, true},
      {"one page after 1 GiB", World::kIova1G, World::kIova1G + 0x40000000, 0, false},
      {"2 MiB over a page", kPage, kPage, 9, true},
      {"2 MiB next to a page", kPage, World::kIova2M, 9, false},
      {"low bits do not count", kPage, kPage + 0x1ff000, 9, true},
      {"1 GiB over 2 MiB", World::kIova2M, 0x7ffff000, 18, true},
      {"1 GiB next to 2 MiB", World::kIova2M, 0x80000000, 18, false},
      {"two pages, upper", kPage, kPage + 0x1000, 1, true},
      {"two pages, next", kPage, kPage + 0x2000, 1, false},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    World world;
    EXPECT_TRUE(world.model->Translate(World::Read(c.remembered)).ok());
    world.Store(world.level3_entry, 0);
    world.Store(world.leaf_1g, 0);
    world.Store(world.leaf_2m, 0);
    world.Store(world.leaf_4k, 0);
    EXPECT_TRUE(world.model->Translate(World::Read(c.remembered)).ok());
    world.Submit(2 | 3 << 4 | kDomainField, c.address | kHint | c.address_mask);
    EXPECT_EQ(world.model->Translate(World::Read(c.remembered)).ok(), !c.dropped);
  }
}

TEST(VtdCacheTest, WalksOnFromAFreedTableWhoseFlushOnlyNamedLeaves) {
  World world;
  EXPECT_TRUE(world.model->Translate(World::Read(kPage)).ok());
  // Software unlinks the last table, flushes leaves only, and uses the page for something else.
  world.Store(world.level2_entry, 0);
  world.Submit(2 | 3 << 4 | kDomainField, kPage | kHint);
  world.Store(world.leaf_4k, 0x1234567000 | 3);
  EXPECT_EQ(world.model->Translate(World::Read(kPage)).physical.value, 0x1234567000u);
  // Pages never touched before are reached through it too.
  world.Store(world.level1 + 8, 0x7654321000 | 3);
  EXPECT_EQ(world.model->Translate(World::Read(kPage + 0x1000)).physical.value, 0x7654321000u);
  world.Submit(2 | 3 << 4 | kDomainField, kPage);
  EXPECT_EQ(world.model->Translate(World::Read(kPage)).fault_reason, kPageNotPresent);
}

TEST(VtdCacheTest, RemembersTablesEvenWhenTheWalkThenFaults) {
  World world;
  EXPECT_FALSE(world.model->Translate(World::Read(kPage + 0x1000)).ok());
  world.Store(world.level2_entry, 0);
  EXPECT_TRUE(world.model->Translate(World::Read(kPage)).ok());
}

TEST(VtdCacheTest, RemembersPermissionsOfLeavesAndTables) {
  World world;
  world.Flip(world.level4_entry, 2);
  EXPECT_TRUE(world.model->Translate(World::Read(kPage)).ok());
  world.Flip(world.level4_entry, 2);
  EXPECT_TRUE(world.model->Probe(World::Write(kPage)).ok());
  EXPECT_EQ(world.model->Translate(World::Write(kPage)).fault_reason, kWriteDenied);
  world.Store(world.level1 + 8, 0x7654321000 | 3);
  EXPECT_EQ(world.model->Translate(World::Write(kPage + 0x1000)).fault_reason, kWriteDenied);
  world.Submit(2 | 2 << 4 | kDomainField);
  EXPECT_TRUE(world.model->Translate(World::Write(kPage)).ok());

  World other;
  EXPECT_TRUE(other.model->Translate(World::Write(kPage)).ok());
  other.Flip(other.leaf_4k, 2);  // Still writable to a device that remembers.
  EXPECT_TRUE(other.model->Translate(World::Write(kPage)).ok());
  other.Submit(2 | 3 << 4 | kDomainField, kPage | kHint);
  EXPECT_EQ(other.model->Translate(World::Write(kPage)).fault_reason, kWriteDenied);
}

TEST(VtdCacheTest, RemembersThatReadsWereNotPermittedAbove) {
  World world;
  world.Flip(world.level4_entry, 1);
  EXPECT_TRUE(world.model->Translate(World::Write(kPage)).ok());
  world.Flip(world.level4_entry, 1);
  EXPECT_TRUE(world.model->Probe(World::Read(kPage)).ok());
  EXPECT_EQ(world.model->Translate(World::Read(kPage)).fault_reason, kReadDenied);
  // A page behind the same table: the fault is that of the level which denies, not of the page.
  EXPECT_EQ(world.model->Translate(World::Read(kPage + 0x1000)).fault_reason, kReadDenied);
}

TEST(VtdCacheTest, DropsEveryTableInTheRange) {
  World world;
  const uint64_t second = world.Page();
  world.Store(world.level2 + 8 * 2, second | 3);
  world.Store(second, world.data | 3);
  const uint64_t far = kPage + 0x400000;
  EXPECT_TRUE(world.model->Translate(World::Read(far)).ok());
  world.Store(world.level2 + 8 * 2, 0);
  EXPECT_TRUE(world.model->Translate(World::Read(far)).ok());
  world.Submit(2 | 3 << 4 | kDomainField, kPage | 18);  // 1 GiB.
  EXPECT_EQ(world.model->Translate(World::Read(far)).fault_reason, kPageNotPresent);
}

TEST(VtdCacheTest, TakesAnAddressMaskOfTheWholeAddressSpace) {
  World world(kTestCap | 63ull << 48);  // MAMV 63.
  EXPECT_TRUE(world.model->Translate(World::Read(kPage)).ok());
  world.Store(world.leaf_4k, 0);
  world.Submit(2 | 3 << 4 | kDomainField, 1ull << 47 | kHint | 63);
  EXPECT_EQ(world.model->Translate(World::Read(kPage)).fault_reason, kPageNotPresent);
}

TEST(VtdCacheTest, KeepsStaleRootPointersBehindRememberedContexts) {
  World world;
  EXPECT_TRUE(world.model->Translate(World::Read(kPage)).ok());
  world.Store(world.root_entry, 0);
  EXPECT_TRUE(world.model->Translate(World::Read(kPage)).ok());
  world.Submit(1 | 1 << 4);
  EXPECT_EQ(world.model->Translate(World::Read(kPage)).fault_reason, kRootNotPresent);
}

}  // namespace
}  // namespace viommu::hardware
