#include "engine/model/doorbell_table.h"

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "engine/base/errors.h"
#include "engine/types.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr IovaRange kWindow{0x8000000, 0x80fffff};

PhysAddr Doorbell(uint64_t number) { return PhysAddr{0x10000 + number * kPage}; }

class DoorbellTableTest : public ::testing::Test {
 protected:
  // The page in the window; -1: exhausted.
  int64_t Take(uint64_t doorbell, const IovaRange& window = kWindow,
               const std::string& owner = "alice") {
    const auto taken = table_.Take(owner, window, Doorbell(doorbell));
    if (taken.ok()) return static_cast<int64_t>((*taken - window.first) / kPage);
    EXPECT_EQ(taken.status().code(), absl::StatusCode::kOutOfRange);
    EXPECT_EQ(DetailOf(taken.status())->reason, "DOORBELLS_EXHAUSTED");
    EXPECT_EQ(DetailOf(taken.status())->errno_name, "EOVERFLOW");
    return -1;
  }
  void GiveBack(uint64_t page, const std::string& owner = "alice") {
    table_.GiveBack(owner, kWindow.first + page * kPage);
  }

  DoorbellTable table_;
};

TEST_F(DoorbellTableTest, GivesADoorbellOnePageHoweverOftenItIsTaken) {
  EXPECT_EQ(Take(7), 0);
  EXPECT_EQ(Take(8), 1);
  EXPECT_EQ(Take(7), 0);
  EXPECT_EQ(Take(8), 1);
}

TEST_F(DoorbellTableTest, KeepsAPageUntilItIsGivenBackAsOftenAsTaken) {
  ASSERT_EQ(Take(7), 0);
  ASSERT_EQ(Take(7), 0);
  ASSERT_EQ(Take(8), 1);
  GiveBack(0);
  EXPECT_EQ(Take(9), 2);
  GiveBack(0);
  EXPECT_EQ(Take(10), 0) << "the lowest page that is free";
  EXPECT_EQ(Take(7), 3);
}

TEST_F(DoorbellTableTest, CountsEachOwnerForItself) {
  ASSERT_EQ(Take(7), 0);
  EXPECT_EQ(Take(8, kWindow, "bob"), 0);
  GiveBack(0, "bob");
  EXPECT_EQ(Take(8), 1);
}

TEST_F(DoorbellTableTest, RefusesOnePageMoreThanAnOwnerMayHave) {
  for (uint64_t i = 0; i < kMaxDoorbellPages; ++i) ASSERT_EQ(Take(i), static_cast<int64_t>(i));
  EXPECT_EQ(Take(kMaxDoorbellPages), -1);
  EXPECT_EQ(Take(kMaxDoorbellPages, {0x9000000, 0x90fffff}), -1) << "in another window too";
  EXPECT_EQ(Take(kMaxDoorbellPages - 1), 63) << "one that is there stays to be had";
  EXPECT_EQ(Take(0, kWindow, "bob"), 0);
  GiveBack(5);
  EXPECT_EQ(Take(kMaxDoorbellPages), 5);
  EXPECT_EQ(Take(kMaxDoorbellPages + 1), -1);
}

TEST_F(DoorbellTableTest, RefusesWhatTheWindowHasNoPageFor) {
  const IovaRange two{0x8000000, 0x8001fff};
  EXPECT_EQ(Take(1, two), 0);
  EXPECT_EQ(Take(2, two), 1);
  EXPECT_EQ(Take(3, two), -1);
  const IovaRange top{kMaxAddress - (kPage - 1), kMaxAddress};
  EXPECT_EQ(Take(3, top), 0);
  EXPECT_EQ(Take(4, top), -1);
}

TEST_F(DoorbellTableTest, GivesNoPageTwiceWhereWindowsOverlap) {
  ASSERT_EQ(Take(1), 0);
  ASSERT_EQ(Take(2), 1);
  const IovaRange second{kWindow.first + kPage, kWindow.last};
  EXPECT_EQ(Take(3, second), 1) << "page 2 of the first";
  EXPECT_EQ(Take(2, second), 0) << "where it is already";
  EXPECT_EQ(Take(1, second), 2) << "it is outside of this window";
}

}  // namespace
}  // namespace viommu
