#include "server/listener_directory.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/base/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/unique_fd.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string ReasonOf(const absl::Status& status) {
  const auto detail = DetailOf(status);
  return detail.has_value() ? detail->reason : "";
}

class ListenerDirectoryTest : public ::testing::Test {
 protected:
  ListenerDirectoryTest() {
    EXPECT_EQ(chdir(std::getenv("TEST_TMPDIR")), 0);
    // Absolute, and short: sockets have such paths.
    folder_ = absl::StrCat("/proc/self/cwd/",
                           testing::UnitTest::GetInstance()->current_test_info()->name());
    directory_ = Open();
  }

  std::unique_ptr<ListenerDirectory> Open() const {
    auto directory = ListenerDirectory::Open(folder_);
    EXPECT_TRUE(directory.ok()) << directory.status();
    return *std::move(directory);
  }

  // A listener whose socket goes on listening.
  void Make(const std::string& owner, const SocketAccess& access = {}) {
    auto draft = directory_->Make(owner, access);
    ASSERT_TRUE(draft.ok()) << draft.status();
    ASSERT_TRUE(directory_->Show(owner).ok());
    sockets_.push_back(std::move(draft->socket));
  }
  // As a daemon that starts anew.
  void Restart() {
    sockets_.clear();
    directory_.reset();
    directory_ = Open();
  }

  std::string PathOf(const std::string& owner) const { return absl::StrCat(folder_, "/", owner); }

  static struct stat Look(const std::string& path) {
    struct stat info = {};
    EXPECT_EQ(lstat(path.c_str(), &info), 0) << path;
    return info;
  }
  static mode_t ModeOf(const std::string& path) { return Look(path).st_mode & 07777; }
  static bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

  // Whether somebody listens on the socket of `owner`.
  bool Connects(const std::string& owner) const {
    sockaddr_un name = {};
    name.sun_family = AF_UNIX;
    const std::string path = PathOf(owner) + "/viommu.sock";
    EXPECT_LT(path.size(), sizeof(name.sun_path));
    std::memcpy(name.sun_path, path.data(), path.size());
    const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return connect(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)) == 0;
  }

  std::string folder_;
  std::unique_ptr<ListenerDirectory> directory_;
  std::vector<ListenSocket> sockets_;
};

TEST_F(ListenerDirectoryTest, LetsThoseInWhoMayConnect) {
  const struct {
    const char* owner;
    mode_t socket, directory;
  } kCases[] = {
      {"own", 0600, 0700}, {"group", 0660, 0750}, {"others", 0606, 0705}, {"all", 0666, 0755}};
  const mode_t mask = umask(0077);  // As the daemon has it.
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.owner);
    Make(c.owner, {c.socket, {}, {}});
    EXPECT_EQ(ModeOf(PathOf(c.owner)), c.directory);
    EXPECT_EQ(ModeOf(PathOf(c.owner) + "/viommu.sock"), c.socket);
    EXPECT_TRUE(Connects(c.owner));
  }
  umask(mask);
  EXPECT_EQ(ModeOf(folder_), 0711u) << "nobody sees who else there is";
  EXPECT_THAT(directory_->Names(), ElementsAre("all", "group", "others", "own"));
}

TEST_F(ListenerDirectoryTest, RefusesModesThatTheDirectoryCanNotSay) {
  for (const mode_t mode : {0400u, 0620u, 0664u, 0777u, 02660u, 0060u}) {
    EXPECT_EQ(ReasonOf(CheckAccess({mode, {}, {}})), "INVALID_MODE") << mode;
  }
  EXPECT_TRUE(CheckAccess({}).ok());
}

// What only root of the whole machine can do is refused to everybody else.
TEST_F(ListenerDirectoryTest, GivesDirectoryAndSocketAwayOrLeavesNothing) {
  const SocketAccess access = {0660, uid_t{12345}, gid_t{54321}};
  const auto draft = directory_->Make("vm0", access);
  if (!draft.ok()) {
    EXPECT_EQ(ReasonOf(draft.status()), "DIRECTORY_FAILED");
    EXPECT_FALSE(Exists(PathOf(".new-vm0")));
    return;
  }
  ASSERT_TRUE(directory_->Show("vm0").ok());
  Restart();
  ASSERT_TRUE(directory_->Reopen("vm0").ok());
  for (const std::string& path : {PathOf("vm0"), PathOf("vm0") + "/viommu.sock"}) {
    EXPECT_EQ(Look(path).st_uid, 12345u) << path;
    EXPECT_EQ(Look(path).st_gid, 54321u) << path;
  }
}

TEST_F(ListenerDirectoryTest, ShowsADirectoryOnlyWhenAllIsInPlace) {
  auto draft = directory_->Make("vm0", {});
  ASSERT_TRUE(draft.ok()) << draft.status();
  EXPECT_FALSE(Exists(PathOf("vm0")));
  EXPECT_THAT(directory_->Names(), IsEmpty());
  directory_->Discard("vm0");
  EXPECT_FALSE(Exists(PathOf(".new-vm0")));
  EXPECT_TRUE(directory_->CheckFree("vm0").ok());
}

TEST_F(ListenerDirectoryTest, ListensAgainWhereADaemonListened) {
  Make("vm0", {0606, {}, {}});
  const absl::Time made = absl::TimeFromTimespec(Look(PathOf("vm0")).st_mtim);
  Restart();
  EXPECT_FALSE(Connects("vm0")) << "the file is there, but nobody listens";
  const auto draft = directory_->Reopen("vm0");
  ASSERT_TRUE(draft.ok()) << draft.status();
  EXPECT_TRUE(Connects("vm0"));
  EXPECT_EQ(draft->place.access.mode, 0606u);
  EXPECT_EQ(draft->place.create_time, made);
  EXPECT_EQ(ModeOf(PathOf("vm0") + "/viommu.sock"), 0606u);
  EXPECT_EQ(absl::TimeFromTimespec(Look(PathOf("vm0")).st_mtim), made);
  EXPECT_THAT(directory_->Names(), ElementsAre("vm0"));
}

TEST_F(ListenerDirectoryTest, ListensInADirectoryThatSomebodyElseMade) {
  ASSERT_EQ(mkdir(PathOf("vm0").c_str(), 0700), 0);
  const auto draft = directory_->Reopen("vm0");
  ASSERT_TRUE(draft.ok()) << draft.status();
  EXPECT_EQ(ModeOf(PathOf("vm0") + "/viommu.sock"), 0600u);
}

TEST_F(ListenerDirectoryTest, LeavesAloneWhatIsNoListener) {
  ASSERT_EQ(mkdir(PathOf("elsewhere").c_str(), 0700), 0);
  ASSERT_EQ(symlink("elsewhere", PathOf("link").c_str()), 0);
  std::ofstream(PathOf("file")) << "text";
  ASSERT_EQ(mkdir(PathOf("text").c_str(), 0700), 0);
  std::ofstream(PathOf("text") + "/viommu.sock") << "text";
  ASSERT_EQ(mkdir(PathOf("trap").c_str(), 0700), 0);
  ASSERT_EQ(symlink("../text/viommu.sock", (PathOf("trap") + "/viommu.sock").c_str()), 0);
  for (const char* const owner : {"link", "file", "text", "trap", "nothing"}) {
    EXPECT_EQ(ReasonOf(directory_->Reopen(owner).status()), "LISTENER_UNUSABLE") << owner;
  }
  EXPECT_FALSE(Exists(PathOf("elsewhere") + "/viommu.sock"));
  EXPECT_EQ(Look(PathOf("text") + "/viommu.sock").st_size, 4);
  EXPECT_TRUE(S_ISLNK(Look(PathOf("trap") + "/viommu.sock").st_mode));
}

TEST_F(ListenerDirectoryTest, RefusesPlacesThatAreTaken) {
  ASSERT_EQ(mkdir(PathOf("empty").c_str(), 0700), 0);
  std::ofstream(PathOf("file")) << "text";
  ASSERT_EQ(symlink("nowhere", PathOf("link").c_str()), 0);
  for (const char* const owner : {"empty", "file", "link"}) {
    EXPECT_EQ(ReasonOf(directory_->CheckFree(owner)), "DIRECTORY_EXISTS") << owner;
    ASSERT_TRUE(directory_->Make(owner, {}).ok());
    EXPECT_EQ(ReasonOf(directory_->Show(owner)), "DIRECTORY_EXISTS") << owner;
    EXPECT_FALSE(Exists(PathOf(absl::StrCat(".new-", owner))));
  }
  EXPECT_FALSE(Exists(PathOf("empty") + "/viommu.sock"));
}

TEST_F(ListenerDirectoryTest, RefusesPathsThatNoSocketCanHave) {
  const size_t before = directory_->SocketPath("").size();
  ASSERT_LT(before, 107u);
  const std::string longest(107 - before, 'a');
  EXPECT_TRUE(directory_->CheckFree(longest).ok());
  EXPECT_EQ(ReasonOf(directory_->CheckFree(longest + "a")), "PATH_TOO_LONG");
  EXPECT_EQ(ReasonOf(directory_->Reopen(longest + "a").status()), "PATH_TOO_LONG");
}

TEST_F(ListenerDirectoryTest, TakesADirectoryAwayAtOnceAndRemovesItLater) {
  Make("vm0");
  const auto retired = directory_->Retire("vm0");
  ASSERT_TRUE(retired.ok()) << retired.status();
  EXPECT_FALSE(Exists(PathOf("vm0")));
  EXPECT_THAT(directory_->Names(), IsEmpty());
  EXPECT_TRUE(directory_->Remove(*retired));
  EXPECT_FALSE(Exists(PathOf(*retired)));
}

TEST_F(ListenerDirectoryTest, LeavesWhatSomebodyPutIntoADirectory) {
  for (int i = 0; i < 2; ++i) {
    Make("vm0");
    std::ofstream(PathOf("vm0") + "/notes") << "text";
    const auto retired = directory_->Retire("vm0");
    ASSERT_TRUE(retired.ok()) << retired.status();
    EXPECT_FALSE(directory_->Remove(*retired));
    EXPECT_TRUE(Exists(PathOf(*retired) + "/notes"));
    EXPECT_FALSE(Exists(PathOf(*retired) + "/viommu.sock"));
  }
}

TEST_F(ListenerDirectoryTest, ForgetsWhatADaemonDidNotFinish) {
  ASSERT_TRUE(directory_->Make("half", {}).ok());
  Make("gone");
  ASSERT_TRUE(directory_->Retire("gone").ok());
  Restart();
  EXPECT_FALSE(Exists(PathOf(".new-half")));
  EXPECT_FALSE(Exists(PathOf(".old-gone-0")));
  EXPECT_THAT(directory_->Names(), IsEmpty());
}

TEST_F(ListenerDirectoryTest, IsOneDaemons) {
  EXPECT_EQ(ReasonOf(ListenerDirectory::Open(folder_).status()), "LISTENER_DIR_IN_USE");
}

TEST_F(ListenerDirectoryTest, RefusesDirectoriesThatOthersCanChange) {
  ASSERT_EQ(mkdir("open", 0700), 0);
  ASSERT_EQ(chmod("open", 0770), 0);
  ASSERT_EQ(symlink(folder_.c_str(), "a-link"), 0);
  std::ofstream("a-file") << "text";
  for (const char* const path : {"open", "a-link", "a-file", "missing/l"}) {
    EXPECT_EQ(ReasonOf(ListenerDirectory::Open(path).status()), "LISTENER_DIR_UNUSABLE") << path;
  }
}

}  // namespace
}  // namespace viommu
