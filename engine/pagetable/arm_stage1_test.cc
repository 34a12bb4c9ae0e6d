#include "engine/pagetable/arm_stage1.h"

#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr PageAccess kRead{true, false}, kWrite{false, true}, kBoth{true, true};

template <typename Format>
Format Make(bool track_dirty = false) {
  typename Format::Options options;
  options.track_dirty = track_dirty;
  return *Format::Create(options);
}

TEST(ArmStage1Test, WritesGoldenWords) {
  const struct {
    uint64_t address;
    int level;
    PageAccess permission;
    MemoryType memory;
    bool track_dirty;
    uint64_t want;
  } kLeaves[] = {
      {0x0000'1234'5000, 0, kBoth, MemoryType::kNormal, false, 0x0000'0000'1234'5f47},
      {0x0000'1234'5000, 0, kRead, MemoryType::kNormal, false, 0x0000'0000'1234'5fc7},
      {0x0000'1234'5000, 0, kWrite, MemoryType::kNormal, false, 0x0000'0000'1234'5f47},
      {0x0000'1234'5000, 0, kBoth, MemoryType::kNormal, true, 0x0008'0000'1234'5fc7},
      {0x0000'1234'5000, 0, kRead, MemoryType::kNormal, true, 0x0000'0000'1234'5fc7},
      {0x0000'1234'5000, 0, kBoth, MemoryType::kDevice, false, 0x0000'0000'1234'5e4b},
      {0x0000'4020'0000, 1, kBoth, MemoryType::kNormal, false, 0x0000'0000'4020'0f45},
      {0x001f'c000'0000, 2, kRead, MemoryType::kDevice, false, 0x0000'001f'c000'0ec9},
      {0xffff'ffff'f000, 0, kBoth, MemoryType::kNormal, true, 0x0008'ffff'ffff'ffc7},
  };
  for (const auto& c : kLeaves) {
    const auto format = Make<ArmStage1<kGranule4K>>(c.track_dirty);
    EXPECT_EQ(format.LeafEntry(PhysAddr{c.address}, c.level, c.permission, c.memory), c.want);
  }
  EXPECT_EQ(Make<ArmStage1<kGranule4K>>(true).TableEntry(PhysAddr{0xabc000}), 0xabc003u);
  const auto of16k = Make<ArmStage1<kGranule16K>>();
  EXPECT_EQ(of16k.LeafEntry(PhysAddr{0x1234'4000}, 0, kBoth), 0x1234'4f47u);
  EXPECT_EQ(of16k.LeafEntry(PhysAddr{0x4200'0000}, 1, kRead), 0x4200'0fc5u);
  const auto of64k = Make<ArmStage1<kGranule64K>>();
  EXPECT_EQ(of64k.LeafEntry(PhysAddr{0x1234'0000}, 0, kBoth), 0x1234'0f47u);
  EXPECT_EQ(of64k.LeafEntry(PhysAddr{0x6000'0000}, 1, kRead), 0x6000'0fc5u);
}

template <typename Format>
class ArmStage1CodingTest : public ::testing::Test {};
using Formats =
    ::testing::Types<ArmStage1<kGranule4K>, ArmStage1<kGranule16K>, ArmStage1<kGranule64K>>;
TYPED_TEST_SUITE(ArmStage1CodingTest, Formats);

TYPED_TEST(ArmStage1CodingTest, DecodesWhatItEncodes) {
  for (const bool track_dirty : {false, true}) {
    const TypeParam format = Make<TypeParam>(track_dirty);
    for (int level = 0; level <= 1; ++level) {
      for (const MemoryType memory : {MemoryType::kNormal, MemoryType::kDevice}) {
        for (const PageAccess p : {kRead, kBoth}) {
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

TYPED_TEST(ArmStage1CodingTest, MayBeWrittenWhetherCleanOrDirty) {
  const uint64_t clean = Make<TypeParam>(true).LeafEntry(PhysAddr{0x10000}, 0, kBoth);
  const uint64_t dirty = clean & ~lpae::kReadOnly;  // As hardware leaves it.
  EXPECT_EQ(TypeParam::PermissionOf(clean), kBoth);
  EXPECT_EQ(TypeParam::PermissionOf(dirty), kBoth);
  EXPECT_EQ(TypeParam::LeafAddress(dirty, 0), PhysAddr{0x10000});
}

TYPED_TEST(ArmStage1CodingTest, TellsWhatAContextDescriptorSays) {
  typename TypeParam::Options options;
  options.input_bits = 39;
  options.output_bits = 44;
  const TypeParam format = *TypeParam::Create(options);
  EXPECT_EQ(format.input_bits(), 39);
  EXPECT_EQ(format.output_bits(), 44);
  EXPECT_EQ(format.t0sz(), 25);
  EXPECT_EQ(format.output_size_code(), 4);
  constexpr bool k64K = TypeParam::kPageShift == 16;
  EXPECT_EQ(format.granule_code(), k64K ? 1 : TypeParam::kPageShift == 14 ? 2 : 0);
  EXPECT_EQ(format.start_level(), k64K ? 2 : 1);
  EXPECT_EQ(format.top_level(), k64K ? 1 : 2);
  EXPECT_EQ(TypeParam::root_tables_log2(), 0);
}

TEST(ArmStage1Test, RefusesWhatTheArchitectureLacks) {
  ArmStage1<kGranule16K>::Options options;
  options.page_sizes = 0x1000;
  const auto sizes = ArmStage1<kGranule16K>::Create(options);
  EXPECT_EQ(sizes.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DetailOf(sizes.status())->reason, "UNSUPPORTED_PAGE_SIZES");
  options = {};
  options.input_bits = 52;
  const auto width = ArmStage1<kGranule16K>::Create(options);
  EXPECT_EQ(width.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DetailOf(width.status())->reason, "UNSUPPORTED_ADDRESS_WIDTH");
}

// The indices that leaves use must mean in the MAIR what they stand for.
TEST(ArmStage1Test, HasTheAttributesOfItsMair) {
  EXPECT_EQ(lpae::kMair >> 8 * lpae::kWriteBackIndex & 0xff, 0xffu);
  EXPECT_EQ(lpae::kMair >> 8 * lpae::kDeviceIndex & 0xff, 0x04u);
}

}  // namespace
}  // namespace viommu
