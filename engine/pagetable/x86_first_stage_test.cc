#include "engine/pagetable/x86_first_stage.h"

#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

X86FirstStage Make() { return *X86FirstStage::Create({}); }

TEST(X86FirstStageTest, WritesGoldenWords) {
  const struct {
    uint64_t address;
    int level;
    PageAccess permission;
    uint64_t want;
  } kLeaves[] = {
      {0x0000000012345000, 0, {true, true}, 0x0000000012345067},
      {0x0000000012345000, 0, {true, false}, 0x0000000012345025},
      {0x0000000012345000, 0, {false, true}, 0x0000000012345067},
      {0x0000000040200000, 1, {true, true}, 0x00000000402000e7},
      {0x0000001fc0000000, 2, {true, false}, 0x0000001fc00000a5},
      {0x000ffffffffff000, 0, {true, true}, 0x000ffffffffff067},
  };
  for (const auto& c : kLeaves) {
    EXPECT_EQ(Make().LeafEntry(PhysAddr{c.address}, c.level, c.permission), c.want);
  }
  EXPECT_EQ(Make().TableEntry(PhysAddr{0xabc000}), 0xabc027u);
}

TEST(X86FirstStageTest, DecodesWhatItEncodes) {
  const X86FirstStage format = Make();
  for (int level = 0; level <= 2; ++level) {
    for (const PageAccess p : {PageAccess{true, false}, {false, true}, {true, true}}) {
      const PhysAddr address{0x000fffffc0000000};
      const uint64_t leaf = format.LeafEntry(address, level, p);
      EXPECT_TRUE(X86FirstStage::IsPresent(leaf));
      EXPECT_TRUE(X86FirstStage::IsLeaf(leaf, level));
      EXPECT_EQ(X86FirstStage::LeafAddress(leaf, level), address);
      EXPECT_EQ(X86FirstStage::PermissionOf(leaf), (PageAccess{true, p.write}));
    }
  }
  const uint64_t table = format.TableEntry(PhysAddr{0x000ffffffffff000});
  EXPECT_TRUE(X86FirstStage::IsPresent(table));
  EXPECT_FALSE(X86FirstStage::IsLeaf(table, 1));
  EXPECT_EQ(X86FirstStage::TableAddress(table), PhysAddr{0x000ffffffffff000});
  EXPECT_FALSE(X86FirstStage::IsPresent(0));
  EXPECT_FALSE(X86FirstStage::IsPresent(~X86FirstStage::kPresent));
}

TEST(X86FirstStageTest, ReadsPastTheBitsThatAreNotItsOwn) {
  // XD, PAT of a large leaf, the bits left to software, global.
  const uint64_t foreign = uint64_t{1} << 63 | uint64_t{0x7ff} << 52 | 1 << 12 | 0xf << 8;
  const uint64_t leaf = Make().LeafEntry(PhysAddr{2 << 20}, 1, {true, false}) | foreign;
  EXPECT_EQ(X86FirstStage::LeafAddress(leaf, 1), PhysAddr{2 << 20});
  EXPECT_EQ(X86FirstStage::PermissionOf(leaf), (PageAccess{true, false}));
}

TEST(X86FirstStageTest, KnowsItsWidths) {
  const struct { int levels, input_bits; } kCases[] = {{4, 47}, {5, 56}};
  for (const auto& c : kCases) {
    X86FirstStage::Options options;
    options.levels = c.levels;
    options.host_address_bits = 46;
    const X86FirstStage format = *X86FirstStage::Create(options);
    EXPECT_EQ(format.input_bits(), c.input_bits);
    EXPECT_EQ(format.output_bits(), 46);
    EXPECT_EQ(format.top_level(), c.levels - 1);
  }
}

TEST(X86FirstStageTest, RefusesWhatTheArchitectureLacks) {
  const struct {
    const char* name;
    X86FirstStage::Options options;
    const char* reason;
  } kCases[] = {
      {"three levels", {3, 0x1000, 52}, "UNSUPPORTED_LEVELS"},
      {"six levels", {6, 0x1000, 52}, "UNSUPPORTED_LEVELS"},
      {"no page size", {4, 0, 52}, "UNSUPPORTED_PAGE_SIZES"},
      {"no 4 KiB", {4, 0x200000, 52}, "UNSUPPORTED_PAGE_SIZES"},
      {"64 KiB", {4, 0x11000, 52}, "UNSUPPORTED_PAGE_SIZES"},
      {"narrow", {4, 0x1000, 31}, "UNSUPPORTED_ADDRESS_WIDTH"},
      {"wide", {4, 0x1000, 53}, "UNSUPPORTED_ADDRESS_WIDTH"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const auto format = X86FirstStage::Create(c.options);
    EXPECT_EQ(format.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(DetailOf(format.status())->reason, c.reason);
  }
}

}  // namespace
}  // namespace viommu
