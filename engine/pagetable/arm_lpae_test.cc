#include "engine/pagetable/arm_lpae.h"

#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace lpae {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

TEST(ArmLpaeTest, KnowsTheLeavesOfEachGranule) {
  EXPECT_EQ(PageSizes(kGranule4K), 0x1000 | 2 * kMiB | 1024 * kMiB);
  EXPECT_EQ(PageSizes(kGranule16K), 0x4000 | 32 * kMiB);
  EXPECT_EQ(PageSizes(kGranule64K), 0x10000 | 512 * kMiB);
}

// DDI 0487, tables "IA bits resolved at each lookup level" of D8.2.
TEST(ArmLpaeTest, TakesAsManyLevelsAsTheInputNeeds) {
  const struct {
    int granule_log2, input_bits, levels;
  } kCases[] = {
      {12, 32, 3}, {12, 39, 3}, {12, 40, 4}, {12, 48, 4}, {14, 32, 2}, {14, 36, 2}, {14, 37, 3},
      {14, 47, 3}, {14, 48, 4}, {16, 32, 2}, {16, 42, 2}, {16, 43, 3}, {16, 48, 3},
  };
  for (const auto& c : kCases) {
    const Root root = PlainRoot(c.granule_log2, c.input_bits);
    EXPECT_EQ(root.levels, c.levels) << c.granule_log2 << ", " << c.input_bits;
    EXPECT_EQ(root.tables_log2, 0);
  }
}

TEST(ArmLpaeTest, PutsUpToSixteenTablesSideBySideWhereThatLosesNoLeaf) {
  const struct {
    const char* name;
    int granule_log2, input_bits, levels, tables_log2;
  } kCases[] = {
      {"4 KiB, the root has 1 GiB leaves", 12, 34, 3, 0},
      {"4 KiB, one wide table", 12, 39, 3, 0},
      {"4 KiB, 2 tables", 12, 40, 3, 1},
      {"4 KiB, 8 tables", 12, 42, 3, 3},
      {"4 KiB, 16 tables", 12, 43, 3, 4},
      {"4 KiB, 32 would be too many", 12, 44, 4, 0},
      {"4 KiB, all", 12, 48, 4, 0},
      {"16 KiB, the root has 32 MiB leaves", 14, 32, 2, 0},
      {"16 KiB, one wide table", 14, 36, 2, 0},
      {"16 KiB, 2 tables", 14, 37, 2, 1},
      {"16 KiB, 16 tables", 14, 40, 2, 4},
      {"16 KiB, 32 would be too many", 14, 41, 3, 0},
      {"16 KiB, all: two tables are the only way", 14, 48, 3, 1},
      {"64 KiB, the root has 512 MiB leaves", 16, 32, 2, 0},
      {"64 KiB, 2 tables", 16, 43, 2, 1},
      {"64 KiB, 16 tables", 16, 46, 2, 4},
      {"64 KiB, all", 16, 48, 3, 0},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const Root root = ConcatenatedRoot(c.granule_log2, c.input_bits);
    EXPECT_EQ(root.levels, c.levels);
    EXPECT_EQ(root.tables_log2, c.tables_log2);
  }
}

TEST(ArmLpaeTest, HasAnIndexForEveryInputBit) {
  for (const int granule : {kGranule4K, kGranule16K, kGranule64K}) {
    for (int bits = 32; bits <= 48; ++bits) {
      for (const Root& root : {PlainRoot(granule, bits), ConcatenatedRoot(granule, bits)}) {
        const int held = granule + root.levels * (granule - 3) + root.tables_log2;
        EXPECT_GE(held, bits) << granule << ", " << bits;
        EXPECT_LT(held - (granule - 3), bits) << "a level too many: " << granule << ", " << bits;
        EXPECT_TRUE(root.tables_log2 == 0 || held == bits) << "a table too many";
      }
    }
  }
}

// IHI 0070, CD.TG0 and CD.IPS; STE.S2TG and STE.S2PS are coded alike.
TEST(ArmLpaeTest, CodesGranulesAndSizes) {
  EXPECT_EQ(GranuleCode(kGranule4K), 0);
  EXPECT_EQ(GranuleCode(kGranule64K), 1);
  EXPECT_EQ(GranuleCode(kGranule16K), 2);
  const struct {
    int bits, code;
  } kCases[] = {{32, 0}, {33, 1}, {36, 1}, {40, 2}, {42, 3}, {44, 4}, {46, 5}, {48, 5}};
  for (const auto& c : kCases) EXPECT_EQ(AddressSizeCode(c.bits), c.code) << c.bits;
}

TEST(ArmLpaeTest, RefusesWhatTheArchitectureLacks) {
  const struct {
    const char* name;
    int granule_log2, input_bits, output_bits;
    uint64_t page_sizes;
    const char* reason;
  } kCases[] = {
      {"no size", 12, 48, 48, 0, "UNSUPPORTED_PAGE_SIZES"},
      {"no granule", 14, 48, 48, 0x2000000, "UNSUPPORTED_PAGE_SIZES"},
      {"of another granule", 16, 48, 48, 0x11000, "UNSUPPORTED_PAGE_SIZES"},
      {"1 GiB of 16 KiB", 14, 48, 48, 0x40004000, "UNSUPPORTED_PAGE_SIZES"},
      {"narrow input", 12, 31, 48, 0x1000, "UNSUPPORTED_ADDRESS_WIDTH"},
      {"wide input", 16, 49, 48, 0x10000, "UNSUPPORTED_ADDRESS_WIDTH"},
      {"narrow output", 12, 48, 31, 0x1000, "UNSUPPORTED_ADDRESS_WIDTH"},
      {"wide output", 16, 48, 52, 0x10000, "UNSUPPORTED_ADDRESS_WIDTH"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const absl::Status status = Check(c.granule_log2, c.input_bits, c.output_bits, c.page_sizes);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    ASSERT_TRUE(DetailOf(status).has_value());
    EXPECT_EQ(DetailOf(status)->reason, c.reason);
  }
  EXPECT_TRUE(Check(kGranule16K, 32, 48, 0x4000).ok());
}

}  // namespace
}  // namespace lpae
}  // namespace viommu
