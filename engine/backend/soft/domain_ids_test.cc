#include "engine/backend/soft/domain_ids.h"

#include "gtest/gtest.h"

namespace viommu {
namespace {

TEST(DomainIdsTest, HandsOutEachIdAboveTheReservedOnesOnce) {
  DomainIds ids(4);
  for (int want = 2; want < 16; ++want) EXPECT_EQ(ids.Take(), want);
  EXPECT_FALSE(ids.Take().has_value());
  ids.Return(7);
  EXPECT_EQ(ids.Take(), 7);
  EXPECT_FALSE(ids.Take().has_value());
}

TEST(DomainIdsTest, BeginsWithTheFirst) {
  DomainIds ids(8, 1);
  for (int want = 1; want < 256; ++want) {
    EXPECT_EQ(ids.Next(), want);
    EXPECT_EQ(ids.Take(), want);
  }
  EXPECT_FALSE(ids.Next().has_value());
  EXPECT_FALSE(ids.Take().has_value());
  ids.Return(9);
  EXPECT_EQ(ids.Next(), 9);
}

TEST(DomainIdsTest, ReachesTheLastIdOf16Bits) {
  DomainIds ids(16);
  int last = 0;
  for (auto id = ids.Take(); id.has_value(); id = ids.Take()) last = *id;
  EXPECT_EQ(last, 0xffff);
}

TEST(DomainIdsTest, TakesTheIdGivenBackLastFirst) {
  DomainIds ids(8);
  ids.Take(), ids.Take(), ids.Take();
  ids.Return(2);
  ids.Return(4);
  EXPECT_EQ(ids.Take(), 4);
  EXPECT_EQ(ids.Take(), 2);
  EXPECT_EQ(ids.Take(), 5);
}

}  // namespace
}  // namespace viommu
