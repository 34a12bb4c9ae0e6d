#include "engine/entries/smmu_cd.h"

#include <vector>

#include "engine/base/address.h"
#include "engine/entries/entry_plan_testing.h"
#include "engine/entries/smmu_fields.h"
#include "gtest/gtest.h"

namespace viommu::smmu {
namespace {

CdFields Fields(uint64_t root = 0x5'0000, uint16_t asid = 0x1234) {
  CdFields fields;
  fields.root = PhysAddr{root};
  fields.asid = asid;
  return fields;
}

TEST(SmmuCdTest, WritesTheGoldenWords) {
  CdFields dirty = Fields();
  dirty.hardware_dirty = true;
  CdFields stall = Fields();
  stall.stall = true;
  CdFields sixteen_kib = Fields();
  sixteen_kib.granule = Granule::k16KiB;
  sixteen_kib.input_bits = 36;
  sixteen_kib.output_bits = 32;
  CdFields sixty_four_kib = Fields(0xf'ffff'ffff'0000, 0xffff);
  sixty_four_kib.granule = Granule::k64KiB;
  sixty_four_kib.input_bits = 52;
  sixty_four_kib.output_bits = 52;
  sixty_four_kib.coherent_walks = false;
  const struct {
    const char* name;
    Cd cd, want;
  } kCases[] = {
      {"4 KiB", MakeCd(Fields()), {0x1234'e205'c000'3510, 0x5'0000, 0, 0xf404'ff44}},
      {"dirty tracking", MakeCd(dirty), {0x1234'ee05'c000'3510, 0x5'0000, 0, 0xf404'ff44}},
      {"faults stall", MakeCd(stall), {0x1234'f205'c000'3510, 0x5'0000, 0, 0xf404'ff44}},
      {"16 KiB", MakeCd(sixteen_kib), {0x1234'e200'c000'359c, 0x5'0000, 0, 0xf404'ff44}},
      {"64 KiB, 52 bits, walks do not snoop",
       MakeCd(sixty_four_kib),
       {0xffff'e206'c000'204c, 0xf'ffff'ffff'0000, 0, 0xf404'ff44}},
      {"released", MakeReleasedCd(stall, false), {0x1234'c205'c000'4000, 0, 0, 0xf404'ff44}},
      {"released, stalls forced",
       MakeReleasedCd(stall, true),
       {0x1234'f205'c000'4000, 0, 0, 0xf404'ff44}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(c.cd, c.want);
  }
  EXPECT_EQ(MakeCdL1Descriptor(PhysAddr{0x9'8765'0000}), 0x9'8765'0001u);
}

TEST(SmmuCdTest, ReadsBackWhatItWrites) {
  const Cd cd = MakeCd(Fields(0xf'1234'5670, 0xfedc));
  EXPECT_TRUE(IsValidCd(cd));
  EXPECT_TRUE(HasTable(cd));
  EXPECT_EQ(AsidOf(cd), 0xfedc);
  EXPECT_EQ(Stage1RootOf(cd), 0xf'1234'5670u);
  const Cd released = MakeReleasedCd(Fields(), false);
  EXPECT_TRUE(IsValidCd(released));
  EXPECT_FALSE(HasTable(released));
  EXPECT_EQ(AsidOf(released), 0x1234);
  EXPECT_FALSE(IsValidCd(CdArchitecture::Blocked()));
  EXPECT_FALSE(HasTable(CdArchitecture::Blocked()));
}

TEST(SmmuCdTest, SplitsSsidsAtBitTen) {
  EXPECT_EQ(CdL1Index(0xfffff), kCdL1MaxEntries - 1);
  EXPECT_EQ(CdL1Index(0x12345), 0x48u);
  EXPECT_EQ(CdL2Index(0x12345), 0x345u);
  EXPECT_EQ(kCdL2Bytes, 65536u);
  EXPECT_EQ(uint64_t{1} << kLinearCdsMaxLog2, kCdL2Entries);
  const uint64_t descriptor = MakeCdL1Descriptor(PhysAddr{0x1'0000});
  EXPECT_TRUE(IsValidCdL1(descriptor));
  EXPECT_EQ(CdL1TableOf(descriptor), 0x1'0000u);
  EXPECT_FALSE(IsValidCdL1(kEmptyCdL1Descriptor));
}

// Section 17.4, in hex.
TEST(SmmuCdTest, UsesEverythingButTheWalkOfATableThatItHasNot) {
  constexpr uint64_t kAll = ~uint64_t{0};
  constexpr uint64_t kValid = 0x8000'0000;
  EXPECT_EQ(CdArchitecture::UsedBits({}), (Cd{kValid}));
  EXPECT_EQ(CdArchitecture::UsedBits({~kValid, kAll}), (Cd{kValid}));
  EXPECT_EQ(CdArchitecture::UsedBits({kValid}),
            (Cd{kAll, kAll, kAll, kAll, kAll, kAll, kAll, kAll}));
  EXPECT_EQ(CdArchitecture::UsedBits({kValid | 0x4000}),
            (Cd{~uint64_t{0x3fff}, 0xfff0'0000'0000'000f, kAll, kAll, kAll, kAll, kAll, kAll}));
  EXPECT_EQ(CdArchitecture::SafeBits(MakeCd(Fields()), {}), Cd{});
}

TEST(SmmuCdTest, TakesTheWaysOfTheTransitionTable) {
  CdFields sva_fields = Fields(0x7'0000, 9);
  sva_fields.hardware_dirty = false;
  const Cd none = {}, s1 = MakeCd(Fields()), sva = MakeCd(sva_fields);
  const Cd released = MakeReleasedCd(sva_fields, false);
  const struct {
    const char* name;
    Cd from, to;
    size_t syncs;
    bool never_zero;
    const char* phases;
  } kRows[] = {
      {"CD 0 -> S1", none, s1, 2, false, "{1,3} {0}"},
      {"CD S1 -> 0", s1, none, 2, false, "{0} {1,3}"},
      {"CD ASID change", s1, MakeCd(Fields(0x5'0000, 0x1235)), 1, true, "{0}"},
      {"CD 0 -> SVA", none, sva, 2, false, "{1,3} {0}"},
      {"CD SVA -> 0", sva, none, 2, false, "{0} {1,3}"},
      {"CD SVA -> released", sva, released, 2, true, "{0} {1}"},
      {"CD released -> SVA", released, sva, 2, true, "{1} {0}"},
  };
  for (const auto& row : kRows) {
    SCOPED_TRACE(row.name);
    const auto way = PlannedWay<CdArchitecture>(row.from, row.to);
    EXPECT_EQ(way.states.size(), row.syncs);
    EXPECT_EQ(way.NeverZero(), row.never_zero);
    EXPECT_EQ(way.phases, row.phases);
    // To and from nothing there is no third state either.
    EXPECT_TRUE(way.hitless);
  }
}

TEST(SmmuCdTest, BlocksOnTheWayWhenTableAndAsidChange) {
  const auto way =
      PlannedWay<CdArchitecture>(MakeCd(Fields(0x5'0000, 1)), MakeCd(Fields(0x6'0000, 2)));
  EXPECT_FALSE(way.hitless);
  EXPECT_EQ(way.phases, "{0} {1} {0}");
  EXPECT_EQ(way.states[0][0], 0u);
}

std::vector<Cd> ManyCds() {
  std::vector<Cd> cds = {{}};
  for (const uint64_t root : {0x5'0000, 0x6'0000}) {
    for (const uint16_t asid : {1, 2}) {
      for (const bool dirty : {false, true}) {
        for (const bool stall : {false, true}) {
          CdFields fields = Fields(root, asid);
          fields.hardware_dirty = dirty;
          fields.stall = stall;
          cds.push_back(MakeCd(fields));
          cds.push_back(MakeReleasedCd(fields, false));
          cds.push_back(MakeReleasedCd(fields, true));
          fields.granule = Granule::k64KiB;
          fields.input_bits = 42;
          cds.push_back(MakeCd(fields));
        }
      }
    }
  }
  return cds;
}

TEST(SmmuCdTest, SetsOnlyBitsThatTheEntryUses) {
  for (const Cd& cd : ManyCds()) {
    const Cd used = CdArchitecture::UsedBits(cd);
    for (size_t i = 0; i < cd.size(); ++i) EXPECT_EQ(cd[i] & ~used[i], 0u) << i;
  }
}

TEST(SmmuCdTest, NothingButOldAndNewAndBlockedIsEverSeen) {
  const std::vector<Cd> cds = ManyCds();
  const size_t hitless = CheckEveryWay<CdArchitecture>(cds, IsValidCd);
  EXPECT_GT(hitless, cds.size() * cds.size() / 3);
  EXPECT_LT(hitless, cds.size() * cds.size());
}

TEST(SmmuCdTest, DescribesDescriptorsInWords) {
  EXPECT_EQ(DescribeCd({}), "not valid");
  EXPECT_EQ(DescribeCd(MakeCd(Fields(0x5'0000, 7))),
            "valid, ASID 7, table 0x50000 (4 KiB, 48 to 48 bits)");
  CdFields fields = Fields();
  fields.granule = Granule::k16KiB;
  fields.input_bits = 47;
  fields.output_bits = 40;
  fields.hardware_dirty = fields.stall = true;
  EXPECT_EQ(DescribeCd(MakeCd(fields)),
            "valid, ASID 4660, table 0x50000 (16 KiB, 47 to 40 bits), dirty tracking, faults "
            "stall");
  EXPECT_EQ(DescribeCd(MakeReleasedCd(Fields(), false)),
            "valid, ASID 4660, no table: every access faults, faults not recorded");
  EXPECT_EQ(DescribeCdL1Descriptor(MakeCdL1Descriptor(PhysAddr{0x1'0000})),
            "valid, 1024 CDs at 0x10000");
  EXPECT_EQ(DescribeCdL1Descriptor(0x1'1001, 64), "valid, 64 CDs at 0x11000");
  EXPECT_EQ(DescribeCdL1Descriptor(0), "not valid");
}

}  // namespace
}  // namespace viommu::smmu
