#include "server/self_check.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "engine/base/errors.h"
#include "gtest/gtest.h"
#include "server/server.h"
#include "server/services_fixture.h"
#include "server/unique_fd.h"

namespace viommu {
namespace {

constexpr absl::Duration kLong = absl::Seconds(20);
// To wait for an answer that does not come.
constexpr absl::Duration kShort = absl::Milliseconds(500);

class SelfCheckTest : public ServicesTest {
 protected:
  // A socket's path is at most 107 bytes, and TEST_TMPDIR is often longer.
  SelfCheckTest() { EXPECT_EQ(chdir(std::getenv("TEST_TMPDIR")), 0); }
  ~SelfCheckTest() override { unlink("check.sock"); }

  std::unique_ptr<Server> Serve(ServerOptions options) {
    options.listen_addresses = {"unix:check.sock"};
    auto server = Server::Start(engine_.get(), std::move(options));
    EXPECT_TRUE(server.ok()) << server.status();
    return *std::move(server);
  }

  SelfCheck NewCheck(absl::Duration timeout = kLong) {
    return {[this] {
              ++looks_;
              engine_->Stats();
            },
            "check.sock", timeout};
  }

  int looks_ = 0;
};

TEST_F(SelfCheckTest, FindsAnEngineAndAServerThatAnswer) {
  const auto server = Serve({});
  SelfCheck check = NewCheck();
  EXPECT_TRUE(check.Run().ok());
  EXPECT_TRUE(check.Run().ok());
  EXPECT_EQ(looks_, 2);
}

TEST_F(SelfCheckTest, TakesARefusalForAnAnswer) {
  const auto server = Serve({});
  SelfCheck check = NewCheck();
  ASSERT_TRUE(check.Run().ok());
  server->Drain();
  const absl::Status draining = check.Run();
  EXPECT_TRUE(draining.ok()) << draining;
}

TEST_F(SelfCheckTest, NeedsNoMoreThanTheConnectionThatItHas) {
  ServerOptions options;
  options.max_connections = 1;
  const auto server = Serve(std::move(options));
  SelfCheck check = NewCheck();
  ASSERT_TRUE(check.Run().ok());
  SelfCheck late = NewCheck(kShort);
  EXPECT_FALSE(late.Run().ok());  // Nobody else gets in.
  EXPECT_TRUE(check.Run().ok());
}

TEST_F(SelfCheckTest, FailsWhereNobodyListens) {
  SelfCheck check = NewCheck();
  const absl::Status status = check.Run();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(DetailOf(status)->reason, "NO_ANSWER");
}

TEST_F(SelfCheckTest, FailsWhenTheServerHasStopped) {
  auto server = Serve({});
  SelfCheck check = NewCheck();
  ASSERT_TRUE(check.Run().ok());
  server = nullptr;
  EXPECT_EQ(check.Run().code(), absl::StatusCode::kUnavailable);
}

TEST_F(SelfCheckTest, FailsWhenNothingComesBack) {
  // Connections are made by the kernel, and nobody reads what comes in through them.
  const UniqueFd deaf(socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, "check.sock");
  ASSERT_EQ(bind(deaf.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(listen(deaf.get(), 1), 0);
  SelfCheck check = NewCheck(kShort);
  EXPECT_EQ(DetailOf(check.Run())->reason, "NO_ANSWER");
}

}  // namespace
}  // namespace viommu
