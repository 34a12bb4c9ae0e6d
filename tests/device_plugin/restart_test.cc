// Who is started anew, and what becomes of devices meanwhile: kubelet, viommud, plugin; and the
// pods that nobody tells the plugin of.
#include <csignal>
#include <filesystem>
#include <memory>
#include <regex>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/device_plugin/plugin_fixture.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu {
namespace {

using ::grpc::health::v1::HealthCheckResponse;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr char kDevice[] = "0000:01:00.0";
constexpr char kOther[] = "0000:03:00.0";

class RestartTest : public PluginTest {
 protected:
  RestartTest() { StartPlugin(); }

  KubeletDouble::Container Add(const std::string& pod, const std::string& device) {
    auto container = kubelet_.AddPodWith(pod, kNear, {device});
    EXPECT_TRUE(container.ok()) << container.status() << Log();
    return container.value_or(KubeletDouble::Container());
  }
  static std::string NameOf(const KubeletDouble::Container& container) {
    return container.envs().at("VIOMMU_NEAR_ALLOCATION");
  }
  // What the program's health listener says of a service.
  HealthCheckResponse::ServingStatus Probe(const std::string& service) {
    std::smatch port;
    const std::string log = Log();
    if (!std::regex_search(log, port, std::regex(R"("health_port":(\d+))"))) {
      return HealthCheckResponse::UNKNOWN;
    }
    const auto stub = ::grpc::health::v1::Health::NewStub(
        grpc::CreateChannel("127.0.0.1:" + port[1].str(), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    ::grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    HealthCheckResponse response;
    stub->Check(&context, request, &response);
    return response.status();
  }
  bool SoonLogged(const std::string& text) {
    return Soon([&] { return absl::StrContains(Log(), text); });
  }
  bool IsHealthy(const std::string& id) { return kubelet_.HealthyDevices(kNear).count(id) != 0; }
};

TEST_F(RestartTest, FreesWhatNoPodHasAnyMore) {
  const auto a = Add("a", kDevice);
  const auto b = Add("b", kOther);
  FillMemory(**Inside(a), "left behind");
  kubelet_.DeletePod("a");
  EXPECT_TRUE(Soon([&] { return Allocations() == std::set<std::string>{NameOf(b)}; })) << Log();
  EXPECT_EQ(GetDevice(kDevice).claimed_by(), "device-plugin");
  EXPECT_EQ(GetDevice(kDevice).domain(), "domains/blocked");
  EXPECT_EQ(ReadByDevice(viommud(), kDevice, 11), std::nullopt) << "whatever it still does";
  EXPECT_FALSE(std::filesystem::exists(a.mounts(0).host_path()));
  // viommud has nothing of it any more before the plugin has its answer.
  EXPECT_TRUE(SoonLogged(absl::StrCat(R"("event":"allocation_freed","allocation":")", NameOf(a))));
  EXPECT_EQ(plugin_->Metric("freed_allocations_total", "", "ok"), 1);
  // The other one, which a pod has, is as it was, whatever time goes by.
  absl::SleepFor(kGrace / 2);
  FillMemory(**Inside(b), "in use");
  EXPECT_EQ(ReadByDevice(**Inside(b), kOther, 6), "in use");
}

TEST_F(RestartTest, FreesNothingWhileTheKubeletDoesNotSay) {
  const auto a = Add("a", kDevice);
  kubelet_.Stop();
  ASSERT_TRUE(Soon([this] { return plugin_->Metric("pod_resources_up") == 0; }));
  absl::SleepFor(kGrace * 1.25);
  EXPECT_EQ(Allocations(), std::set<std::string>{NameOf(a)});
  kubelet_.Start();
  AwaitHealthy();
  absl::SleepFor(kGrace * 1.25);
  EXPECT_EQ(Allocations(), std::set<std::string>{NameOf(a)}) << "the pod is still there";
}

TEST_F(RestartTest, FreesNothingWhileTheKubeletHasNotHeardOfItsPods) {
  const auto a = Add("a", kDevice);
  FillMemory(**Inside(a), "in use");
  kubelet_.Stop();
  kubelet_.SetKnowsPods(false);
  kubelet_.Start();
  AwaitHealthy();
  ASSERT_TRUE(Soon([this] { return absl::StrContains(Log(), "PODS_NOT_KNOWN"); })) << Log();
  EXPECT_EQ(plugin_->Metric("pod_resources_up"), 0);
  absl::SleepFor(kGrace * 1.25);
  EXPECT_EQ(ReadByDevice(**Inside(a), kDevice, 6), "in use") << Log();
  kubelet_.SetKnowsPods(true);
  ASSERT_TRUE(Soon([this] { return plugin_->Metric("pod_resources_up") == 1; })) << Log();
  EXPECT_EQ(Allocations(), std::set<std::string>{NameOf(a)});
  kubelet_.DeletePod("a");
  EXPECT_TRUE(Soon([this] { return Allocations().empty(); })) << Log();
}

TEST_F(RestartTest, FreesNothingThatSomebodyIsConnectedTo) {
  const auto a = Add("a", kDevice);
  auto inside = Inside(a);
  ASSERT_TRUE(inside.ok()) << inside.status();
  FillMemory(**inside, "in use");
  // As for a container that initializes its pod: the kubelet does not tell of it.
  kubelet_.DeletePod("a");
  absl::SleepFor(kGrace * 1.25);
  EXPECT_EQ(ReadByDevice(**inside, kDevice, 6), "in use") << Log();
  const std::string told = absl::StrCat(R"("event":"allocation_in_use","allocation":")", NameOf(a));
  EXPECT_TRUE(Soon([&] { return absl::StrContains(Log(), told); })) << Log();
  EXPECT_EQ(plugin_->Metric("leaked_allocations"), 0);
  inside->reset();
  EXPECT_TRUE(Soon([this] { return Allocations().empty(); })) << Log();
  const std::string log = Log();
  EXPECT_EQ(log.find(told), log.rfind(told)) << "said more than once";
}

TEST_F(RestartTest, FreesNothingThatAPodHasUnderANameOfBefore) {
  const auto a = Add("a", kDevice);
  FillMemory(**Inside(a), "in use");
  plugin_.reset();
  PluginConfig config = Config();
  config.resources[0].name = "viommu.dev/other";
  plugin_ = NewPlugin(config, Options());
  ASSERT_TRUE(Soon([this] { return kubelet_.HealthyDevices("viommu.dev/other").size() == 3; }));
  EXPECT_FALSE(kubelet_.Devices("viommu.dev/other").at(kDevice).healthy)
      << "by this name it is free to the kubelet";
  EXPECT_TRUE(Soon([this] {
    return plugin_->Metric("unhealthy_devices", "viommu.dev/other", "OTHER_RESOURCE") == 1;
  }));
  const auto refused = kubelet_.AddPodWith("b", "viommu.dev/other", {kDevice});
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("OTHER_RESOURCE"));
  absl::SleepFor(kGrace * 1.25);
  EXPECT_EQ(ReadByDevice(**Inside(a), kDevice, 6), "in use") << Log();
  kubelet_.DeletePod("a");
  EXPECT_TRUE(Soon([this] { return Allocations().empty(); })) << Log();
  EXPECT_TRUE(Soon([this] { return kubelet_.HealthyDevices("viommu.dev/other").size() == 4; }));
}

TEST_F(RestartTest, OffersNothingByOneNameThatAPodHasByAnother) {
  const auto a = Add("a", kDevice);
  plugin_.reset();
  PluginConfig config = Config();
  std::swap(config.resources[0].name, config.resources[1].name);
  plugin_ = NewPlugin(config, Options());
  ASSERT_TRUE(Soon([this] { return kubelet_.HealthyDevices(kPasid).size() == 3; })) << Log();
  EXPECT_FALSE(kubelet_.Devices(kPasid).at(kDevice).healthy);
  EXPECT_EQ(Allocations(), std::set<std::string>{NameOf(a)});
}

TEST_F(RestartTest, GivesADeviceAgainAfterAViommudThatDiedInTheMiddleOfAllocate) {
  for (int i = 0; i < 4; ++i) {
    std::thread asking([this] { kubelet_.AddPodWith("lost", kNear, {kDevice}).IgnoreError(); });
    absl::SleepFor(absl::Milliseconds(8 * i));
    viommud_->Signal(SIGKILL);
    EXPECT_EQ(viommud_->Wait(), -1);
    StartViommud();
    asking.join();
    kubelet_.DeletePod("lost");
    AwaitHealthy();
    const auto again = Add("again", kDevice);
    FillMemory(**Inside(again), "mine");
    EXPECT_EQ(ReadByDevice(**Inside(again), kDevice, 4), "mine");
    EXPECT_TRUE(Soon([&] { return Allocations() == std::set<std::string>{NameOf(again)}; }))
        << "nothing is left of the lost one" << Log();
    EXPECT_EQ(ReadByDevice(**Inside(again), kDevice, 4), "mine");
    kubelet_.DeletePod("again");
    ASSERT_TRUE(Soon([this] { return Allocations().empty(); })) << Log();
  }
}

TEST_F(RestartTest, GivesAContainerItsPulledDeviceBackWhenItIsStartedAnew) {
  const auto a = Add("a", kDevice);
  FillMemory(**Inside(a), "former");
  v1::UnplugDeviceRequest unplug;
  unplug.set_name(absl::StrCat("devices/", kDevice));
  ASSERT_TRUE(viommud().Call(&v1::SimulationService::Stub::UnplugDevice, unplug).ok());
  ASSERT_TRUE(Soon([this] { return kubelet_.Devices(kNear).count(kDevice) == 0; }));
  EXPECT_THAT(std::string(kubelet_.StartContainer("a").status().message()),
              HasSubstr("UNKNOWN_DEVICE"));
  v1::PlugDeviceRequest plug;
  plug.set_name(unplug.name());
  ASSERT_TRUE(viommud().Call(&v1::SimulationService::Stub::PlugDevice, plug).ok());
  ASSERT_TRUE(Soon([this] { return GetDevice(kDevice).claimed_by() == "device-plugin"; })) << Log();
  // Below a container that runs nothing is made anew.
  absl::SleepFor(absl::Seconds(1));
  EXPECT_EQ(GetDevice(kDevice).domain(), "domains/blocked");
  const auto again = kubelet_.StartContainer("a");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ReadByDevice(**Inside(*again), kDevice, 6), std::nullopt);
  FillMemory(**Inside(*again), "anew");
  EXPECT_EQ(ReadByDevice(**Inside(*again), kDevice, 4), "anew");
}

TEST_F(RestartTest, LeavesAnAllocationAloneThatIsYoungerThanTheGracePeriod) {
  DevicePlugin::Options options = Options();
  options.keeper = Keeper::Options{absl::Milliseconds(20), absl::Hours(1)};
  StartPlugin(Config(), options);
  Add("a", kDevice);
  kubelet_.DeletePod("a");
  absl::SleepFor(absl::Milliseconds(500));
  EXPECT_THAT(Allocations(), SizeIs(1));
}

TEST_F(RestartTest, GivesADeviceAgainAfterAKubeletThatDiedInTheMiddleOfAllocate) {
  for (int i = 0; i < 5; ++i) {
    // Its answer reaches nobody.
    std::thread lost([this] { kubelet_.AddPodWith("lost", kNear, {kDevice}).IgnoreError(); });
    absl::SleepFor(absl::Milliseconds(2 * i));
    kubelet_.Stop();
    lost.join();
    kubelet_.DeletePod("lost");
    kubelet_.Start();
    AwaitHealthy();
    const auto again = Add("again", kDevice);
    EXPECT_THAT(Allocations(), SizeIs(1)) << "nothing is left of the lost one";
    FillMemory(**Inside(again), "mine");
    EXPECT_EQ(ReadByDevice(**Inside(again), kDevice, 4), "mine");
    kubelet_.DeletePod("again");
  }
}

TEST_F(RestartTest, SaysOfDevicesInUseThatAnAnewStartedViommudHasLostTheirState) {
  const auto a = Add("a", kDevice);
  FillMemory(**Inside(a), "lost");
  StopViommud();
  StartViommud();
  ASSERT_TRUE(Soon([this] { return IsHealthy(kOther) && !IsHealthy(kDevice); })) << Log();
  ASSERT_TRUE(Soon([this] { return GetDevice(kDevice).claimed_by() == "device-plugin"; }));
  EXPECT_THAT(Log(), HasSubstr(R"("device":"0000:01:00.0","healthy":false,"reason":"STATE_LOST")"));
  EXPECT_EQ(GetDevice(kDevice).domain(), "domains/blocked");
  // Nothing is made anew below a container that runs.
  absl::SleepFor(absl::Seconds(1));
  EXPECT_FALSE(IsHealthy(kDevice)) << "a pod still has it";
  EXPECT_EQ(GetDevice(kDevice).domain(), "domains/blocked");
  // Nor for one that is started again with the answer of before.
  EXPECT_THAT(std::string(kubelet_.StartContainer("a").status().message()),
              HasSubstr("STATE_LOST"));
  EXPECT_TRUE(
      Soon([this] { return plugin_->Metric("unhealthy_devices", kNear, "STATE_LOST") == 1; }));
  // The pod goes, the device recovers, and what was left of it goes.
  kubelet_.DeletePod("a");
  AwaitHealthy();
  EXPECT_TRUE(Soon([this] { return Allocations().empty(); }));
  EXPECT_TRUE(Soon([&a] { return !std::filesystem::exists(a.mounts(0).host_path()); }));
  const auto b = Add("b", kDevice);
  EXPECT_EQ(ReadByDevice(**Inside(b), kDevice, 4), std::nullopt);
}

TEST_F(RestartTest, LearnsOfLostStateFromPodsWhenItWasStartedAnewItself) {
  Add("a", kDevice);
  plugin_.reset();
  StopViommud();
  StartViommud();
  plugin_ = NewPlugin();
  ASSERT_TRUE(Soon([this] { return IsHealthy(kOther) && !IsHealthy(kDevice); })) << Log();
  EXPECT_TRUE(Soon([this] {
    return plugin_->Metric("unhealthy_devices", kNear, "STATE_LOST") == 1;
  })) << Log();
  EXPECT_EQ(GetDevice(kDevice).domain(), "domains/blocked");
  kubelet_.DeletePod("a");
  AwaitHealthy();
}

TEST_F(RestartTest, KnowsEveryAllocationAgainWhenItIsStartedAnew) {
  const auto a = Add("a", kDevice);
  FillMemory(**Inside(a), "still here");
  plugin_.reset();
  EXPECT_EQ(ReadByDevice(**Inside(a), kDevice, 10), "still here") << "nobody needs it to run";
  StartPlugin();
  EXPECT_TRUE(IsHealthy(kDevice));
  EXPECT_EQ(ReadByDevice(**Inside(a), kDevice, 10), "still here");
  const auto again = kubelet_.StartContainer("a");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(GetDevice(kDevice).claimed_by(), NameOf(a));
  EXPECT_EQ(ReadByDevice(**Inside(*again), kDevice, 10), std::nullopt);
  kubelet_.DeletePod("a");
  EXPECT_TRUE(Soon([this] { return Allocations().empty(); }));
}

TEST_F(RestartTest, LetsTwoPluginsWorkBesideEachOtherWhileOneIsReplaced) {
  const auto a = Add("a", kDevice);
  FillMemory(**Inside(a), "of the old");
  const int before = kubelet_.registrations(kNear);
  auto newer = NewPlugin();
  ASSERT_TRUE(Soon([&] { return kubelet_.registrations(kNear) > before; }));
  AwaitHealthy();
  // The newer one gives devices, while the older one still compares allocations with pods.
  for (int i = 0; i < 10; ++i) {
    const auto b = Add("b", kOther);
    FillMemory(**Inside(b), "of the new");
    absl::SleepFor(absl::Milliseconds(100));
    EXPECT_EQ(ReadByDevice(**Inside(b), kOther, 10), "of the new") << Log();
    kubelet_.DeletePod("b");
  }
  EXPECT_EQ(ReadByDevice(**Inside(a), kDevice, 10), "of the old");
  plugin_ = std::move(newer);
  EXPECT_EQ(ReadByDevice(**Inside(a), kDevice, 10), "of the old");
  kubelet_.DeletePod("a");
  EXPECT_TRUE(Soon([this] { return Allocations().empty(); }));
}

TEST_F(RestartTest, SaysWhatItCanNotFreeAndFreesItWhenItCan) {
  const auto a = Add("a", kDevice);
  SetHealth(kDevice, v1::DEVICE_HEALTH_UNHEALTHY);
  kubelet_.DeletePod("a");
  // Such a device can not be claimed, not even for the plugin.
  EXPECT_TRUE(Soon([this] { return plugin_->Metric("leaked_allocations") == 1; })) << Log();
  EXPECT_THAT(Log(),
              HasSubstr(absl::StrCat(R"("event":"allocation_leaked","allocation":")", NameOf(a))));
  EXPECT_EQ(GetDevice(kDevice).domain(), "domains/blocked") << "what could be taken is taken";
  EXPECT_FALSE(std::filesystem::exists(a.mounts(0).host_path()));
  SetHealth(kDevice, v1::DEVICE_HEALTH_HEALTHY);
  EXPECT_TRUE(Soon([this] { return Allocations().empty(); })) << Log();
  EXPECT_TRUE(Soon([this] { return plugin_->Metric("leaked_allocations") == 0; }));
}

TEST_F(RestartTest, TakesAViommudThatHangsForOneThatIsAway) {
  DevicePlugin::Options options = Options();
  options.viommud_timeout = absl::Seconds(3);
  StartPlugin(Config(), options);
  Add("a", kDevice);
  viommud_->Signal(SIGSTOP);
  kubelet_.DeletePod("a");
  ASSERT_TRUE(Soon([this] { return kubelet_.HealthyDevices(kNear).empty(); })) << Log();
  viommud_->Signal(SIGCONT);
  AwaitHealthy();
  EXPECT_TRUE(Soon([this] { return Allocations().empty(); })) << Log();
}

TEST_F(RestartTest, RunsAsAProgram) {
  plugin_.reset();
  const int before = kubelet_.registrations(kNear);
  ChildProcess program(
      "clients/device_plugin/viommu-device-plugin",
      {"--config=" + Path("plugin.textproto"), "--viommud_socket=" + Path("viommud.sock"),
       "--device_plugin_dir=" + Path("plugins"), "--pod_resources_dir=" + Path("pods"),
       "--metrics_address=127.0.0.1:0", "--health_address=127.0.0.1:0"},
      Path("plugin.log"));
  ASSERT_TRUE(Soon([&] { return kubelet_.registrations(kNear) > before; })) << Log();
  AwaitHealthy();
  EXPECT_TRUE(Soon([this] { return Probe("readiness") == HealthCheckResponse::SERVING; }));
  EXPECT_EQ(Probe("liveness"), HealthCheckResponse::SERVING);
  kubelet_.Stop();
  EXPECT_TRUE(Soon([this] { return Probe("readiness") == HealthCheckResponse::NOT_SERVING; }));
  EXPECT_EQ(Probe("liveness"), HealthCheckResponse::SERVING) << "to start it anew would not help";
  kubelet_.Start();
  AwaitHealthy();
  const auto a = Add("a", kDevice);
  FillMemory(**Inside(a), "by the program");
  EXPECT_EQ(ReadByDevice(**Inside(a), kDevice, 14), "by the program");
  program.Signal(SIGTERM);
  EXPECT_EQ(program.Wait(), 0);
  EXPECT_EQ(ReadByDevice(**Inside(a), kDevice, 14), "by the program") << "allocations stay";
  EXPECT_THAT(Log(), HasSubstr(R"("event":"stop")"));
  ChildProcess refused("clients/device_plugin/viommu-device-plugin", {"--mode=hard"},
                       Path("plugin.log"));
  EXPECT_EQ(refused.Wait(), 2);
  EXPECT_THAT(Log(), HasSubstr("--mode: \"hard\" is none of soft, cdev\n"
                               "  resources: at least one is needed"));
}

}  // namespace
}  // namespace viommu
