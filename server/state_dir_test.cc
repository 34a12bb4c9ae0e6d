#include "server/state_dir.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Folder(const std::string& name) {
  return std::string(std::getenv("TEST_TMPDIR")) + "/" + name;
}

int ModeOf(const std::string& path) {
  struct stat info = {};
  return stat(path.c_str(), &info) == 0 ? static_cast<int>(info.st_mode & 0777) : -1;
}

std::string MessageOf(const std::string& path) {
  return std::string(StateDir::Open(path).status().message());
}

TEST(StateDirTest, MakesAPrivateFolderWithThoseAboveIt) {
  const std::string path = Folder("a/b/c");
  const auto dir = StateDir::Open(path);
  ASSERT_TRUE(dir.ok()) << dir.status();
  EXPECT_EQ((*dir)->path(), path);
  EXPECT_EQ(ModeOf(path), 0700);
  EXPECT_EQ(ModeOf(Folder("a")), 0700);
}

TEST(StateDirTest, KeepsTheModeOfAFolderThatIsThere) {
  const std::string path = Folder("there");
  ASSERT_EQ(mkdir(path.c_str(), 0755), 0);
  EXPECT_TRUE(StateDir::Open(path).ok());
  EXPECT_EQ(ModeOf(path), 0755);
}

TEST(StateDirTest, RefusesASecondDaemonUntilTheFirstIsGone) {
  const std::string path = Folder("one");
  auto first = StateDir::Open(path);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(StateDir::Open(path).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(path), AllOf(HasSubstr(path), HasSubstr("in use by a running viommud")));
  first->reset();
  EXPECT_TRUE(StateDir::Open(path).ok());
}

TEST(StateDirTest, RefusesAPathThatIsAFile) {
  const std::string path = Folder("file");
  std::ofstream(path) << "x";
  EXPECT_THAT(MessageOf(path), AllOf(HasSubstr(path), HasSubstr("Not a directory")));
  EXPECT_THAT(MessageOf(path + "/below"), HasSubstr("can not be made: Not a directory"));
}

TEST(StateDirTest, RefusesAFolderThatCanNotBeWrittenTo) {
  if (geteuid() == 0) {
    // Permissions do not bind root, but nobody makes files in /proc.
    EXPECT_THAT(MessageOf("/proc"), HasSubstr("state folder /proc: can not be written to"));
    return;
  }
  const std::string path = Folder("readonly");
  ASSERT_EQ(mkdir(path.c_str(), 0500), 0);
  EXPECT_THAT(MessageOf(path), HasSubstr("can not be written to: Permission denied"));
}

TEST(StateDirTest, ReplacesAFileAsAWhole) {
  const auto dir = StateDir::Open(Folder("files"));
  ASSERT_TRUE(dir.ok()) << dir.status();
  ASSERT_TRUE((*dir)->ReplaceFile("f", "a long first content").ok());
  ASSERT_TRUE((*dir)->ReplaceFile("f", "second").ok());
  std::ifstream in(Folder("files/f"));
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), "second");
  EXPECT_EQ(ModeOf(Folder("files/f")), 0600);
  EXPECT_EQ(ModeOf(Folder("files/f.new")), -1);
  (*dir)->RemoveFile("f");
  EXPECT_EQ(ModeOf(Folder("files/f")), -1);
}

TEST(StateDirTest, SaysWhichFileItCanNotReplace) {
  const auto dir = StateDir::Open(Folder("blocked"));
  ASSERT_TRUE(dir.ok()) << dir.status();
  ASSERT_EQ(mkdir(Folder("blocked/f").c_str(), 0700), 0);
  EXPECT_THAT(std::string((*dir)->ReplaceFile("f", "x").message()),
              HasSubstr("f can not be replaced"));
}

}  // namespace
}  // namespace viommu
