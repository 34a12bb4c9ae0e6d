#include "engine/entries/smmu_commands.h"

#include "engine/base/address.h"
#include "gtest/gtest.h"

namespace viommu::smmu {
namespace {

TEST(SmmuCommandsTest, WritesTheGoldenWordsAndKnowsTheName) {
  const TlbTag tag = {0x1234, 0xabcd};
  TlbiAddress range;
  range.address = 0x7fff'ffe0'0000;
  range.leaf_only = true;
  range.num = 30;
  range.scale = 5;
  range.tg = 1;
  range.ttl = 3;
  TlbiAddress wide;
  wide.num = 31;
  wide.scale = 63;
  wide.tg = 3;
  wide.ttl = 2;
  TlbiAddress page;
  page.address = 0x5000;
  const struct {
    const char* name;
    Command command, want;
    const char* kind;
  } kCases[] = {
      {"prefetch", PrefetchConfig(0x8001), {0x8001'0000'0001, 0}, "prefetch_config"},
      {"STE, leaf", InvalidateSte(0x8001, true), {0x8001'0000'0003, 1}, "cfgi_ste"},
      {"STE and tables", InvalidateSte(0xffff'ffff, false), {0xffff'ffff'0000'0003, 0}, "cfgi_ste"},
      {"all STEs", InvalidateAllStes(), {0x04, 31}, "cfgi_all"},
      {"CD, leaf", InvalidateCd(3, 0xfffff, true), {0x3'ffff'f005, 1}, "cfgi_cd"},
      {"CD and table", InvalidateCd(3, 1, false), {0x3'0000'1005, 0}, "cfgi_cd"},
      {"all CDs", InvalidateAllCds(3), {0x3'0000'0006, 0}, "cfgi_cd_all"},
      {"stage 1 of a VMID", InvalidateStage1(0x1234), {0x1234'0000'0010, 0}, "tlbi_nh_all"},
      {"ASID", InvalidateAsid(tag), {0xabcd'1234'0000'0011, 0}, "tlbi_nh_asid"},
      {"VA", InvalidateVa(tag, page), {0xabcd'1234'0000'0012, 0x5000}, "tlbi_nh_va"},
      {"VA, range",
       InvalidateVa(tag, range),
       {0xabcd'1234'0051'e012, 0x7fff'ffe0'0701},
       "tlbi_nh_va"},
      {"VA, widest range", InvalidateVa({0, 1}, wide), {0x1'0000'03f1'f012, 0xe00}, "tlbi_nh_va"},
      {"VA, any ASID",
       InvalidateVaAnyAsid(0x1234, range),
       {0x1234'0051'e013, 0x7fff'ffe0'0701},
       "tlbi_nh_vaa"},
      {"both stages", InvalidateVmid(0x1234), {0x1234'0000'0028, 0}, "tlbi_s12_vmall"},
      {"IPA", InvalidateIpa(0x1234, page), {0x1234'0000'002a, 0x5000}, "tlbi_s2_ipa"},
      {"all TLBs", InvalidateAllTlbs(), {0x30, 0}, "tlbi_nsnh_all"},
      {"ATC", InvalidateAtc(0x8001, {0x20'0000, 9}), {0x8001'0000'0040, 0x20'0009}, "atc_inv"},
      {"ATC, all", InvalidateAtc(0x8001, {0, 52}), {0x8001'0000'0040, 52}, "atc_inv"},
      {"ATC of SSID",
       InvalidateAtcOfSsid(0x8001, 0x12345, {0x3000, 0}),
       {0x8001'1234'5840, 0x3000},
       "atc_inv"},
      {"PRI response",
       RespondToPageRequests({0x8001, 0x12345, 0x1ff}, PriAnswer::kSuccess),
       {0x8001'1234'5841, 0x21ff},
       "pri_resp"},
      {"PRI response without SSID",
       RespondToPageRequests({0x8001, absl::nullopt, 1}, PriAnswer::kInvalidRequest),
       {0x8001'0000'0041, 0x1001},
       "pri_resp"},
      {"PRI denied",
       RespondToPageRequests({1, absl::nullopt, 1}, PriAnswer::kResponseFailure),
       {0x1'0000'0041, 1},
       "pri_resp"},
      {"resume: retry",
       Resume(0x8001, 0xbeef, ResumeAction::kRetry),
       {0x8001'0000'1044, 0xbeef},
       "resume"},
      {"resume: abort", Resume(0x8001, 1, ResumeAction::kAbort), {0x8001'0000'2044, 1}, "resume"},
      {"resume: terminate",
       Resume(0x8001, 1, ResumeAction::kTerminate),
       {0x8001'0000'0044, 1},
       "resume"},
      {"sync", Sync(), {0x46, 0}, "sync"},
      {"sync with MSI",
       SyncWithMsi(PhysAddr{0x1'0000'2004}, 0xdeadbeef),
       {0xdeadbeef'0fc0'1046, 0x1'0000'2004},
       "sync"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(c.command, c.want);
    EXPECT_EQ(NameOf(OpcodeOf(c.command)), c.kind);
  }
  EXPECT_EQ(NameOf(Opcode(0xff)), "unknown");
}

TEST(SmmuCommandsTest, KeepsWhatDoesNotFitOffTheNeighbours) {
  TlbiAddress where;
  where.address = 0x5fff;
  where.num = 0xff;
  where.tg = 0xff;
  EXPECT_EQ(InvalidateVa({1, 1}, where), (Command{0x1'0001'0001'f012, 0x5c00}));
  EXPECT_EQ(RespondToPageRequests({1, absl::nullopt, 0xffff}, PriAnswer::kResponseFailure),
            (Command{0x1'0000'0041, 0x1ff}));
}

TEST(SmmuCommandsTest, CoversARangeWithTheSmallestAlignedBlock) {
  const struct {
    const char* name;
    IovaRange range;
    Iova first;
    int pages_log2;
  } kCases[] = {
      {"pages [8, 11]", {0x8000, 0xbfff}, 0x8000, 2},
      {"pages [7, 10], as the kernel's example", {0x7000, 0xafff}, 0, 4},
      {"one byte", {0x1234, 0x1234}, 0x1000, 0},
      {"two pages across a boundary", {0x1000, 0x2fff}, 0, 2},
      {"two pages across 2 MiB", {0x1f'f000, 0x20'0fff}, 0, 10},
      {"1 GiB", {0x4000'0000, 0x7fff'ffff}, 0x4000'0000, 18},
      {"the last page", {kMaxAddress - 0xfff, kMaxAddress}, kMaxAddress - 0xfff, 0},
      {"the upper half", {uint64_t{1} << 63, kMaxAddress}, uint64_t{1} << 63, 51},
      {"everything", {0, kMaxAddress}, 0, kAtcWholeSpaceLog2},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const AtcBlock block = CoveringAtcBlock(c.range);
    EXPECT_EQ(block.first, c.first);
    EXPECT_EQ(block.pages_log2, c.pages_log2);
  }
}

}  // namespace
}  // namespace viommu::smmu
