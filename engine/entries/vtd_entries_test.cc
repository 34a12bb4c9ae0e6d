#include "engine/entries/vtd_entries.h"

#include <string>
#include <vector>

#include "engine/entries/entry_writer.h"
#include "gtest/gtest.h"

namespace viommu::vtd {
namespace {

TEST(VtdEntriesTest, WritesTheGoldenWords) {
  EXPECT_EQ(MakeRootHalf(PhysAddr{0x1'2345'6000}), 0x1'2345'6001u);
  EXPECT_EQ(MakeContextEntry(PhysAddr{0x2'0000'1000}, 3), (ContextEntry{0x2'0000'1601, 0, 0, 0}));
  EXPECT_EQ(MakePasidDirectoryEntry(PhysAddr{0x7000}), 0x7001u);
  const struct {
    const char* name;
    PasidEntry entry, want;
  } kCases[] = {
      {"blocked", MakeBlockedEntry(), {}},
      {"pass-through, 4 levels", MakePassThroughEntry({4, true}), {0x109, 0x80'0001}},
      {"pass-through, walks do not snoop", MakePassThroughEntry({5, false}), {0x10d, 1}},
      {"second stage, 3 levels",
       MakeSecondStageEntry({PhysAddr{0x5000}, 3, 2, true}),
       {0x5085, 0x80'0002}},
      {"second stage, 5 levels",
       MakeSecondStageEntry({PhysAddr{0xf'ffff'ffff'f000}, 5, 0xffff}),
       {0xf'ffff'ffff'f08d, 0xffff}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(c.entry, c.want);
  }
}

TEST(VtdEntriesTest, ReadsBackWhatItWrote) {
  for (const int levels : {3, 4, 5}) {
    for (const uint64_t root : {0x1000ull, 0xabc'def0'1000ull}) {
      for (const int domain_id : {2, 0x8001, 0xffff}) {
        const auto id = static_cast<uint16_t>(domain_id);
        const PasidEntry entry = MakeSecondStageEntry({PhysAddr{root}, levels, id, true});
        EXPECT_TRUE(IsPresent(entry));
        EXPECT_EQ(TypeOf(entry), PasidType::kSecondStage);
        EXPECT_EQ(LevelsOf(entry), levels);
        EXPECT_EQ(DomainIdOf(entry), id);
        EXPECT_EQ(PointerIn(entry[0]), PhysAddr{root});
      }
    }
    const PasidEntry identity = MakePassThroughEntry({levels, false});
    EXPECT_EQ(TypeOf(identity), PasidType::kPassThrough);
    EXPECT_EQ(LevelsOf(identity), levels);
    EXPECT_EQ(DomainIdOf(identity), kPassThroughDomainId);
  }
  EXPECT_FALSE(IsPresent(MakeBlockedEntry()));
  EXPECT_EQ(LevelsOf(MakeBlockedEntry()), 0);
}

std::vector<PasidEntry> Entries() {
  return {MakeBlockedEntry(),
          MakePassThroughEntry({4, true}),
          MakePassThroughEntry({5, false}),
          MakeSecondStageEntry({PhysAddr{0x5000}, 4, 2, true}),
          MakeSecondStageEntry({PhysAddr{0x9000}, 4, 3, true}),
          MakeSecondStageEntry({PhysAddr{0xa'bcde'f000}, 3, 0x1234, false})};
}

TEST(VtdEntriesTest, SetsOnlyBitsThatTheEntryUses) {
  for (const PasidEntry& entry : Entries()) {
    const PasidEntry used = PasidArchitecture::UsedBits(entry);
    for (size_t i = 0; i < entry.size(); ++i) EXPECT_EQ(entry[i] & ~used[i], 0u) << i;
  }
}

TEST(VtdEntriesTest, UsesTheFieldsOfTheStagesThatItsTypeNames) {
  const auto used = [](PasidType type) {
    return PasidArchitecture::UsedBits({kPresent | static_cast<uint64_t>(type) << kPasidTypeShift});
  };
  const uint64_t kCommon = 0x1df;
  const uint64_t kStage2 = kPointerMask | kPasidSecondStageDirty;
  EXPECT_EQ(PasidArchitecture::UsedBits({}), (PasidEntry{3}));
  EXPECT_EQ(used(PasidType::kPassThrough), (PasidEntry{kCommon, 0x180'ffff}));
  EXPECT_EQ(used(PasidType::kSecondStage), (PasidEntry{kCommon | kStage2, 0x180'ffff}));
  EXPECT_EQ(used(PasidType::kFirstStage),
            (PasidEntry{kCommon, 0x180'ffff, kPointerMask | kPasidFirstStageFlags}));
  EXPECT_EQ(used(PasidType::kNested),
            (PasidEntry{kCommon | kStage2, 0x180'ffff, kPointerMask | kPasidFirstStageFlags}));
}

TEST(VtdEntriesTest, EveryChangeAmongThemIsOneStore) {
  for (const PasidEntry& from : Entries()) {
    for (const PasidEntry& to : Entries()) {
      const auto plan = PlanEntry<PasidArchitecture>(from, to);
      EXPECT_TRUE(plan.hitless());
      EXPECT_EQ(plan.size(), from == to ? 0u : 1u);
      for (const auto& step : plan) {
        EXPECT_EQ(step.unit, 0u);
        EXPECT_TRUE(step.flush_after);
      }
    }
  }
}

TEST(VtdEntriesTest, DescribesEntriesInWords) {
  EXPECT_EQ(DescribeRootHalf(0x5001), "present, context table 0x5000");
  EXPECT_EQ(DescribeRootHalf(0), "not present");
  EXPECT_EQ(DescribeContextEntry(MakeContextEntry(PhysAddr{0x3000}, 0)),
            "present, PASID directory 0x3000 of 128 entries, RID_PASID 0");
  EXPECT_EQ(DescribeContextEntry({2}), "not present, faults not recorded");
  EXPECT_EQ(DescribePasidDirectoryEntry(0x7001), "present, PASID table 0x7000");
  EXPECT_EQ(DescribePasidEntry(MakeSecondStageEntry({PhysAddr{0x5000}, 4, 2, true})),
            "present, second stage, 4 levels, domain id 2, second-stage table 0x5000, walks snoop");
  EXPECT_EQ(DescribePasidEntry(MakePassThroughEntry({4, false})),
            "present, pass-through, 4 levels, domain id 1");
  EXPECT_EQ(DescribePasidEntry({1 | 3 << 6 | 2 << 2 | 0x1000, 5, 0x2001}),
            "present, nested, 4 levels, domain id 5, second-stage table 0x1000, "
            "first-stage table 0x2000");
  EXPECT_EQ(DescribePasidEntry({1 | 7 << 6}), "present, reserved type, 0 levels, domain id 0");
  EXPECT_EQ(DescribeSecondStageEntry(0x8003, 4), "table 0x8000, RW");
  EXPECT_EQ(DescribeSecondStageEntry(0x4000'0881, 3), "page 0x40000000, R-, 1 GiB, snooped");
  EXPECT_EQ(DescribeSecondStageEntry(0x20'0082, 2), "page 0x200000, -W, 2 MiB");
  EXPECT_EQ(DescribeSecondStageEntry(0x9003, 1), "page 0x9000, RW, 4 KiB");
  EXPECT_EQ(DescribeSecondStageEntry(0, 1), "not present");
}

}  // namespace
}  // namespace viommu::vtd
