#include "server/notify_socket.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "gtest/gtest.h"
#include "server/unique_fd.h"

namespace viommu {
namespace {

constexpr pid_t kOwnId = 42;

absl::StatusOr<NotifySocket> From(const std::map<std::string, std::string>& variables) {
  return NotifySocket::FromEnvironment(
      [&variables](const char* name) -> std::optional<std::string> {
        const auto found = variables.find(name);
        if (found == variables.end()) return std::nullopt;
        return found->second;
      },
      kOwnId);
}

std::string ReasonOf(const std::map<std::string, std::string>& variables) {
  const auto socket = From(variables);
  return socket.ok() ? "none" : DetailOf(socket.status())->reason;
}

// The service manager's end. `address` as $NOTIFY_SOCKET has it.
class Listening {
 public:
  explicit Listening(std::string address) : fd_(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0)) {
    sockaddr_un own = {};
    own.sun_family = AF_UNIX;
    if (address[0] == '@') address[0] = '\0';
    std::memcpy(own.sun_path, address.data(), address.size());
    const size_t size = offsetof(sockaddr_un, sun_path) + address.size();
    EXPECT_EQ(
        bind(fd_.get(), reinterpret_cast<const sockaddr*>(&own), static_cast<socklen_t>(size)), 0);
  }

  // The oldest message that was not taken yet; "none".
  std::string Take() {
    char text[256];
    const ssize_t size = recv(fd_.get(), text, sizeof(text), 0);
    return size < 0 ? "none" : std::string(text, static_cast<size_t>(size));
  }

 private:
  const UniqueFd fd_;
};

std::string NewPath() {
  char folder[] = "/tmp/notifyXXXXXX";  // TEST_TMPDIR is often too long for a socket.
  EXPECT_NE(mkdtemp(folder), nullptr);
  return absl::StrCat(folder, "/n");
}

// Eight digits that make an abstract name nobody else's. An id of a process does not: those of two
// namespaces may have the same, and share the names.
std::string RandomDigits() {
  return absl::StrCat(absl::Hex(std::random_device()(), absl::kZeroPad8));
}

TEST(NotifySocketTest, SendsEachMessageAsOneDatagram) {
  const std::string path = NewPath();
  Listening manager(path);
  const auto socket = From({{"NOTIFY_SOCKET", path}});
  ASSERT_TRUE(socket.ok()) << socket.status();
  EXPECT_TRUE(socket->Tell("READY=1\nSTATUS=serving").ok());
  EXPECT_TRUE(socket->Tell("STOPPING=1").ok());
  EXPECT_EQ(manager.Take(), "READY=1\nSTATUS=serving");
  EXPECT_EQ(manager.Take(), "STOPPING=1");
  EXPECT_EQ(manager.Take(), "none");
  unlink(path.c_str());
  rmdir(path.substr(0, path.rfind('/')).c_str());
}

TEST(NotifySocketTest, FindsAnAbstractSocket) {
  const std::string name = absl::StrCat("@viommu-notify-", RandomDigits());
  Listening manager(name);
  const auto socket = From({{"NOTIFY_SOCKET", name}});
  ASSERT_TRUE(socket.ok()) << socket.status();
  EXPECT_TRUE(socket->Tell("READY=1").ok());
  EXPECT_EQ(manager.Take(), "READY=1");
}

TEST(NotifySocketTest, UsesAllOfAnAbstractName) {
  const std::string name =
      absl::StrCat("@", std::string(sizeof(sockaddr_un::sun_path) - 9, 'x'), RandomDigits());
  ASSERT_EQ(name.size(), sizeof(sockaddr_un::sun_path));
  Listening manager(name);
  const auto socket = From({{"NOTIFY_SOCKET", name}});
  ASSERT_TRUE(socket.ok()) << socket.status();
  EXPECT_TRUE(socket->Tell("READY=1").ok());
  EXPECT_EQ(manager.Take(), "READY=1");
}

TEST(NotifySocketTest, SaysWhenNobodyListens) {
  const auto socket = From({{"NOTIFY_SOCKET", "/nowhere/notify"}});
  ASSERT_TRUE(socket.ok()) << socket.status();
  const absl::Status told = socket->Tell("READY=1");
  EXPECT_EQ(told.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(DetailOf(told)->reason, "NOTIFY_FAILED");
}

TEST(NotifySocketTest, TellsNobodyWithoutAServiceManager) {
  for (const auto& socket : {From({}), From({{"NOTIFY_SOCKET", ""}, {"WATCHDOG_USEC", "5"}})}) {
    ASSERT_TRUE(socket.ok()) << socket.status();
    EXPECT_TRUE(socket->Tell("READY=1").ok());
    EXPECT_EQ(socket->watchdog_timeout(), absl::InfiniteDuration());
  }
}

TEST(NotifySocketTest, RefusesAMalformedAddress) {
  for (const std::string& address : {std::string("relative"), std::string("@"),
                                     "/" + std::string(sizeof(sockaddr_un::sun_path) - 1, 'x'),
                                     "@" + std::string(sizeof(sockaddr_un::sun_path), 'x')}) {
    EXPECT_EQ(ReasonOf({{"NOTIFY_SOCKET", address}}), "MALFORMED_NOTIFY_SOCKET") << address;
  }
  EXPECT_EQ(
      ReasonOf({{"NOTIFY_SOCKET", "/" + std::string(sizeof(sockaddr_un::sun_path) - 2, 'x')}}),
      "none");
}

TEST(NotifySocketTest, HeedsAWatchdogThatIsMeantForThisProcess) {
  const auto timeout = [](const std::string& microseconds, const std::string& process_id) {
    std::map<std::string, std::string> variables = {{"NOTIFY_SOCKET", "/n"},
                                                    {"WATCHDOG_USEC", microseconds}};
    if (!process_id.empty()) variables["WATCHDOG_PID"] = process_id;
    return From(variables)->watchdog_timeout();
  };
  EXPECT_EQ(timeout("30000000", "42"), absl::Seconds(30));
  EXPECT_EQ(timeout("1", ""), absl::Microseconds(1));
  EXPECT_EQ(timeout("30000000", "43"), absl::InfiniteDuration());
}

TEST(NotifySocketTest, RefusesAWatchdogWithoutATime) {
  for (const char* text : {"0", "-1", "soon", ""}) {
    EXPECT_EQ(ReasonOf({{"NOTIFY_SOCKET", "/n"}, {"WATCHDOG_USEC", text}}), "MALFORMED_WATCHDOG")
        << text;
  }
}

}  // namespace
}  // namespace viommu
