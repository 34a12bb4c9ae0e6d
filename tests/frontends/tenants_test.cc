// Doors of tenants over an engine whose journal holds back: who waits for whom.
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "clients/client/client.h"
#include "engine/backend/fake/fake_backend.h"
#include "engine/base/env.h"
#include "engine/engine.h"
#include "engine/journal/fake_journal.h"
#include "gtest/gtest.h"
#include "server/server.h"
#include "tests/frontends/shared_engine.h"
#include "viommu/v1/host.grpc.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/listener.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"

namespace viommu {
namespace {

using ListenerStub = v1::ListenerService::Stub;

// For what must not happen to happen all the same.
constexpr absl::Duration kMoment = absl::Milliseconds(300);
constexpr absl::Duration kPatience = absl::Seconds(60);

class TenantsTest : public ::testing::Test {
 protected:
  TenantsTest() {
    folder_ = "/tmp/viommu-tenants-XXXXXX";  // Short, as a socket's path must be.
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
    auto engine = Engine::Create({"test"}, &backend_, &journal_, RealEnv());
    EXPECT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    ServerOptions options;
    options.listen_addresses = {absl::StrCat("unix:", folder_, "/operator")};
    options.listener_dir = folder_ + "/l";
    auto server = Server::Start(engine_.get(), std::move(options));
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    operator_ = Connect("operator");
  }
  ~TenantsTest() override {
    journal_.Release();
    server_.reset();
    std::filesystem::remove_all(folder_);
  }

  std::unique_ptr<Client> Connect(const std::string& path) const {
    ClientOptions once;
    once.max_attempts = 1;
    auto client = Client::Connect(absl::StrCat("unix:", folder_, "/", path), once);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  // A tenant's client, with ioas/vm0 and memoryRegions/ram.
  std::unique_ptr<Client> MakeTenant(const std::string& owner) {
    v1::CreateListenerRequest request;
    request.set_listener_id(owner);
    const auto made = operator_->Call(&ListenerStub::CreateListener, request);
    EXPECT_TRUE(made.ok()) << made.status();
    std::unique_ptr<Client> client = Connect(absl::StrCat("l/", owner, "/viommu.sock"));
    EXPECT_TRUE(client
                    ->Call(&v1::MemoryService::Stub::CreateMemoryRegion,
                           NewRegion("ram", uint64_t{1} << 20))
                    .ok());
    EXPECT_TRUE(client->Call(&v1::IoasService::Stub::CreateIoas, NewIoas("vm0")).ok());
    return client;
  }

  absl::Status Delete(const std::string& owner, bool dry = false) {
    auto request = Named<v1::DeleteListenerRequest>(absl::StrCat("listeners/", owner));
    request.set_validate_only(dry);
    return operator_->Call(&ListenerStub::DeleteListener, std::move(request)).status();
  }

  void AwaitHeld(size_t count) const {
    const absl::Time end = absl::Now() + kPatience;
    while (journal_.held() < count && absl::Now() < end) absl::SleepFor(absl::Milliseconds(1));
    ASSERT_EQ(journal_.held(), count);
  }

  std::string folder_;
  FakeBackend backend_{SmallTopology()};
  FakeJournal journal_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Client> operator_;
};

TEST_F(TenantsTest, DeletionIsAnsweredWhenNothingOfTheTenantRuns) {
  const std::unique_ptr<Client> tenant = MakeTenant("vm0");
  journal_.Hold();
  std::thread running([&] {
    (void)tenant->Call(&v1::IoasService::Stub::Map,
                       OneMap("ioas/vm0", "memoryRegions/ram", 0, kPage));
  });
  AwaitHeld(1);
  std::atomic<int> answered{0};
  const auto take = [&] {
    EXPECT_TRUE(Delete("vm0").ok());
    ++answered;
  };
  std::thread first(take);
  std::thread second(take);
  const absl::Time end = absl::Now() + kPatience;
  while (std::filesystem::exists(folder_ + "/l/vm0") && absl::Now() < end) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/l/vm0")) << "nobody can connect any more";
  absl::SleepFor(kMoment);
  EXPECT_EQ(answered, 0) << "the map is on its way";
  journal_.Release();
  first.join();
  second.join();
  running.join();
  CallContext caller;
  caller.is_operator = true;
  EXPECT_EQ(engine_->GetIoas(caller, {"vm0", "vm0"})->mapping_count, 1u) << "it was planned";
}

TEST_F(TenantsTest, ADeletionThatIsOnlyCheckedCutsNobody) {
  const std::unique_ptr<Client> tenant = MakeTenant("vm0");
  EXPECT_TRUE(Delete("vm0", /*dry=*/true).ok());
  EXPECT_TRUE(tenant->Call(&v1::HostService::Stub::GetHost, v1::GetHostRequest()).ok());
}

TEST_F(TenantsTest, OneTenantsDeletionDoesNotKeepAnother) {
  const std::unique_ptr<Client> slow = MakeTenant("slow");
  const std::unique_ptr<Client> other = MakeTenant("other");
  journal_.Hold();
  std::thread running(
      [&] { (void)slow->Call(&v1::IoasService::Stub::CreateIoas, NewIoas("held")); });
  AwaitHeld(1);
  std::thread deletion([&] { EXPECT_TRUE(Delete("slow").ok()); });
  absl::SleepFor(kMoment);
  EXPECT_TRUE(other->Call(&v1::HostService::Stub::GetHost, v1::GetHostRequest()).ok());
  EXPECT_TRUE(Delete("other").ok());
  v1::CreateListenerRequest request;
  request.set_listener_id("slow");
  EXPECT_EQ(operator_->Call(&ListenerStub::CreateListener, request).status().code(),
            absl::StatusCode::kAlreadyExists)
      << "what comes next must not meet what is going";
  journal_.Release();
  running.join();
  deletion.join();
}

TEST_F(TenantsTest, ACallThatHasBegunEndsWithTheServer) {
  const std::unique_ptr<Client> tenant = MakeTenant("vm0");
  journal_.Hold();
  absl::Status answer;
  std::thread running(
      [&] { answer = tenant->Call(&v1::IoasService::Stub::CreateIoas, NewIoas("held")).status(); });
  AwaitHeld(1);
  std::thread ending([&] { server_->Shutdown(absl::Now() + kPatience); });
  absl::SleepFor(kMoment);
  journal_.Release();
  ending.join();
  running.join();
  EXPECT_TRUE(answer.ok()) << answer;
}

}  // namespace
}  // namespace viommu
