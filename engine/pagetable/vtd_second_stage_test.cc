#include "engine/pagetable/vtd_second_stage.h"

#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

VtdSecondStage Make(bool force_snoop = false) {
  VtdSecondStage::Options options;
  options.force_snoop = force_snoop;
  return *VtdSecondStage::Create(options);
}

TEST(VtdSecondStageTest, WritesGoldenWords) {
  const struct {
    uint64_t address;
    int level;
    PageAccess permission;
    bool force_snoop;
    uint64_t want;
  } kLeaves[] = {
      {0x0000000012345000, 0, {true, true}, false, 0x0000000012345003},
      {0x0000000012345000, 0, {true, false}, false, 0x0000000012345001},
      {0x0000000012345000, 0, {false, true}, false, 0x0000000012345002},
      {0x0000000012345000, 0, {true, true}, true, 0x0000000012345803},
      {0x0000000040200000, 1, {true, true}, false, 0x0000000040200083},
      {0x0000001fc0000000, 2, {true, false}, true, 0x0000001fc0000881},
      {0x000ffffffffff000, 0, {true, true}, true, 0x000ffffffffff803},
  };
  for (const auto& c : kLeaves) {
    const VtdSecondStage format = Make(c.force_snoop);
    EXPECT_EQ(format.LeafEntry(PhysAddr{c.address}, c.level, c.permission), c.want);
  }
  // SNP is for leaves; tables permit everything.
  EXPECT_EQ(Make(true).TableEntry(PhysAddr{0xabc000}), 0xabc003u);
}

TEST(VtdSecondStageTest, DecodesWhatItEncodes) {
  const VtdSecondStage format = Make(true);
  for (int level = 0; level <= 2; ++level) {
    for (const PageAccess p : {PageAccess{true, false}, {false, true}, {true, true}}) {
      const PhysAddr address{0x000fffffc0000000};
      const uint64_t leaf = format.LeafEntry(address, level, p);
      EXPECT_TRUE(VtdSecondStage::IsPresent(leaf));
      EXPECT_TRUE(VtdSecondStage::IsLeaf(leaf, level));
      EXPECT_EQ(VtdSecondStage::LeafAddress(leaf, level), address);
      EXPECT_EQ(VtdSecondStage::PermissionOf(leaf), p);
    }
  }
  const uint64_t table = format.TableEntry(PhysAddr{0x000ffffffffff000});
  EXPECT_TRUE(VtdSecondStage::IsPresent(table));
  EXPECT_FALSE(VtdSecondStage::IsLeaf(table, 1));
  EXPECT_EQ(VtdSecondStage::TableAddress(table), PhysAddr{0x000ffffffffff000});
  EXPECT_FALSE(VtdSecondStage::IsPresent(0));
}

TEST(VtdSecondStageTest, ReadsPastTheBitsThatHardwareSets) {
  const uint64_t set_by_hardware = VtdSecondStage::kAccessed | VtdSecondStage::kDirty;
  const uint64_t leaf = Make().LeafEntry(PhysAddr{2 << 20}, 1, {true, true}) | set_by_hardware;
  EXPECT_EQ(VtdSecondStage::LeafAddress(leaf, 1), PhysAddr{2 << 20});
  EXPECT_EQ(VtdSecondStage::PermissionOf(leaf), (PageAccess{true, true}));
}

TEST(VtdSecondStageTest, KnowsItsWidths) {
  const struct { int levels, input_bits; } kCases[] = {{3, 39}, {4, 48}, {5, 57}};
  for (const auto& c : kCases) {
    VtdSecondStage::Options options;
    options.levels = c.levels;
    options.host_address_bits = 46;
    const VtdSecondStage format = *VtdSecondStage::Create(options);
    EXPECT_EQ(format.input_bits(), c.input_bits);
    EXPECT_EQ(format.output_bits(), 46);
    EXPECT_EQ(format.top_level(), c.levels - 1);
  }
}

TEST(VtdSecondStageTest, RefusesWhatTheArchitectureLacks) {
  const struct {
    const char* name;
    VtdSecondStage::Options options;
    const char* reason;
  } kCases[] = {
      {"two levels", {2, 0x1000, 52, false}, "UNSUPPORTED_LEVELS"},
      {"six levels", {6, 0x1000, 52, false}, "UNSUPPORTED_LEVELS"},
      {"no page size", {4, 0, 52, false}, "UNSUPPORTED_PAGE_SIZES"},
      {"no 4 KiB", {4, 0x200000, 52, false}, "UNSUPPORTED_PAGE_SIZES"},
      {"64 KiB", {4, 0x11000, 52, false}, "UNSUPPORTED_PAGE_SIZES"},
      {"narrow", {4, 0x1000, 31, false}, "UNSUPPORTED_ADDRESS_WIDTH"},
      {"wide", {4, 0x1000, 53, false}, "UNSUPPORTED_ADDRESS_WIDTH"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const auto format = VtdSecondStage::Create(c.options);
    EXPECT_EQ(format.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(DetailOf(format.status())->reason, c.reason);
  }
}

}  // namespace
}  // namespace viommu
