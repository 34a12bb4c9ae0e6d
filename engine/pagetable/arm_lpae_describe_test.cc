#include "engine/pagetable/arm_lpae_describe.h"

#include "engine/pagetable/arm_stage1.h"
#include "engine/pagetable/arm_stage2.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

TEST(ArmLpaeDescribeTest, TellsStage1Entries) {
  const struct {
    uint64_t entry;
    int level, granule_log2;
    const char* want;
  } kCases[] = {
      {0, 3, 12, "not present"},
      {0x1234'5f46, 3, 12, "not present"},
      {0x1234'5f45, 3, 12, "reserved: not present"},
      {0x1234'5f45, 0, 12, "reserved: not present"},
      {0x1234'5f45, 1, 16, "reserved: not present"},
      {0x8003, 0, 12, "table 0x8000"},
      {0x6000'0000'0000'c003, 1, 14, "table 0xc000, no writes, privileged only"},
      {0x1234'5f47, 3, 12, "page 0x12345000, RW, 4 KiB, write-back, inner shareable"},
      {0x1234'5fc7, 3, 12, "page 0x12345000, R-, 4 KiB, write-back, inner shareable"},
      {0x0008'0000'1234'5fc7, 3, 12,
       "page 0x12345000, RW, 4 KiB, write-back, inner shareable, clean"},
      {0x0008'0000'1234'5f47, 3, 12,
       "page 0x12345000, RW, 4 KiB, write-back, inner shareable, dirty"},
      {0x1234'5e4b, 3, 12, "page 0x12345000, RW, 4 KiB, device, outer shareable"},
      {0x4000'0f45, 1, 12, "block 0x40000000, RW, 1 GiB, write-back, inner shareable"},
      {0x4200'0f45, 2, 14, "block 0x42000000, RW, 32 MiB, write-back, inner shareable"},
      {0x6000'0f45, 2, 16, "block 0x60000000, RW, 512 MiB, write-back, inner shareable"},
      {0x1234'0f47, 3, 16, "page 0x12340000, RW, 64 KiB, write-back, inner shareable"},
      {0x0060'0000'1234'0f57, 3, 16,
       "page 0x12340000, RW, 64 KiB, memory attribute 5, inner shareable, no execution"},
      {0x1234'0303, 3, 16,
       "page 0x12340000, RW, 64 KiB, non-cacheable, inner shareable, privileged only, global, "
       "not accessed: faults"},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(DescribeArmStage1Entry(c.entry, c.level, c.granule_log2), c.want);
  }
}

TEST(ArmLpaeDescribeTest, TellsStage2Entries) {
  const struct {
    uint64_t entry;
    int level, granule_log2;
    bool force_write_back;
    const char* want;
  } kCases[] = {
      {0, 1, 12, false, "not present"},
      {0x1234'57fd, 3, 12, false, "reserved: not present"},
      {0x10003, 1, 16, false, "table 0x10000"},
      {0x1234'57ff, 3, 12, false, "page 0x12345000, RW, 4 KiB, write-back, inner shareable"},
      {0x1234'57bf, 3, 12, false, "page 0x12345000, -W, 4 KiB, write-back, inner shareable"},
      {0x1234'57db, 3, 12, true, "page 0x12345000, RW, 4 KiB, write-back forced, inner shareable"},
      {0x1234'57db, 3, 12, false,
       "page 0x12345000, RW, 4 KiB, memory attribute 6, inner shareable"},
      {0x1234'56c7, 3, 12, true, "page 0x12345000, RW, 4 KiB, device, outer shareable"},
      {0x1234'54d7, 3, 12, false, "page 0x12345000, RW, 4 KiB, non-cacheable, not shareable"},
      {0x4020'077d, 2, 12, false, "block 0x40200000, R-, 2 MiB, write-back, inner shareable"},
      {0x0040'0000'1234'43ff, 3, 14, false,
       "page 0x12344000, RW, 16 KiB, write-back, inner shareable, no execution, "
       "not accessed: faults"},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(DescribeArmStage2Entry(c.entry, c.level, c.granule_log2, c.force_write_back), c.want);
  }
}

}  // namespace
}  // namespace viommu
