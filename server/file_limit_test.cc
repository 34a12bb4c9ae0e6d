#include "server/file_limit.h"

#include <sys/resource.h>

#include "gtest/gtest.h"

namespace viommu {
namespace {

TEST(FileLimitTest, LeavesFilesForAllElse) {
  const struct {
    uint64_t files;
    int wanted, want;
  } kCases[] = {
      {1024, 1024, 480}, {2112, 1024, 1024}, {2111, 1024, 1023}, {1 << 20, 1024, 1024},
      {63, 1024, 8},     {0, 1024, 8},       {80, 1024, 8},      {RLIM_INFINITY, 65536, 65536},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(ConnectionsWithin(c.files, c.wanted), c.want) << c.files << " " << c.wanted;
  }
}

TEST(FileLimitTest, LeavesFilesForListeners) {
  EXPECT_EQ(ConnectionsWithin(2112, 1024, 128), 768);
  EXPECT_EQ(ConnectionsWithin(2112 + 4 * 128, 1024, 128), 1024);
  EXPECT_EQ(ConnectionsWithin(500, 1024, 128), 8);
}

class FileLimitOfTheProcessTest : public ::testing::Test {
 protected:
  FileLimitOfTheProcessTest() { EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0); }
  ~FileLimitOfTheProcessTest() override { setrlimit(RLIMIT_NOFILE, &before_); }

  void SetSoft(rlim_t soft) const {
    const rlimit limit = {soft, before_.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  }
  static rlim_t Soft() {
    rlimit limit = {};
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    return limit.rlim_cur;
  }

  rlimit before_ = {};
};

TEST_F(FileLimitOfTheProcessTest, IsRaisedAsFarAsConnectionsNeed) {
  SetSoft(70);
  EXPECT_EQ(MakeRoomForConnections(100), 100);
  EXPECT_EQ(Soft(), 264u);
}

TEST_F(FileLimitOfTheProcessTest, IsNeverLowered) {
  SetSoft(300);
  EXPECT_EQ(MakeRoomForConnections(100), 100);
  EXPECT_EQ(Soft(), 300u);
}

TEST_F(FileLimitOfTheProcessTest, EndsAtTheHardLimit) {
  const auto wanted = static_cast<int>(before_.rlim_max);
  if (before_.rlim_max > (1 << 30)) GTEST_SKIP() << "there is no hard limit";
  EXPECT_EQ(MakeRoomForConnections(wanted), ConnectionsWithin(before_.rlim_max, wanted));
  EXPECT_EQ(Soft(), before_.rlim_max);
}

}  // namespace
}  // namespace viommu
