// DestroyOwned over the real server and engine: everything of one owner goes, and nothing else.
#include "clients/client/destroy_owned.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "clients/client/call_error.h"
#include "clients/client/client.h"
#include "engine/viommu_fixture.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/server.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// alice has dev0, memoryRegions/ram, ioas/as, domains/d, the nest parent domains/parent and
// viommus/vm on it.
class DestroyOwnedTest : public ViommuTest {
 protected:
  DestroyOwnedTest() {
    ServerOptions options;
    options.listen_addresses = {"127.0.0.1:0"};
    auto server = Server::Start(engine_.get(), std::move(options));
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    auto client = Client::Connect(absl::StrCat("127.0.0.1:", server_->ports()[0]));
    EXPECT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }
  ~DestroyOwnedTest() override {
    client_.reset();
    server_.reset();
  }

  Destruction Destroy(const std::string& owner) {
    auto done = DestroyOwned(*client_, owner);
    EXPECT_TRUE(done.ok()) << done.status();
    return *std::move(done);
  }

  std::unique_ptr<Server> server_;
  std::unique_ptr<Client> client_;
};

TEST_F(DestroyOwnedTest, TakesEverythingOfOneOwner) {
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x100000, 0x10000)).ok());
  ASSERT_TRUE(MakeVdevice("nic", "dev0", 9).ok());
  ASSERT_TRUE(MakeGuest("guest", kVsteStage1).ok());
  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("guest")).ok());
  Claim("dev1");
  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev1", AttachTarget::OfIoas(Ref("as"))).ok());
  ASSERT_TRUE(engine_->ReservePasid(alice_, "dev0", 7, "").ok());
  ASSERT_TRUE(
      engine_->CreateEventQueue(alice_, Ref("vm"), "q", ViommuEventType::kArmSmmuV3, 8).ok());
  ASSERT_TRUE(engine_->CreateFaultQueue(alice_, "faults", 8).ok());
  for (const char* const id : {"as", "more"}) ASSERT_TRUE(engine_->CreateIoas(bob_, id).ok());

  const Destruction done = Destroy("alice");
  EXPECT_TRUE(done.why.ok()) << done.why;
  EXPECT_THAT(done.left, IsEmpty());
  // Two attachments, a PASID, the guest, a vdevice, an event queue, the Viommu, two domains, a
  // fault queue, the space and the memory; the auto domain went with its attachment.
  EXPECT_EQ(done.taken, 12);
  EXPECT_EQ(UsageOf(operator_), "bob max_ioas 2\n");
  EXPECT_EQ(engine_->GetDevice(operator_, "dev0")->claimed_by, "alice") << "claims stay";
  EXPECT_EQ(engine_->GetDevice(operator_, "dev0")->domain, "domains/blocked");
  EXPECT_EQ(Destroy("alice").taken, 0);
}

TEST_F(DestroyOwnedTest, TellsWhatIsLeftAndWhy) {
  const CallContext local = [] {
    CallContext caller;
    caller.is_operator = true;
    return caller;
  }();
  ASSERT_TRUE(engine_->CreateIoas(local, "keeper").ok());
  MapBatch batch = OneMap(0, 0x1000);
  batch.regions = {ObjectRef{"ram", "alice"}};
  ASSERT_TRUE(engine_->Map(local, Ref("keeper"), batch).ok());
  const Destruction done = Destroy("alice");
  EXPECT_THAT(done.left, ElementsAre("owners/alice/memoryRegions/ram"));
  EXPECT_EQ(ReasonOf(done.why), "IN_USE");
  ASSERT_TRUE(engine_->DeleteIoas(local, Ref("keeper"), "").ok());
  const Destruction rest = Destroy("alice");
  EXPECT_EQ(rest.taken, 1);
  EXPECT_THAT(rest.left, IsEmpty());
}

TEST_F(DestroyOwnedTest, GoesThroughAllPages) {
  constexpr int kMany = 2 * kDefaultPageSize + 1;
  for (int i = 0; i < kMany; ++i) {
    ASSERT_TRUE(engine_->CreateIoas(bob_, absl::StrCat("space-", i)).ok());
  }
  EXPECT_EQ(Destroy("bob").taken, kMany);
}

TEST_F(DestroyOwnedTest, SaysWhenNothingCanBeRead) {
  ClientOptions hasty;
  hasty.max_attempts = 1;
  hasty.reconnect_timeout = absl::ZeroDuration();
  const auto client = Client::Connect(absl::StrCat("127.0.0.1:", server_->ports()[0]), hasty);
  ASSERT_TRUE(client.ok()) << client.status();
  server_.reset();
  EXPECT_FALSE(DestroyOwned(**client, "alice").ok());
}

}  // namespace
}  // namespace viommu
