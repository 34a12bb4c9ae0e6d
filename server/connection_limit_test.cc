#include "server/connection_limit.h"

#include "gtest/gtest.h"

namespace viommu {
namespace {

// How many more connections of this kind are taken; all are kept.
int TakeAll(Transport transport, ConnectionLimit* limit) {
  int taken = 0;
  while (limit->Take(transport)) ++taken;
  return taken;
}

TEST(ConnectionLimitTest, KeepsPartOfItForUnixSockets) {
  const struct { int most, tcp; } kCases[] = {{2, 1}, {8, 7}, {16, 14}, {1024, 896}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.most);
    ConnectionLimit limit(c.most);
    EXPECT_EQ(TakeAll(Transport::kTcp, &limit), c.tcp);
    EXPECT_EQ(TakeAll(Transport::kUnix, &limit), c.most - c.tcp);
    EXPECT_EQ(limit.open(Transport::kTcp), c.tcp);
    EXPECT_EQ(limit.open(Transport::kUnix), c.most - c.tcp);
  }
}

TEST(ConnectionLimitTest, LetsUnixSocketsHaveAllOfIt) {
  ConnectionLimit limit(16);
  EXPECT_EQ(TakeAll(Transport::kUnix, &limit), 16);
  EXPECT_FALSE(limit.Take(Transport::kTcp));
}

TEST(ConnectionLimitTest, DoesNotCountUnixSocketsAgainstTcpTwice) {
  ConnectionLimit limit(16);
  ASSERT_TRUE(limit.Take(Transport::kUnix));
  EXPECT_EQ(TakeAll(Transport::kTcp, &limit), 14);
}

TEST(ConnectionLimitTest, GivesAPlaceThatWasLeftToTheNext) {
  ConnectionLimit limit(8);
  TakeAll(Transport::kTcp, &limit);
  limit.GiveBack(Transport::kTcp);
  EXPECT_EQ(TakeAll(Transport::kTcp, &limit), 1);
}

TEST(ConnectionLimitTest, GivesAListenerItsShareAndCountsItInTheWhole) {
  ConnectionLimit whole(16);
  ConnectionLimit tenant(4, &whole);
  EXPECT_EQ(TakeAll(Transport::kListener, &tenant), 4);
  EXPECT_EQ(whole.open(), 4);
  EXPECT_EQ(TakeAll(Transport::kTcp, &whole), 10) << "both together leave a rest";
  EXPECT_EQ(TakeAll(Transport::kUnix, &whole), 2);
  tenant.GiveBack(Transport::kListener);
  EXPECT_EQ(whole.open(), 15);
  EXPECT_EQ(tenant.open(), 3);
}

TEST(ConnectionLimitTest, KeepsNothingOfWhatTheWholeRefuses) {
  ConnectionLimit whole(8);
  ConnectionLimit one(8, &whole);
  ConnectionLimit two(8, &whole);
  EXPECT_EQ(TakeAll(Transport::kListener, &one), 7);
  EXPECT_FALSE(two.Take(Transport::kListener));
  EXPECT_EQ(two.open(), 0);
  EXPECT_EQ(TakeAll(Transport::kUnix, &whole), 1);
}

}  // namespace
}  // namespace viommu
