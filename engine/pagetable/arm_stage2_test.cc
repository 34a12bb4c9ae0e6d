#include "engine/pagetable/arm_stage2.h"

#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr PageAccess kRead{true, false}, kWrite{false, true}, kBoth{true, true};

template <typename Format>
Format Make(bool force_write_back = false) {
  typename Format::Options options;
  options.force_write_back = force_write_back;
  return *Format::Create(options);
}

TEST(ArmStage2Test, WritesGoldenWords) {
  const struct {
    uint64_t address;
    int level;
    PageAccess permission;
    MemoryType memory;
    bool force_write_back;
    uint64_t want;
  } kLeaves[] = {
      {0x0000'1234'5000, 0, kBoth, MemoryType::kNormal, false, 0x0000'1234'57ff},
      {0x0000'1234'5000, 0, kRead, MemoryType::kNormal, false, 0x0000'1234'577f},
      {0x0000'1234'5000, 0, kWrite, MemoryType::kNormal, false, 0x0000'1234'57bf},
      {0x0000'1234'5000, 0, kBoth, MemoryType::kNormal, true, 0x0000'1234'57db},
      {0x0000'1234'5000, 0, kBoth, MemoryType::kDevice, false, 0x0000'1234'56c7},
      {0x0000'1234'5000, 0, kBoth, MemoryType::kDevice, true, 0x0000'1234'56c7},
      {0x0000'4020'0000, 1, kBoth, MemoryType::kNormal, false, 0x0000'4020'07fd},
      {0x001f'c000'0000, 2, kRead, MemoryType::kNormal, true, 0x001f'c000'0759},
      {0xffff'ffff'f000, 0, kBoth, MemoryType::kNormal, false, 0xffff'ffff'f7ff},
  };
  for (const auto& c : kLeaves) {
    const auto format = Make<ArmStage2<kGranule4K>>(c.force_write_back);
    EXPECT_EQ(format.LeafEntry(PhysAddr{c.address}, c.level, c.permission, c.memory), c.want);
  }
  EXPECT_EQ(Make<ArmStage2<kGranule4K>>(true).TableEntry(PhysAddr{0xabc000}), 0xabc003u);
  const auto of16k = Make<ArmStage2<kGranule16K>>();
  EXPECT_EQ(of16k.LeafEntry(PhysAddr{0x1234'4000}, 0, kBoth), 0x1234'47ffu);
  EXPECT_EQ(of16k.LeafEntry(PhysAddr{0x4200'0000}, 1, kRead), 0x4200'077du);
  const auto of64k = Make<ArmStage2<kGranule64K>>();
  EXPECT_EQ(of64k.LeafEntry(PhysAddr{0x1234'0000}, 0, kBoth), 0x1234'07ffu);
  EXPECT_EQ(of64k.LeafEntry(PhysAddr{0x6000'0000}, 1, kWrite), 0x6000'07bdu);
}

template <typename Format>
class ArmStage2CodingTest : public ::testing::Test {};
using Formats =
    ::testing::Types<ArmStage2<kGranule4K>, ArmStage2<kGranule16K>, ArmStage2<kGranule64K>>;
TYPED_TEST_SUITE(ArmStage2CodingTest, Formats);

TYPED_TEST(ArmStage2CodingTest, DecodesWhatItEncodes) {
  for (const bool force_write_back : {false, true}) {
    const TypeParam format = Make<TypeParam>(force_write_back);
    for (int level = 0; level <= 1; ++level) {
      for (const MemoryType memory : {MemoryType::kNormal, MemoryType::kDevice}) {
        for (const PageAccess p : {kRead, kWrite, kBoth}) {
          const PhysAddr address{0xffff'e000'0000};
          const uint64_t leaf = format.LeafEntry(address, level, p, memory);
          EXPECT_TRUE(TypeParam::IsPresent(leaf));
          EXPECT_TRUE(TypeParam::IsLeaf(leaf, level));
          EXPECT_EQ(TypeParam::LeafAddress(leaf, level), address);
          EXPECT_EQ(TypeParam::PermissionOf(leaf), p);
        }
      }
    }
    const PhysAddr below{0xffff'ffff'0000};
    const uint64_t table = format.TableEntry(below);
    EXPECT_TRUE(TypeParam::IsPresent(table));
    EXPECT_FALSE(TypeParam::IsLeaf(table, 1));
    EXPECT_EQ(TypeParam::TableAddress(table), below);
  }
  EXPECT_FALSE(TypeParam::IsPresent(0));
}

template <int kGranuleLog2>
void CheckShape(int input_bits, int start_level, int sl0, uint64_t root_bytes) {
  SCOPED_TRACE(input_bits);
  typename ArmStage2<kGranuleLog2>::Options options;
  options.input_bits = input_bits;
  const auto format = *ArmStage2<kGranuleLog2>::Create(options);
  EXPECT_EQ(format.t0sz(), 64 - input_bits);
  EXPECT_EQ(format.start_level(), start_level);
  EXPECT_EQ(format.sl0(), sl0);
  EXPECT_EQ(format.root_bytes(), root_bytes);
  EXPECT_EQ(format.output_size_code(), 5);
}

// IHI 0070, STE.S2SL0: 4 KiB 0 is level 2, 1 level 1, 2 level 0; 16 and 64 KiB 0 is level 3, 1
// level 2, 2 level 1.
TEST(ArmStage2Test, TellsWhatAStreamTableEntrySays) {
  CheckShape<kGranule4K>(39, 1, 1, 0x1000);
  CheckShape<kGranule4K>(40, 1, 1, 0x2000);
  CheckShape<kGranule4K>(43, 1, 1, 0x10000);
  CheckShape<kGranule4K>(48, 0, 2, 0x1000);
  CheckShape<kGranule16K>(36, 2, 1, 0x4000);
  CheckShape<kGranule16K>(40, 2, 1, 0x40000);
  CheckShape<kGranule16K>(48, 1, 2, 0x8000);
  CheckShape<kGranule64K>(42, 2, 1, 0x10000);
  CheckShape<kGranule64K>(46, 2, 1, 0x100000);
  CheckShape<kGranule64K>(48, 1, 2, 0x10000);
}

TEST(ArmStage2Test, RefusesWhatTheArchitectureLacks) {
  const struct {
    const char* name;
    ArmStage2<kGranule64K>::Options options;
    const char* reason;
  } kCases[] = {
      {"4 KiB", {48, 48, 0x1000, false}, "UNSUPPORTED_PAGE_SIZES"},
      {"wide", {48, 52, 0x10000, false}, "UNSUPPORTED_ADDRESS_WIDTH"},
      {"input wider than output", {44, 42, 0x10000, false}, "UNSUPPORTED_ADDRESS_WIDTH"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const auto format = ArmStage2<kGranule64K>::Create(c.options);
    EXPECT_EQ(format.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(DetailOf(format.status())->reason, c.reason);
  }
}

}  // namespace
}  // namespace viommu
