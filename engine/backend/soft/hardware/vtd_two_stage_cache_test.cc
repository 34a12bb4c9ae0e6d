// What a unit remembers of first-stage and nested walks, and which descriptor takes it away: one of
// the wrong kind must leave it, so that a missing flush is seen.
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/hardware/vtd_two_stage_world.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

using World = TwoStageWorld;

// Descriptors by VT-d 6.5.2.
constexpr uint64_t kDomain = uint64_t{World::kGuestDomain} << 16;
constexpr uint64_t kParentDomain = uint64_t{World::kDomain} << 16;
constexpr uint64_t kPasid = uint64_t{World::kGuestPasid} << 32;
constexpr uint64_t kOtherPasid = uint64_t{World::kPasid} << 32;
constexpr uint64_t kPage = World::kIova4K;
constexpr uint64_t kInnerPage = World::kGuestBase + uint64_t{0x1000} * World::kData;
constexpr uint64_t kHint = 1 << 6;  // IH

struct DescriptorCase {
  const char* name;
  uint64_t word0, word1;
  // Whether it drops the translation, what the walk knew of the second stage behind it, the tables
  // of the first stage and those of the second, all of kGuestDomain and kGuestPasid.
  bool leaf, inner, first_tables, second_tables;
};

constexpr DescriptorCase kDescriptors[] = {
    {"context global", 1 | 1 << 4, 0, false, false, false, false},
    {"PASID global", 7 | 3 << 4, 0, false, false, false, false},
    {"IOTLB global", 2 | 1 << 4, 0, true, true, true, true},
    {"IOTLB domain", 2 | 2 << 4 | kDomain, 0, true, true, true, true},
    {"IOTLB domain of the parent", 2 | 2 << 4 | kParentDomain, 0, false, false, false, false},
    {"IOTLB inner page", 2 | 3 << 4 | kDomain, kInnerPage, true, true, true, true},
    {"IOTLB inner page, hint", 2 | 3 << 4 | kDomain, kInnerPage | kHint, true, true, false, false},
    {"IOTLB far page", 2 | 3 << 4 | kDomain, 1ull << 40, true, false, true, false},
    {"IOTLB far page, hint", 2 | 3 << 4 | kDomain, 1ull << 40 | kHint, true, false, false, false},
    {"IOTLB page of the parent", 2 | 3 << 4 | kParentDomain, kInnerPage, false, false, false,
     false},
    {"PASID IOTLB", 6 | 2 << 4 | kDomain | kPasid, 0, true, false, true, false},
    {"PASID IOTLB, other PASID", 6 | 2 << 4 | kDomain | kOtherPasid, 0, false, false, false, false},
    {"PASID IOTLB, other domain", 6 | 2 << 4 | kParentDomain | kPasid, 0, false, false, false,
     false},
    {"PASID IOTLB page", 6 | 3 << 4 | kDomain | kPasid, kPage, true, false, true, false},
    {"PASID IOTLB page, hint", 6 | 3 << 4 | kDomain | kPasid, kPage | kHint, true, false, false,
     false},
    {"PASID IOTLB next page", 6 | 3 << 4 | kDomain | kPasid, kPage + 0x1000, false, false, true,
     false},
    {"PASID IOTLB 2 MiB", 6 | 3 << 4 | kDomain | kPasid, kPage | 9, true, false, true, false},
    {"PASID IOTLB far page", 6 | 3 << 4 | kDomain | kPasid, 1ull << 46, false, false, false, false},
    {"PASID IOTLB page, other PASID", 6 | 3 << 4 | kDomain | kOtherPasid, kPage, false, false,
     false, false},
    {"PASID IOTLB everything", 6 | 3 << 4 | kDomain | kPasid, 52, true, false, true, false},
    {"device TLB", 3 | uint64_t{World::kDevice} << 32, ~0ull << 12 >> 1 << 12 | 1, false, false,
     false, false},
    {"wait", 5 | 1 << 6, 0, false, false, false, false},
};

bool Leads(World& world, uint64_t physical) {
  const Translation t = world.model->Translate(World::Read(kPage));
  return t.ok() && t.physical.value == physical;
}

void Submit(World& world, const DescriptorCase& c) {
  world.Submit(c.word0, c.word1);
  EXPECT_FALSE(world.QueueError());
}

TEST(VtdTwoStageCacheTest, KeepsLeavesUntilADescriptorCoversThem) {
  for (const bool nested : {false, true}) {
    for (const DescriptorCase& c : kDescriptors) {
      SCOPED_TRACE(c.name);
      World world(nested);
      const uint64_t old = world.host[World::kData];
      EXPECT_TRUE(Leads(world, old));
      world.Store(world.first_4k, world.NameOf(World::kTop) | 7);
      EXPECT_TRUE(Leads(world, old));
      Submit(world, c);
      EXPECT_EQ(Leads(world, old), !c.leaf);
      EXPECT_EQ(Leads(world, world.host[World::kTop]), c.leaf);
    }
  }
}

// Both the joined leaf and what is known of the second stage must go.
TEST(VtdTwoStageCacheTest, KeepsTheSecondStageOfAPageUntilADescriptorCoversIt) {
  for (const DescriptorCase& c : kDescriptors) {
    SCOPED_TRACE(c.name);
    World world(true);
    const uint64_t old = world.host[World::kData];
    EXPECT_TRUE(Leads(world, old));
    world.Store(world.SecondLeaf(World::kData), world.host[World::kTop] | 3);
    Submit(world, c);
    EXPECT_EQ(Leads(world, old), !(c.leaf && c.inner));
  }
}

TEST(VtdTwoStageCacheTest, KeepsFirstStageTablesUntilADescriptorCoversThem) {
  for (const bool nested : {false, true}) {
    for (const DescriptorCase& c : kDescriptors) {
      for (uint64_t World::*parent : {&World::first4, &World::first3, &World::first2}) {
        SCOPED_TRACE(c.name);
        World world(nested);
        EXPECT_TRUE(Leads(world, world.host[World::kData]));
        world.Store(world.*parent, 0);
        Submit(world, c);
        // Without the leaf, so that the walk starts at the deepest table that is left.
        world.Submit(6 | 3 << 4 | kDomain | kPasid, kPage | kHint);
        EXPECT_EQ(world.model->Translate(World::Read(kPage)).ok(), !c.first_tables);
      }
    }
  }
}

TEST(VtdTwoStageCacheTest, KeepsSecondStageTablesUntilADescriptorCoversThem) {
  for (const DescriptorCase& c : kDescriptors) {
    for (uint64_t World::*parent : {&World::second4, &World::second3, &World::second2}) {
      SCOPED_TRACE(c.name);
      World world(true);
      EXPECT_TRUE(Leads(world, world.host[World::kData]));
      world.Store(world.*parent, 0);
      Submit(world, c);
      // Without leaves and inner leaves: every page of the guest's is looked up again.
      world.Submit(2 | 3 << 4 | kDomain, World::kGuestBase | kHint | 4);
      EXPECT_EQ(world.model->Translate(World::Read(kPage)).ok(), !c.second_tables);
    }
  }
}

TEST(VtdTwoStageCacheTest, KeepsPasidsApartUnderOneDomainId) {
  World world(false);
  // PASID 10: the same domain id, another first stage.
  const uint64_t other = world.entry + 64;
  const uint64_t top = world.Page();
  world.Store(other + 16, top);
  world.Store(other + 8, World::kGuestDomain | 1 << 23);
  world.Store(other, 1 << 6 | 2 << 2 | 1);
  EXPECT_TRUE(Leads(world, world.host[World::kData]));
  Request request = World::Read(kPage);
  request.pasid = World::kGuestPasid + 1;
  EXPECT_EQ(world.model->Translate(request).fault_reason, kFirstNotPresent);
  EXPECT_TRUE(Leads(world, world.host[World::kData]));
}

TEST(VtdTwoStageCacheTest, RemembersRightsOfLeavesAndTables) {
  for (const bool nested : {false, true}) {
    World world(nested);
    world.Flip(world.first4, 2 | 4);  // Neither for users nor writable.
    EXPECT_EQ(world.model->Translate(World::Read(kPage)).fault_reason, kUserDenied);
    world.Flip(world.first4, 2 | 4);
    EXPECT_TRUE(world.model->Probe(World::Write(kPage)).ok());
    EXPECT_EQ(world.model->Translate(World::Read(kPage)).fault_reason, kUserDenied);
    world.Submit(6 | 2 << 4 | kDomain | kPasid);
    EXPECT_TRUE(world.model->Translate(World::Write(kPage)).ok());
    world.Flip(world.first_4k, 2 | 4);  // Still permitted to a device that remembers.
    EXPECT_TRUE(world.model->Translate(World::Write(kPage)).ok());
    world.Submit(6 | 3 << 4 | kDomain | kPasid, kPage | kHint);
    EXPECT_EQ(world.model->Translate(World::Write(kPage)).fault_reason, kUserDenied);
  }
}

TEST(VtdTwoStageCacheTest, DoesNotRememberEntriesThatWereNotPresent) {
  for (const bool nested : {false, true}) {
    for (uint64_t World::*entry : {&World::first5, &World::first4, &World::first3, &World::first2,
                                   &World::first_4k, &World::entry}) {
      World world(nested, 5);
      world.Flip(world.*entry, 1);
      EXPECT_FALSE(world.model->Translate(World::Read(kPage)).ok());
      world.Flip(world.*entry, 1);
      EXPECT_TRUE(world.model->Translate(World::Read(kPage)).ok());
    }
  }
}

}  // namespace
}  // namespace viommu::hardware
