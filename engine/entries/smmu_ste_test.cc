#include "engine/entries/smmu_ste.h"

#include <tuple>
#include <vector>

#include "engine/base/address.h"
#include "engine/entries/entry_plan_testing.h"
#include "engine/entries/smmu_fields.h"
#include "gtest/gtest.h"

namespace viommu::smmu {
namespace {

// V, Config 5, a CD table of the guest's; S1DSS SSID0, write-back, inner shareable.
constexpr GuestSteWords kGuest = {0x7000'000b, 0xd6};
constexpr GuestSteWords kGuestBypassDefault = {0x7000'000b, 0xd5};

Ste CdTable(DefaultSubstream without_ssid, bool ats = true, uint64_t table = 0x1000,
            bool stall_disable = true) {
  CdTableFields fields;
  fields.table = PhysAddr{table};
  fields.without_ssid = without_ssid;
  fields.ats = ats;
  fields.stall_disable = stall_disable;
  fields.attribute_overrides = true;
  return MakeCdTableSte(fields);
}

Stage2Fields Parent(bool ats, bool stall = false, uint16_t vmid = 7) {
  Stage2Fields fields;
  fields.root = PhysAddr{0x5000};
  fields.vmid = vmid;
  fields.ats = ats;
  fields.stall = stall;
  fields.attribute_overrides = true;
  return fields;
}

Ste Stage2(bool ats, bool stall = false, uint16_t vmid = 7) {
  return MakeStage2Ste(Parent(ats, stall, vmid));
}

TEST(SmmuSteTest, WritesTheGoldenWords) {
  Stage2Fields four_kib;
  four_kib.root = PhysAddr{0x4'5678'9000};
  four_kib.vmid = 0x1234;
  four_kib.input_bits = 40;
  four_kib.start_level = 1;
  four_kib.output_bits = 44;
  four_kib.ats = four_kib.force_write_back = four_kib.attribute_overrides = true;
  Stage2Fields sixteen_kib;
  sixteen_kib.root = PhysAddr{0x8000};
  sixteen_kib.vmid = 1;
  sixteen_kib.input_bits = 47;
  sixteen_kib.start_level = 1;
  sixteen_kib.granule = Granule::k16KiB;
  sixteen_kib.output_bits = 40;
  Stage2Fields sixty_four_kib;
  sixty_four_kib.root = PhysAddr{0xf'ffff'ffff'0000};
  sixty_four_kib.vmid = 1;
  sixty_four_kib.input_bits = 42;
  sixty_four_kib.start_level = 1;
  sixty_four_kib.granule = Granule::k64KiB;
  sixty_four_kib.coherent_walks = false;
  sixty_four_kib.stall = true;
  const CdTableFields two_level = {PhysAddr{0x8'1234'5000},
                                   CdTableFormat::kTwoLevel64KiB,
                                   20,
                                   DefaultSubstream::kSsid0,
                                   true,
                                   true,
                                   true};
  CdTableFields bypass_default;
  bypass_default.table = PhysAddr{0x1040};
  bypass_default.without_ssid = DefaultSubstream::kBypass;
  CdTableFields bypass_override = bypass_default;
  bypass_override.attribute_overrides = true;
  const struct {
    const char* name;
    Ste ste, want;
  } kCases[] = {
      {"abort", MakeAbortSte(), {1}},
      {"abort of a function with page requests",
       WithPageResponsePasid(MakeAbortSte()),
       {1, 0x4'0000}},
      {"bypass", MakeBypassSte({}), {9}},
      {"bypass, attributes chosen", MakeBypassSte({true}), {9, 0x1000'0000'0000}},
      {"CD table, two levels", MakeCdTableSte(two_level), {0xa000'0008'1234'502b, 0x1800'00d6}},
      {"CD table, no first stage without SSID", MakeCdTableSte(bypass_default), {0x104b, 0xd5}},
      {"the same, attributes chosen", MakeCdTableSte(bypass_override), {0x104b, 0x1000'0000'00d5}},
      {"stage 2, 4 KiB",
       MakeStage2Ste(four_kib),
       {0xd, 0x1000'1200'0000, 0x044c'3558'0000'1234, 0x4'5678'9000}},
      {"stage 2, 16 KiB", MakeStage2Ste(sixteen_kib), {0xd, 0, 0x044a'b591'0000'0001, 0x8000}},
      {"stage 2, 64 KiB, walks do not snoop, stalls",
       MakeStage2Ste(sixty_four_kib),
       {0xd, 0, 0x064d'6096'0000'0001, 0xf'ffff'ffff'0000}},
      {"nested",
       MakeNestedSte(four_kib, {0x5800'0000'7000'002b, 0x0800'00d6}),
       {0x5800'0000'7000'002f, 0x1000'1a08'00d6, 0x044c'3558'0000'1234, 0x4'5678'9000}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(c.ste, c.want);
  }
  EXPECT_EQ(MakeStreamL1Descriptor(PhysAddr{0x9'8765'4000}), 0x9'8765'4009u);
}

TEST(SmmuSteTest, TakesNothingElseFromAGuest) {
  const Ste nested = MakeNestedSte(Parent(false), {~uint64_t{0}, ~uint64_t{0}});
  const Ste want = {0xf80f'ffff'ffff'ffff, 0x1000'0808'00ff, Stage2(false)[2], 0x5000};
  EXPECT_EQ(nested, want);
}

TEST(SmmuSteTest, ReadsBackWhatItWrites) {
  const Ste table = MakeCdTableSte({PhysAddr{0xf'1234'5640}, CdTableFormat::kTwoLevel64KiB, 17,
                                    DefaultSubstream::kTerminate, true});
  EXPECT_TRUE(IsValid(table));
  EXPECT_EQ(ConfigOf(table), SteConfig::kStage1);
  EXPECT_EQ(CdTableOf(table), 0xf'1234'5640u);
  EXPECT_EQ(CdTableFormatOf(table), CdTableFormat::kTwoLevel64KiB);
  EXPECT_EQ(CdsLog2Of(table), 17);
  EXPECT_EQ(DefaultSubstreamOf(table), DefaultSubstream::kTerminate);
  EXPECT_EQ(AtsTreatmentOf(table), AtsTreatment::kTranslate);
  const Ste nested = MakeNestedSte(Parent(false, false, 0xfffe), kGuestBypassDefault);
  EXPECT_EQ(ConfigOf(nested), SteConfig::kNested);
  EXPECT_EQ(VmidOf(nested), 0xfffe);
  EXPECT_EQ(Stage2RootOf(nested), PhysAddr{0x5000});
  EXPECT_EQ(CdTableOf(nested), 0x7000'0000u);
  EXPECT_EQ(DefaultSubstreamOf(nested), DefaultSubstream::kBypass);
  EXPECT_EQ(AtsTreatmentOf(nested), AtsTreatment::kAbort);
  EXPECT_FALSE(IsValid(SteArchitecture::Blocked()));
  for (const auto& [config, stage1, stage2] : {std::tuple{SteConfig::kAbort, false, false},
                                               {SteConfig::kBypass, false, false},
                                               {SteConfig::kStage1, true, false},
                                               {SteConfig::kStage2, false, true},
                                               {SteConfig::kNested, true, true},
                                               {SteConfig(3), false, false}}) {
    EXPECT_EQ(HasStage1(config), stage1);
    EXPECT_EQ(HasStage2(config), stage2);
  }
}

TEST(SmmuSteTest, SplitsStreamIdsAtBitEight) {
  EXPECT_EQ(StreamL1Index(0x12345), 0x123u);
  EXPECT_EQ(StreamL2Index(0x12345), 0x45u);
  EXPECT_EQ(kStreamL2Bytes, 16384u);
  const uint64_t descriptor = MakeStreamL1Descriptor(PhysAddr{0x4000});
  EXPECT_EQ(StreamL1EntriesOf(descriptor), kStreamL2Entries);
  EXPECT_EQ(StreamL1TableOf(descriptor), PhysAddr{0x4000});
  EXPECT_EQ(StreamL1EntriesOf(kEmptyStreamL1Descriptor), 0u);
  EXPECT_EQ(StreamL1EntriesOf(1), 1u);
  EXPECT_EQ(StreamL1EntriesOf(10), 0u);
}

// Section 17.4, in hex.
TEST(SmmuSteTest, UsesTheFieldsOfTheStagesThatItsConfigNames) {
  constexpr uint64_t kHead = 0xf, kStage1Head = 0xf80f'ffff'ffff'ffff;
  constexpr uint64_t kPpar = 0x4'0000;  // 17.4 has no page requests.
  constexpr uint64_t kStage1 = 0xf808'00ff, kStage2 = 0x3000'3208'0000, kShcfg = 0x3000'0000'0000;
  constexpr uint64_t kStage2Word2 = 0x065f'ffff'0000'ffff, kTable = 0x000f'ffff'ffff'fff0;
  const struct {
    Ste ste, used;
  } kCases[] = {
      {{}, {1}},
      {{~uint64_t{1}, ~uint64_t{0}}, {1}},
      {{0x1}, {kHead, kPpar}},
      {{0x3}, {kStage1Head, kPpar | kStage1, 0xffff}},
      {{0x5}, {kHead, kPpar | kStage2, kStage2Word2, kTable}},
      {{0x7}, {kStage1Head, kPpar | kStage1 | kStage2, kStage2Word2, kTable}},
      {{0x9}, {kHead, kPpar | kShcfg}},
      {{0xb}, {kStage1Head, kPpar | kStage1, 0xffff}},
      {{0xb, 1}, {kStage1Head, kPpar | kStage1 | kShcfg, 0xffff}},
      {{0xb, 2}, {kStage1Head, kPpar | kStage1, 0xffff}},
      {{0xd}, {kHead, kPpar | kStage2, kStage2Word2, kTable}},
      {{0xf}, {kStage1Head, kPpar | kStage1 | kStage2, kStage2Word2, kTable}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(Hex(c.ste[0]) + " " + Hex(c.ste[1]));
    EXPECT_EQ(SteArchitecture::UsedBits(c.ste), c.used);
  }
}

TEST(SmmuSteTest, LetsEatsChangeAtAnyMomentUnlessAMixtureWouldBeIllegal) {
  const Ste plain = Stage2(true), stall = Stage2(false, true);
  Ste split = Stage2(false);
  split[1] |= uint64_t{2} << 28;
  EXPECT_EQ(SteArchitecture::SafeBits(plain, MakeAbortSte()), (Ste{0, 0x1008'0000}));
  EXPECT_EQ(SteArchitecture::SafeBits(MakeAbortSte(), plain), (Ste{0, 0x1008'0000}));
  for (const Ste& other : {stall, split}) {
    EXPECT_EQ(SteArchitecture::SafeBits(plain, other), (Ste{0, 0x8'0000}));
    EXPECT_EQ(SteArchitecture::SafeBits(other, plain), (Ste{0, 0x8'0000}));
  }
}

// The table's second stage has VMID 0, as the entries without one.
TEST(SmmuSteTest, TakesTheWaysOfTheTransitionTable) {
  using D = DefaultSubstream;
  const Ste abort = MakeAbortSte(), bypass = MakeBypassSte({true});
  const Ste table = CdTable(D::kSsid0), table_bypass = CdTable(D::kBypass);
  const Ste nested = MakeNestedSte(Parent(true, false, 0), kGuestBypassDefault);
  const Ste s2 = Stage2(false, false, 0), s2_ats = Stage2(true, false, 0);
  const Ste s2_stall = Stage2(true, true, 0), table_stall = CdTable(D::kSsid0, true, 0x1000, false);
  const struct {
    const char* name;
    Ste from, to;
    size_t syncs;
    bool hitless;
    const char* phases;
  } kRows[] = {
      {"bypass -> abort", bypass, abort, 2, true, "{0} {1}"},
      {"abort -> bypass", abort, bypass, 2, true, "{1} {0}"},
      {"cdtable(SSID0,ATS) -> abort", table, abort, 2, true, "{0} {1}"},
      {"abort -> cdtable", abort, table, 2, true, "{1} {0}"},
      {"cdtable -> bypass", table, bypass, 3, true, "{1} {0} {1}"},
      {"bypass -> cdtable", bypass, table, 3, true, "{1} {0} {1}"},
      {"cdtable S1DSS SSID0 -> bypass", table, table_bypass, 1, true, "{1}"},
      {"cdtable S1DSS bypass -> SSID0", table_bypass, table, 1, true, "{1}"},
      {"cdtable S1DSS=bypass -> STE bypass", table_bypass, bypass, 2, true, "{0} {1}"},
      {"STE bypass -> cdtable S1DSS=bypass", bypass, table_bypass, 2, true, "{1} {0}"},
      {"S2(ATS) -> abort", s2_ats, abort, 2, true, "{0} {1,2,3}"},
      {"abort -> S2", abort, s2_ats, 2, true, "{1,2,3} {0}"},
      {"S2 -> bypass", s2_ats, bypass, 2, true, "{0} {1,2,3}"},
      {"bypass -> S2", bypass, s2_ats, 2, true, "{1,2,3} {0}"},
      {"S1 -> S2 (ATS)", table, s2_ats, 3, true, "{1,2,3} {0} {1}"},
      {"S2 -> S1 (ATS)", s2_ats, table, 3, true, "{1} {0} {1,2,3}"},
      {"S1 -> S2 (ATS, stall)", table_stall, s2_stall, 3, true, "{1,2,3} {0} {1}"},
      {"S2 -> S1 (ATS, stall)", s2_stall, table_stall, 3, true, "{1} {0} {1,2,3}"},
      {"cdtable: CD pointer and S1DSS both change", table, CdTable(D::kBypass, true, 0x2000), 3,
       false, "{0} {1} {0}"},
      {"nested S1DSS=bypass(ATS,MEV) -> S2(no ATS)", nested, s2, 3, true, "{1} {0} {1}"},
      {"S2(no ATS) -> nested S1DSS=bypass(ATS,MEV)", s2, nested, 2, true, "{1} {0}"},
  };
  for (const auto& row : kRows) {
    SCOPED_TRACE(row.name);
    const auto way = PlannedWay<SteArchitecture>(row.from, row.to);
    EXPECT_EQ(way.states.size(), row.syncs);
    EXPECT_EQ(way.hitless, row.hitless);
    EXPECT_EQ(way.NeverZero(), row.hitless);
    EXPECT_EQ(way.phases, row.phases);
    if (!row.hitless) {
      EXPECT_EQ(way.states[0][0], 0u);
    }
    const auto of_asking =
        PlannedWay<SteArchitecture>(WithPageResponsePasid(row.from), WithPageResponsePasid(row.to));
    EXPECT_EQ(of_asking.phases, row.phases) << "all entries of a function with page requests";
    EXPECT_EQ(of_asking.hitless, row.hitless);
  }
}

// An entry with a first stage alone says VMID 0, and the hardware heeds it.
TEST(SmmuSteTest, BlocksOnTheWayBetweenStagesOfDifferentVmids) {
  const Ste table = CdTable(DefaultSubstream::kSsid0);
  const auto there = PlannedWay<SteArchitecture>(table, Stage2(true));
  EXPECT_FALSE(there.hitless);
  EXPECT_EQ(there.phases, "{0} {1,2,3} {0}");
  const auto back = PlannedWay<SteArchitecture>(Stage2(true), table);
  EXPECT_FALSE(back.hitless);
  EXPECT_EQ(back.phases, "{0} {1,2,3} {0}");
  // A guest that begins to translate, stops and changes its mind keeps its VMID.
  const Ste nested = MakeNestedSte(Parent(true), kGuest);
  EXPECT_EQ(PlannedWay<SteArchitecture>(Stage2(true), nested).phases, "{1} {0}");
  EXPECT_EQ(PlannedWay<SteArchitecture>(nested, Stage2(true)).phases, "{1} {0} {1}");
}

// Entries of every kind, with every option that the ways depend on, and some that only others
// write: split-stage ATS, a big-endian second stage, EL2.
std::vector<Ste> ManyStes() {
  std::vector<Ste> stes = {{}, MakeAbortSte(), MakeBypassSte({false}), MakeBypassSte({true})};
  for (const auto without_ssid :
       {DefaultSubstream::kTerminate, DefaultSubstream::kBypass, DefaultSubstream::kSsid0}) {
    for (const bool ats : {false, true}) {
      for (const bool stall_disable : {false, true}) {
        for (const uint64_t table : {0x1000, 0x2000}) {
          stes.push_back(CdTable(without_ssid, ats, table, stall_disable));
        }
      }
    }
  }
  for (const bool ats : {false, true}) {
    for (const bool stall : {false, true}) {
      for (const uint16_t vmid : {1, 2}) {
        Stage2Fields parent = Parent(ats, stall, vmid);
        parent.attribute_overrides = vmid == 1;
        stes.push_back(MakeStage2Ste(parent));
        stes.push_back(MakeNestedSte(parent, kGuest));
        stes.push_back(MakeNestedSte(parent, kGuestBypassDefault));
        parent.force_write_back = true;
        parent.root = PhysAddr{0x6000};
        stes.push_back(MakeStage2Ste(parent));
        stes.push_back(MakeNestedSte(parent, kGuestBypassDefault));
      }
    }
  }
  Ste split = Stage2(false);
  split[1] |= uint64_t{2} << 28;
  stes.push_back(split);
  split = CdTable(DefaultSubstream::kSsid0, false);
  split[1] |= uint64_t{2} << 28;
  stes.push_back(split);
  Ste el2 = CdTable(DefaultSubstream::kSsid0);
  el2[1] |= uint64_t{2} << 30;
  stes.push_back(el2);
  for (const Ste& ste :
       {MakeAbortSte(), MakeBypassSte({true}), CdTable(DefaultSubstream::kSsid0), Stage2(true)}) {
    stes.push_back(WithPageResponsePasid(ste));
  }
  Ste big_endian = Stage2(true);
  big_endian[2] |= kSteS2BigEndian;
  stes.push_back(big_endian);
  return stes;
}

TEST(SmmuSteTest, SetsOnlyBitsThatTheEntryUses) {
  for (const Ste& ste : ManyStes()) {
    const Ste used = SteArchitecture::UsedBits(ste);
    for (size_t i = 0; i < ste.size(); ++i) EXPECT_EQ(ste[i] & ~used[i], 0u) << i;
  }
}

TEST(SmmuSteTest, NothingButOldAndNewAndBlockedIsEverSeen) {
  const std::vector<Ste> stes = ManyStes();
  const size_t hitless = CheckEveryWay<SteArchitecture>(stes, IsValid);
  EXPECT_GT(hitless, stes.size() * stes.size() / 6);
  EXPECT_LT(hitless, stes.size() * stes.size());
}

// On the way the hardware never holds full ATS and stalls together, which is illegal, unless one of
// the ends does.
TEST(SmmuSteTest, NoMixtureStallsAndTranslatesForAts) {
  const auto illegal = [](const Ste& ste) {
    return IsValid(ste) && HasStage2(ConfigOf(ste)) && (ste[2] & kSteS2Stall) != 0 &&
           AtsTreatmentOf(ste) != AtsTreatment::kAbort;
  };
  for (const Ste& from : ManyStes()) {
    for (const Ste& to : ManyStes()) {
      if (illegal(from) || illegal(to)) continue;
      for (const Ste& state : PlannedWay<SteArchitecture>(from, to).states) {
        EXPECT_FALSE(illegal(state)) << DescribeSte(state);
      }
    }
  }
}

TEST(SmmuSteTest, DescribesEntriesInWords) {
  EXPECT_EQ(DescribeSte({}), "not valid");
  EXPECT_EQ(DescribeSte(MakeAbortSte()), "valid, abort");
  EXPECT_EQ(DescribeSte(MakeBypassSte({true})), "valid, bypass");
  EXPECT_EQ(DescribeSte(WithPageResponsePasid(MakeAbortSte())),
            "valid, abort, page responses with PASID");
  EXPECT_EQ(DescribeSte({3}).substr(0, 28), "valid, abort (reserved code)");
  EXPECT_EQ(DescribeSte(CdTable(DefaultSubstream::kSsid0)),
            "valid, stage 1, CD table 0x1000 (linear, 2^0 CDs), without SSID by CD 0, no stalls, "
            "ATS");
  EXPECT_EQ(DescribeSte(MakeCdTableSte({PhysAddr{0x4'0000}, CdTableFormat::kTwoLevel64KiB, 20,
                                        DefaultSubstream::kTerminate})),
            "valid, stage 1, CD table 0x40000 (two levels of 64 KiB, 2^20 CDs), without SSID "
            "aborted");
  EXPECT_EQ(DescribeSte(Stage2(false, true)),
            "valid, stage 2, VMID 7, table 0x5000 (4 KiB, from level 0, 48 to 48 bits), faults "
            "stall");
  Stage2Fields fields = Parent(true);
  fields.granule = Granule::k64KiB;
  fields.start_level = 2;
  fields.input_bits = 42;
  fields.output_bits = 52;
  fields.force_write_back = true;
  EXPECT_EQ(DescribeSte(MakeNestedSte(fields, {0x7000'001b, 0xd5})),
            "valid, stage 1 of a guest on stage 2, CD table 0x70000000 (two levels of 4 KiB, 2^0 "
            "CDs), without SSID not translated by it, VMID 7, table 0x5000 (64 KiB, from level 2, "
            "42 to 52 bits), forced write-back, ATS, events merged");
  EXPECT_EQ(DescribeSte({0x3b, 3 | uint64_t{2} << 28}),
            "valid, stage 1, CD table 0x0 (reserved format, 2^0 CDs), without SSID reserved, "
            "split-stage ATS");
  EXPECT_EQ(DescribeSte({0xd, uint64_t{3} << 28, 3}),
            "valid, stage 2, VMID 3, table 0x0 (4 KiB, from level 2, 64 to 32 bits), faults not "
            "recorded, reserved ATS");
  EXPECT_EQ(DescribeStreamL1Descriptor(MakeStreamL1Descriptor(PhysAddr{0x4000})),
            "valid, 256 entries at 0x4000");
  EXPECT_EQ(DescribeStreamL1Descriptor(0), "not valid");
  EXPECT_EQ(DescribeStreamL1Descriptor(0x4000 | 12), "reserved span 12");
}

}  // namespace
}  // namespace viommu::smmu
