// What the kubelet sees of the plugin: that it comes, comes back, and tells of its devices.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/device_plugin/plugin_fixture.h"
#include "viommu/v1/device.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class RegistrationTest : public PluginTest {
 protected:
  bool IsHealthy(const std::string& id) { return kubelet_.HealthyDevices(kNear).count(id) != 0; }
  std::string Socket(const std::string& resource) {
    return Path("plugins/" + kubelet_.endpoint(resource));
  }
};

TEST_F(RegistrationTest, OffersWhatCanBeClaimedAndKeepsItFromTheHost) {
  StartPlugin();
  EXPECT_THAT(kubelet_.HealthyDevices(kNear),
              UnorderedElementsAre("0000:01:00.0", "0000:02:00.0", "0000:02:00.1", "0000:03:00.0"));
  EXPECT_THAT(kubelet_.HealthyDevices(kPasid),
              UnorderedElementsAre("0000:81:00.0", "0000:82:00.0"));
  // Nobody can have the one with firmware's memory, so no container can.
  EXPECT_FALSE(kubelet_.Devices(kNear).at("0000:00:02.0").healthy);
  EXPECT_THAT(Log(), HasSubstr(R"("event":"claim_refused","device":"0000:00:02.0")"));
  for (const char* id : {"0000:01:00.0", "0000:02:00.1", "0000:82:00.0"}) {
    EXPECT_EQ(GetDevice(id).claimed_by(), "device-plugin") << id;
    EXPECT_EQ(GetDevice(id).domain(), "domains/blocked") << id;
  }
  EXPECT_TRUE(Soon([this] { return plugin_->Metric("devices", kNear, "healthy") == 4; }));
  EXPECT_TRUE(
      Soon([this] { return plugin_->Metric("unhealthy_devices", kNear, "NOT_CLAIMED") == 1; }));
  // The kubelet follows before the plugin has its answer.
  EXPECT_TRUE(Soon([this] { return plugin_->Metric("registrations_total", kNear, "ok") >= 1; }));
  EXPECT_EQ(plugin_->Metric("registrations_total", kNear, "ok"), 1);
  EXPECT_TRUE((*plugin_)->IsReady());
}

TEST_F(RegistrationTest, TellsNumaNodesAndLeavesUnknownOnesOut) {
  StartPlugin();
  EXPECT_THAT(kubelet_.Devices(kNear).at("0000:01:00.0").numa_nodes, ElementsAre(0));
  EXPECT_THAT(kubelet_.Devices(kPasid).at("0000:81:00.0").numa_nodes, ElementsAre(1));
  EXPECT_FALSE(kubelet_.Devices(kNear).at("0000:03:00.0").has_topology);
}

TEST_F(RegistrationTest, RegistersAgainWhenTheKubeletIsStartedAnew) {
  StartPlugin();
  for (int i = 2; i < 5; ++i) {
    kubelet_.Stop();
    kubelet_.Start();
    AwaitHealthy();
    EXPECT_GE(kubelet_.registrations(kNear), i);
  }
  EXPECT_TRUE((*plugin_)->IsReady());
}

TEST_F(RegistrationTest, WaitsForAKubeletThatIsNotThereYet) {
  kubelet_.Stop();
  plugin_ = NewPlugin();
  EXPECT_TRUE(Soon([this] { return plugin_->Metric("registrations_total", kNear, "error") > 0; }));
  EXPECT_FALSE((*plugin_)->IsReady());
  kubelet_.Start();
  AwaitHealthy();
}

TEST_F(RegistrationTest, ServesOnANewSocketWhenItsOwnVanishes) {
  StartPlugin();
  const std::string old = kubelet_.endpoint(kNear);
  const int others = kubelet_.registrations(kPasid);
  std::filesystem::remove(Socket(kNear));
  ASSERT_TRUE(Soon([this, &old] { return kubelet_.endpoint(kNear) != old; }));
  AwaitHealthy();
  EXPECT_TRUE(std::filesystem::is_socket(Socket(kNear)));
  EXPECT_EQ(kubelet_.registrations(kPasid), others) << "the other resource's is still there";
}

TEST_F(RegistrationTest, FindsTheDirectoryAgainWhenItWasMadeAnew) {
  StartPlugin();
  kubelet_.Stop();
  // Not removed file by file: the plugin would put back what is taken.
  std::filesystem::rename(Path("plugins"), Path("plugins.old"));
  EXPECT_TRUE(Soon([this] { return absl::StrContains(Log(), "ENDPOINT_FAILED: can not listen"); }));
  std::filesystem::create_directory(Path("plugins"));
  kubelet_.Start();
  AwaitHealthy();
}

TEST_F(RegistrationTest, FollowsTheHealthOfDevicesDownAndUp) {
  StartPlugin();
  for (int i = 0; i < 5; ++i) {
    SetHealth("0000:01:00.0", v1::DEVICE_HEALTH_UNHEALTHY);
    ASSERT_TRUE(Soon([this] { return !IsHealthy("0000:01:00.0"); }));
    SetHealth("0000:01:00.0", v1::DEVICE_HEALTH_HEALTHY);
    ASSERT_TRUE(Soon([this] { return IsHealthy("0000:01:00.0"); }));
  }
  EXPECT_EQ(kubelet_.HealthyDevices(kNear).size(), 4u);
  EXPECT_THAT(Log(), HasSubstr(R"("reason":"DEVICE_UNHEALTHY","detail":"too hot")"));
  EXPECT_EQ(kubelet_.registrations(kNear), 1) << "a change is told, not registered";
}

TEST_F(RegistrationTest, TellsOfDevicesThatGoAndCome) {
  StartPlugin();
  v1::UnplugDeviceRequest unplug;
  unplug.set_name("devices/0000:82:00.0");
  ASSERT_TRUE(viommud().Call(&v1::SimulationService::Stub::UnplugDevice, unplug).ok());
  ASSERT_TRUE(Soon([this] { return kubelet_.Devices(kPasid).size() == 1; }));
  v1::PlugDeviceRequest plug;
  plug.set_name("devices/0000:82:00.0");
  ASSERT_TRUE(viommud().Call(&v1::SimulationService::Stub::PlugDevice, plug).ok());
  AwaitHealthy();
  EXPECT_EQ(GetDevice("0000:82:00.0").claimed_by(), "device-plugin");
}

TEST_F(RegistrationTest, SaysThatViommudIsAwayAndRecovers) {
  StartPlugin();
  StopViommud();
  ASSERT_TRUE(Soon([this] {
    return kubelet_.HealthyDevices(kNear).empty() && kubelet_.HealthyDevices(kPasid).empty();
  }));
  EXPECT_EQ(kubelet_.Devices(kNear).size(), 5u) << "unhealthy, not gone";
  EXPECT_THAT(Log(), HasSubstr(R"("reason":"VIOMMUD_AWAY")"));
  EXPECT_FALSE((*plugin_)->IsReady());
  EXPECT_TRUE(Soon([this] { return plugin_->Metric("viommud_up") == 0; }));
  const auto refused = kubelet_.AddPodWith("a", kNear, {"0000:01:00.0"});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  StartViommud();
  AwaitHealthy();
  EXPECT_TRUE(Soon([this] { return (*plugin_)->IsReady(); }));
}

TEST_F(RegistrationTest, DoesNotShowABreakThatIsShort) {
  DevicePlugin::Options options = Options();
  options.viommud_patience = absl::Seconds(60);
  plugin_ = NewPlugin(Config(), options);
  AwaitHealthy();
  StopViommud();
  StartViommud();
  AwaitHealthy();
  EXPECT_THAT(Log(), ::testing::Not(HasSubstr("VIOMMUD_AWAY")));
}

TEST_F(RegistrationTest, LearnsOfViommudThatComesLater) {
  StopViommud();
  plugin_ = NewPlugin();
  absl::SleepFor(absl::Milliseconds(300));
  EXPECT_EQ(kubelet_.registrations(kNear), 0) << "there is nothing to say";
  StartViommud();
  AwaitHealthy();
}

TEST_F(RegistrationTest, LeavesTheKubeletToTheNewerOfTwoUntilThatIsGone) {
  DevicePlugin::Options options = Options();
  options.registrar.takeover = absl::Milliseconds(300);
  StartPlugin(Config(), options);
  const std::string first = kubelet_.endpoint(kNear);
  auto newer = NewPlugin();
  ASSERT_TRUE(Soon([&] { return kubelet_.endpoint(kNear) != first; }));
  AwaitHealthy();
  const std::string second = kubelet_.endpoint(kNear);
  const int registrations = kubelet_.registrations(kNear);
  // Long enough for the first one to want it back, were nobody else there.
  absl::SleepFor(absl::Seconds(1));
  EXPECT_EQ(kubelet_.endpoint(kNear), second);
  EXPECT_EQ(kubelet_.registrations(kNear), registrations);
  newer.reset();
  ASSERT_TRUE(Soon([&] { return kubelet_.endpoint(kNear) == first; }));
  AwaitHealthy();
}

TEST_F(RegistrationTest, RemovesSocketsOfPluginsThatWereKilled) {
  const std::string dead = Path("plugins/viommu-near-0123abcd.sock");
  const std::string foreign = Path("plugins/viommu-nearer-0123abcd.sock");
  const std::string planted = Path("plugins/viommu-near-01234567.sock");
  for (const std::string& path : {dead, foreign}) {
    sockaddr_un name = {};
    name.sun_family = AF_UNIX;
    path.copy(name.sun_path, sizeof(name.sun_path) - 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0) << path;
    close(fd);
  }
  std::filesystem::create_symlink(Path("viommud.sock"), planted);
  StartPlugin();
  EXPECT_FALSE(std::filesystem::exists(dead));
  EXPECT_TRUE(std::filesystem::is_socket(foreign)) << "of another resource";
  EXPECT_TRUE(std::filesystem::is_symlink(planted)) << "no socket of a plugin";
  const std::string first = kubelet_.endpoint(kNear);
  auto newer = NewPlugin();
  ASSERT_TRUE(Soon([&] { return kubelet_.endpoint(kNear) != first; }));
  EXPECT_TRUE(std::filesystem::is_socket(Path("plugins/" + first))) << "it is served";
}

TEST_F(RegistrationTest, NeverFailsAQuestionForPreferredDevices) {
  StartPlugin();
  const auto plugin = kubelet_.Plugin(kNear);
  ::v1beta1::PreferredAllocationRequest request;
  auto& odd = *request.add_container_requests();
  odd.add_available_deviceids("no such device");
  odd.add_must_include_deviceids("neither this");
  odd.set_allocation_size(-3);
  auto& pair = *request.add_container_requests();
  for (const auto& id : kubelet_.HealthyDevices(kNear)) pair.add_available_deviceids(id);
  pair.set_allocation_size(2);
  grpc::ClientContext context;
  ::v1beta1::PreferredAllocationResponse response;
  ASSERT_TRUE(plugin->GetPreferredAllocation(&context, request, &response).ok());
  ASSERT_EQ(response.container_responses_size(), 2);
  EXPECT_THAT(response.container_responses(0).deviceids(), IsEmpty());
  EXPECT_THAT(response.container_responses(1).deviceids(),
              UnorderedElementsAre("0000:02:00.0", "0000:02:00.1"));
}

}  // namespace
}  // namespace viommu
