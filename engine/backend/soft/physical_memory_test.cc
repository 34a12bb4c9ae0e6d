#include "engine/backend/soft/physical_memory.h"

#include <string>

#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kGiB = 1 << 30;

TEST(PhysicalMemoryTest, PlacesWindowsAtTheLowestAlignedFreeAddress) {
  PhysicalMemory memory(PhysAddr{kMiB}, 40);
  const auto a = memory.AddWindow(4096, 4096);
  const auto b = memory.AddWindow(kGiB, kGiB);
  const auto c = memory.AddWindow(8192, 4096);
  ASSERT_TRUE(a.ok() && b.ok() && c.ok());
  EXPECT_EQ(a->base.value, kMiB);
  EXPECT_EQ(b->base.value, kGiB);
  EXPECT_EQ(c->base.value, kMiB + 4096);  // The gap below the aligned window is used.
  memory.RemoveWindow(a->base);
  const auto again = memory.AddWindow(4096, 4096);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->base.value, kMiB);
}

TEST(PhysicalMemoryTest, RefusesBadSizesAndAlignments) {
  PhysicalMemory memory(PhysAddr{0}, 40);
  EXPECT_EQ(memory.AddWindow(0, 4096).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(memory.AddWindow(100, 4096).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(memory.AddWindow(4096, 12288).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(memory.AddWindow(4096, 64).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(PhysicalMemoryTest, RefusesWhatTheAddressWidthCannotName) {
  PhysicalMemory memory(PhysAddr{0}, 32);
  const auto window = memory.AddWindow(uint64_t{1} << 33, 4096);
  EXPECT_EQ(window.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(DetailOf(window.status())->reason, "PHYSICAL_MEMORY_EXHAUSTED");
}

TEST(PhysicalMemoryTest, KeepsWindowsAwayFromPlacesThatTheFirmwareChose) {
  PhysicalMemory memory(PhysAddr{kMiB}, 40);
  ASSERT_TRUE(memory.AddWindowAt(PhysAddr{kMiB + 8192}, 8192).ok());
  EXPECT_EQ(memory.AddWindow(8192, 4096)->base.value, kMiB);
  EXPECT_EQ(memory.AddWindow(8192, 4096)->base.value, kMiB + 16384);
  const struct {
    const char* name;
    uint64_t base, size_bytes;
    absl::StatusCode code;
  } kCases[] = {
      {"below the first address", 0x4000, 4096, absl::StatusCode::kOk},
      {"overlaps the next", kMiB - 4096, 8192, absl::StatusCode::kAlreadyExists},
      {"inside another", kMiB + 12288, 4096, absl::StatusCode::kAlreadyExists},
      {"around others", kMiB - 8192, kMiB, absl::StatusCode::kAlreadyExists},
      {"same base", kMiB, 4096, absl::StatusCode::kAlreadyExists},
      {"ends where the next begins", kMiB - 4096, 4096, absl::StatusCode::kOk},
      {"unaligned", 0x5001, 4096, absl::StatusCode::kInvalidArgument},
      {"odd size", 0x5000, 4097, absl::StatusCode::kInvalidArgument},
      {"empty", 0x5000, 0, absl::StatusCode::kInvalidArgument},
      {"beyond the width", (uint64_t{1} << 40) - 4096, 8192, absl::StatusCode::kInvalidArgument},
      {"at the very end", (uint64_t{1} << 40) - 4096, 4096, absl::StatusCode::kOk},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(memory.AddWindowAt(PhysAddr{c.base}, c.size_bytes).status().code(), c.code);
  }
}

TEST(PhysicalMemoryTest, ManyGiBCostNothingUntilTouched) {
  PhysicalMemory memory(PhysAddr{0}, 46);
  const auto window = memory.AddWindow(1024 * kGiB, kGiB);
  ASSERT_TRUE(window.ok());
  EXPECT_TRUE(memory.Store64(window->base + 777 * kGiB, 42));
  EXPECT_EQ(memory.Load64(window->base + 777 * kGiB), 42u);
  EXPECT_EQ(memory.Load64(window->base + 778 * kGiB), 0u);
}

TEST(PhysicalMemoryTest, NothingAnswersOutsideWindows) {
  PhysicalMemory memory(PhysAddr{0}, 40);
  const auto window = memory.AddWindow(4096, 4096);
  ASSERT_TRUE(window.ok());
  EXPECT_FALSE(memory.Load64(PhysAddr{4096}).has_value());
  EXPECT_FALSE(memory.Load128(PhysAddr{4088}).has_value());
  EXPECT_FALSE(memory.Store32(PhysAddr{4096}, 1));
  char bytes[16] = {};
  EXPECT_FALSE(memory.Read(PhysAddr{4090}, absl::MakeSpan(bytes)));
  EXPECT_FALSE(memory.Write(PhysAddr{4090}, absl::MakeSpan(bytes)));
  memory.RemoveWindow(window->base);
  EXPECT_FALSE(memory.Load64(PhysAddr{0}).has_value());
}

TEST(PhysicalMemoryTest, ExchangesAWordOnlyForTheOneExpected) {
  PhysicalMemory memory(PhysAddr{0x1000}, 40);
  const PhysAddr base = memory.AddWindow(4096, 4096)->base;
  ASSERT_TRUE(memory.Store64(base, 7));
  EXPECT_FALSE(memory.Exchange64(base, 8, 9));
  EXPECT_EQ(memory.Load64(base), 7u);
  EXPECT_TRUE(memory.Exchange64(base, 7, 9));
  EXPECT_EQ(memory.Load64(base), 9u);
  EXPECT_FALSE(memory.Exchange64(base + 4, 0, 1)) << "not aligned";
  EXPECT_FALSE(memory.Exchange64(base + 4096, 0, 1)) << "no memory";
}

TEST(PhysicalMemoryTest, CopiesAnyAlignmentAndLoadsUnits) {
  PhysicalMemory memory(PhysAddr{0}, 40);
  ASSERT_TRUE(memory.AddWindow(4096, 4096).ok());
  const std::string text = "a sentence that is longer than two words of memory";
  ASSERT_TRUE(memory.Write(PhysAddr{3}, text));
  std::string back(text.size(), '\0');
  ASSERT_TRUE(memory.Read(PhysAddr{3}, absl::MakeSpan(back)));
  EXPECT_EQ(back, text);
  ASSERT_TRUE(memory.Store64(PhysAddr{64}, 0x1122334455667788));
  ASSERT_TRUE(memory.Store32(PhysAddr{72}, 0x99aabbcc));
  EXPECT_EQ(*memory.Load128(PhysAddr{64}), absl::MakeUint128(0x99aabbcc, 0x1122334455667788));
  EXPECT_FALSE(memory.Load128(PhysAddr{72}).has_value());
}

}  // namespace
}  // namespace viommu
