#include "engine/entries/vtd_entries.h"

#include <string>
#include <vector>

#include "engine/base/address.h"
#include "engine/entries/entry_writer.h"
#include "gtest/gtest.h"

namespace viommu::vtd {
namespace {

PasidEntry Nested(uint64_t first_stage_root = 0x7000, uint16_t domain_id = 9) {
  NestedFields fields;
  fields.first_stage_root = first_stage_root;
  fields.second_stage_root = PhysAddr{0x5'0000};
  fields.domain_id = domain_id;
  fields.page_walk_snoop = true;
  return MakeNestedEntry(fields);
}

PasidEntry FirstStage(uint64_t root = 0x6000, uint16_t domain_id = 3) {
  return MakeFirstStageEntry({PhysAddr{root}, 4, domain_id, true, false, 4});
}

TEST(VtdEntriesTest, WritesTheGoldenWords) {
  EXPECT_EQ(MakeRootHalf(PhysAddr{0x1'2345'6000}), 0x1'2345'6001u);
  EXPECT_EQ(MakeContextEntry({PhysAddr{0x2'0000'1000}, 3, false, false}),
            (ContextEntry{0x2'0000'1601, 0, 0, 0}));
  EXPECT_EQ(MakeContextEntry({PhysAddr{0x1000}, 0, true, false}), (ContextEntry{0x1009, 0, 0, 0}));
  EXPECT_EQ(MakeContextEntry({PhysAddr{0x1000}, 7, true, true}), (ContextEntry{0x1e0d, 0, 0, 0}));
  EXPECT_EQ(MakeContextEntry({PhysAddr{0x1000}, 7, true, true, true}),
            (ContextEntry{0x1e1d, 0, 0, 0}));
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
      {"second stage, dirty tracking",
       MakeSecondStageEntry({PhysAddr{0x5000}, 4, 2, false, true}),
       {0x5289, 2}},
      {"first stage, 4 levels",
       MakeFirstStageEntry({PhysAddr{0x6000}, 4, 3, true, false, 5}),
       {0x4d, 0x80'0003, 0x6000}},
      {"first stage, 5 levels, snooped",
       MakeFirstStageEntry({PhysAddr{0xf'ffff'ffff'f000}, 5, 0xffff, true, true, 4}),
       {0x49, 0x180'ffff, 0xf'ffff'ffff'f004}},
      {"nested, plain", Nested(), {0x5'00c9, 0x80'0009, 0x7000}},
      {"nested, everything",
       MakeNestedEntry({0x7000, 5, true, true, true, PhysAddr{0x5'0000}, 5, 9, true, true, true}),
       {0x5'02cd, 0x180'0009, 0x7095}},
      {"nested, write protection means nothing without privilege",
       MakeNestedEntry({0x7000, 4, false, true, false, PhysAddr{0x5'0000}, 3, 9}),
       {0x5'00c5, 9, 0x7000}},
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

TEST(VtdEntriesTest, ReadsBackBothStages) {
  for (const int levels : {4, 5}) {
    for (const int unit_levels : {3, 4, 5}) {
      const PasidEntry first =
          MakeFirstStageEntry({PhysAddr{0xabc000}, levels, 7, true, true, unit_levels});
      EXPECT_EQ(TypeOf(first), PasidType::kFirstStage);
      EXPECT_EQ(FirstStageLevelsOf(first), levels);
      EXPECT_EQ(LevelsOf(first), unit_levels);
      EXPECT_EQ(DomainIdOf(first), 7);
      EXPECT_EQ(PointerIn(first[2]), PhysAddr{0xabc000});
      EXPECT_EQ(PointerIn(first[0]), PhysAddr{0});

      NestedFields fields;
      fields.first_stage_root = 0xf'ffff'ffff'f000;
      fields.first_stage_levels = levels;
      fields.second_stage_root = PhysAddr{0xdef000};
      fields.second_stage_levels = unit_levels;
      fields.domain_id = 8;
      const PasidEntry nested = MakeNestedEntry(fields);
      EXPECT_EQ(TypeOf(nested), PasidType::kNested);
      EXPECT_EQ(FirstStageLevelsOf(nested), levels);
      EXPECT_EQ(LevelsOf(nested), unit_levels);
      EXPECT_EQ(DomainIdOf(nested), 8);
      EXPECT_EQ(PointerIn(nested[2]), PhysAddr{0xf'ffff'ffff'f000});
      EXPECT_EQ(PointerIn(nested[0]), PhysAddr{0xdef000});
    }
  }
  EXPECT_EQ(FirstStageLevelsOf({0, 0, 2 << 2}), 0);
}

TEST(VtdEntriesTest, SizesTheDirectoryForTheWidthOfPasids) {
  const struct {
    int pasid_bits, pdts, pages_log2;
  } kCases[] = {{0, 0, 0}, {1, 0, 0}, {13, 0, 0}, {14, 1, 0}, {15, 2, 0}, {16, 3, 1}, {20, 7, 5}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.pasid_bits);
    EXPECT_EQ(PdtsFor(c.pasid_bits), c.pdts);
    EXPECT_EQ(PasidDirectoryPagesLog2(c.pdts), c.pages_log2);
    const uint64_t entries = uint64_t{128} << c.pdts;
    EXPECT_GE(entries * kPasidTableEntries, uint64_t{1} << c.pasid_bits);
    EXPECT_LE(entries * sizeof(uint64_t), uint64_t{4096} << c.pages_log2);
  }
}

std::vector<PasidEntry> Entries() {
  return {MakeBlockedEntry(),
          MakePassThroughEntry({4, true}),
          MakePassThroughEntry({5, false}),
          MakeSecondStageEntry({PhysAddr{0x5000}, 4, 2, true}),
          MakeSecondStageEntry({PhysAddr{0x9000}, 4, 3, true}),
          MakeSecondStageEntry({PhysAddr{0xa'bcde'f000}, 3, 0x1234, false})};
}

std::vector<PasidEntry> TwoStageEntries() {
  return {
      FirstStage(),
      FirstStage(0x8000),
      FirstStage(0x8000, 4),
      MakeFirstStageEntry({PhysAddr{0x8000}, 5, 4, true, true, 4}),
      Nested(),
      Nested(0x8000),
      Nested(0x8000, 10),
      MakeNestedEntry({0x7000, 5, true, true, true, PhysAddr{0x5'0000}, 5, 9, true, true, true})};
}

TEST(VtdEntriesTest, SetsOnlyBitsThatTheEntryUses) {
  std::vector<PasidEntry> entries = Entries();
  for (const PasidEntry& entry : TwoStageEntries()) entries.push_back(entry);
  for (const PasidEntry& entry : entries) {
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

TEST(VtdEntriesTest, ChangesBetweenTypesInPlaceUnlessBothStagesChange) {
  const PasidEntry blocked = MakeBlockedEntry();
  const PasidEntry pass = MakePassThroughEntry({4, true});
  const PasidEntry second = MakeSecondStageEntry({PhysAddr{0x5000}, 4, 2, true});
  const struct {
    const char* name;
    PasidEntry from, to;
    bool hitless;
    std::vector<size_t> units;  // In the order of their stores.
  } kCases[] = {
      {"blocked to first stage", blocked, FirstStage(), true, {1, 0}},
      {"first stage to blocked", FirstStage(), blocked, true, {0, 1}},
      {"pass-through to first stage", pass, FirstStage(), true, {1, 0}},
      {"second stage to first stage", second, FirstStage(), true, {1, 0}},
      {"second stage to nested", second, Nested(), true, {1, 0}},
      {"nested to second stage", Nested(), second, true, {0, 1}},
      {"nested to pass-through", Nested(), pass, true, {0, 1}},
      {"another table, same domain id", FirstStage(), FirstStage(0x8000), true, {1}},
      {"another domain id, same table", Nested(), Nested(0x7000, 10), true, {0}},
      {"another table and domain id", FirstStage(), FirstStage(0x8000, 4), false, {0, 1, 0}},
      {"one guest to another", Nested(), Nested(0x8000, 10), false, {0, 1, 0}},
      {"first stage to nested", FirstStage(), Nested(), false, {0, 1, 0}},
      {"nested to first stage", Nested(), FirstStage(), false, {0, 1, 0}},
      {"first stage to nested on the same root", FirstStage(0x7000), Nested(), true, {0}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const auto plan = PlanEntry<PasidArchitecture>(c.from, c.to);
    EXPECT_EQ(plan.hitless(), c.hitless);
    std::vector<size_t> units;
    PasidEntry state = c.from;
    for (const auto& step : plan) {
      units.push_back(step.unit);
      state[2 * step.unit] = step.words[0];
      state[2 * step.unit + 1] = step.words[1];
    }
    EXPECT_EQ(units, c.units);
    EXPECT_EQ(state, c.to);
    // The way round: nothing is ever present that is neither the old entry nor the new one.
    if (!c.hitless) {
      EXPECT_EQ(plan.begin()->words[0], 0u);
    }
  }
}

TEST(VtdEntriesTest, DescribesEntriesInWords) {
  EXPECT_EQ(DescribeRootHalf(0x5001), "present, context table 0x5000");
  EXPECT_EQ(DescribeRootHalf(0), "not present");
  EXPECT_EQ(DescribeContextEntry(MakeContextEntry({PhysAddr{0x3000}})),
            "present, PASID directory 0x3000 of 128 entries, RID_PASID 0");
  EXPECT_EQ(DescribeContextEntry({2}), "not present, faults not recorded");
  EXPECT_EQ(DescribeContextEntry({0x3000 | 3 << 9 | 0x1c | 1}),
            "present, PASID directory 0x3000 of 1024 entries, RID_PASID 0, PASIDs, device TLB, "
            "page requests");
  EXPECT_EQ(DescribePasidDirectoryEntry(0x7001), "present, PASID table 0x7000");
  EXPECT_EQ(DescribePasidEntry(MakeSecondStageEntry({PhysAddr{0x5000}, 4, 2, true})),
            "present, second stage, 4 levels, domain id 2, second-stage table 0x5000, walks snoop");
  EXPECT_EQ(DescribePasidEntry(MakePassThroughEntry({4, false})),
            "present, pass-through, 4 levels, domain id 1");
  EXPECT_EQ(DescribePasidEntry({1 | 3 << 6 | 2 << 2 | 0x1000, 5, 0x2001}),
            "present, nested, 4 levels, domain id 5, second-stage table 0x1000, "
            "first-stage table 0x2000 of 4 levels, privileged requests");
  EXPECT_EQ(DescribePasidEntry(MakeFirstStageEntry({PhysAddr{0x6000}, 5, 3, true, true, 4})),
            "present, first stage, 4 levels, domain id 3, first-stage table 0x6000 of 5 levels, "
            "walks snoop, pages snoop");
  EXPECT_EQ(DescribePasidEntry({1 | 2 << 6 | 2 << 2 | 1 << 9 | 0x1000, 5}),
            "present, second stage, 4 levels, domain id 5, second-stage table 0x1000, dirty "
            "tracking");
  EXPECT_EQ(DescribePasidEntry({1 | 1 << 6 | 2 << 2, 5, 0x2091}),
            "present, first stage, 4 levels, domain id 5, first-stage table 0x2000 of 4 levels, "
            "privileged requests, write protection, extended access");
  EXPECT_EQ(DescribePasidEntry({1 | 7 << 6}), "present, reserved type, 0 levels, domain id 0");
  EXPECT_EQ(DescribeSecondStageEntry(0x8003, 4), "table 0x8000, RW");
  EXPECT_EQ(DescribeSecondStageEntry(0x4000'0881, 3), "page 0x40000000, R-, 1 GiB, snooped");
  EXPECT_EQ(DescribeSecondStageEntry(0x20'0082, 2), "page 0x200000, -W, 2 MiB");
  EXPECT_EQ(DescribeSecondStageEntry(0x9003, 1), "page 0x9000, RW, 4 KiB");
  EXPECT_EQ(DescribeSecondStageEntry(0x9303, 1), "page 0x9000, RW, 4 KiB, accessed, dirty");
  EXPECT_EQ(DescribeSecondStageEntry(0, 1), "not present");
  EXPECT_EQ(DescribeFirstStageEntry(0x8027, 4), "table 0x8000, RW, user, accessed");
  EXPECT_EQ(DescribeFirstStageEntry(0x4000'0085, 3), "page 0x40000000, R-, user, 1 GiB");
  EXPECT_EQ(DescribeFirstStageEntry(0x20'00e3, 2),
            "page 0x200000, RW, supervisor, 2 MiB, accessed, dirty");
  EXPECT_EQ(DescribeFirstStageEntry(0x9007, 1), "page 0x9000, RW, user, 4 KiB");
  EXPECT_EQ(DescribeFirstStageEntry(0xffe, 1), "not present");
}

}  // namespace
}  // namespace viommu::vtd
