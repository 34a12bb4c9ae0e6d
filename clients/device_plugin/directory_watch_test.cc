#include "clients/device_plugin/directory_watch.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr absl::Duration kLong = absl::Seconds(60);

std::string NewFolder(const std::string& name) {
  std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/" + name;
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

void Touch(const std::string& path) { std::ofstream(path) << "x"; }

// Whether a wait for something to happen ended long before its time.
bool Wakes(DirectoryWatch& watch) {
  const absl::Time start = absl::Now();
  watch.Wait(kLong);
  return absl::Now() - start < kLong / 2;
}

TEST(DirectoryWatchTest, WakesWhenAFileComesAndGoes) {
  const std::string folder = NewFolder("a");
  DirectoryWatch watch(folder);
  Touch(folder + "/f");
  EXPECT_TRUE(Wakes(watch));
  std::filesystem::remove(folder + "/f");
  EXPECT_TRUE(Wakes(watch));
}

TEST(DirectoryWatchTest, SleepsWhenNothingHappens) {
  DirectoryWatch watch(NewFolder("b"));
  const absl::Time start = absl::Now();
  watch.Wait(absl::Milliseconds(50));
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(45));
}

TEST(DirectoryWatchTest, IsWokenFromAnotherThread) {
  DirectoryWatch watch(NewFolder("c"));
  std::thread other([&watch] { watch.Wake(); });
  EXPECT_TRUE(Wakes(watch));
  other.join();
}

TEST(DirectoryWatchTest, FindsTheDirectoryAgainWhenAnotherTakesItsPlace) {
  const std::string folder = NewFolder("d");
  DirectoryWatch watch(folder);
  std::filesystem::remove_all(folder);
  watch.Wait(absl::Milliseconds(500));  // Learns that it is gone.
  NewFolder("d");
  watch.Wait(absl::Milliseconds(500));  // Finds the new one.
  Touch(folder + "/f");
  EXPECT_TRUE(Wakes(watch));
}

TEST(DirectoryWatchTest, LeavesADirectoryThatWasGivenAnotherName) {
  const std::string folder = NewFolder("e");
  DirectoryWatch watch(folder);
  std::filesystem::remove_all(folder + ".old");
  std::filesystem::rename(folder, folder + ".old");
  NewFolder("e");
  EXPECT_TRUE(Wakes(watch));
  Touch(folder + "/f");
  EXPECT_TRUE(Wakes(watch));
}

}  // namespace
}  // namespace viommu
