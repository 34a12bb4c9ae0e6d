// What a container gets, and what it can not reach.
#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "clients/demo/http_get.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/device_plugin/plugin_fixture.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/domain.grpc.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/listener.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"

namespace viommu {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kDevice[] = "0000:01:00.0";

class AllocationTest : public PluginTest {
 protected:
  explicit AllocationTest(std::vector<std::string> flags = {"--metrics_address="})
      : PluginTest(std::move(flags)) {
    StartPlugin();
  }

  KubeletDouble::Container Add(const std::string& pod, const std::set<std::string>& devices,
                               const std::string& resource = kNear) {
    auto container = kubelet_.AddPodWith(pod, resource, devices);
    EXPECT_TRUE(container.ok()) << container.status() << Log();
    return container.value_or(KubeletDouble::Container());
  }
  static std::string Variable(const KubeletDouble::Container& container, const std::string& name) {
    return container.envs().at("VIOMMU_" + name);
  }
  std::unique_ptr<Client> Enter(const KubeletDouble::Container& container) {
    auto client = Inside(container);
    EXPECT_TRUE(client.ok()) << client.status();
    return client.ok() ? *std::move(client) : nullptr;
  }
  std::string Refusal(const std::string& resource, const std::vector<std::string>& devices) {
    ::v1beta1::AllocateRequest request;
    auto& container = *request.add_container_requests();
    for (const std::string& id : devices) container.add_devices_ids(id);
    grpc::ClientContext context;
    ::v1beta1::AllocateResponse response;
    const grpc::Status status = kubelet_.Plugin(resource)->Allocate(&context, request, &response);
    return absl::StrCat(status.error_code(), " ", status.error_message());
  }
};

TEST_F(AllocationTest, GivesAContainerItsDeviceAttached) {
  const auto container = Add("a", {kDevice});
  EXPECT_EQ(Variable(container, "NEAR_DEVICES"), absl::StrCat("devices/", kDevice));
  EXPECT_EQ(Variable(container, "NEAR_IOAS"), "ioas/main");
  EXPECT_EQ(Variable(container, "NEAR_DOMAINS"), "domains/main0");
  EXPECT_EQ(Variable(container, "NEAR_SOCKET"), "/run/viommu/near/viommu.sock");
  EXPECT_EQ(container.mounts(0).container_path(), "/run/viommu/near");
  EXPECT_TRUE(container.mounts(0).read_only());
  EXPECT_THAT(container.devices(), IsEmpty());
  EXPECT_EQ(GetDevice(kDevice).claimed_by(), Variable(container, "NEAR_ALLOCATION"));

  const auto inside = Enter(container);
  FillMemory(*inside, "secret of a");
  EXPECT_EQ(ReadByDevice(*inside, kDevice, 11), "secret of a");
}

TEST_F(AllocationTest, ShowsAContainerItsOwnObjectsAlone) {
  const auto a = Add("a", {kDevice});
  const auto b = Add("b", {"0000:03:00.0"});
  FillMemory(*Enter(a), "secret of a");
  const auto inside = Enter(b);
  const auto regions =
      inside->Call(&v1::MemoryService::Stub::ListMemoryRegions, v1::ListMemoryRegionsRequest());
  ASSERT_TRUE(regions.ok()) << regions.status();
  EXPECT_THAT(regions->memory_regions(), IsEmpty());
  const auto spaces = inside->Call(&v1::IoasService::Stub::ListIoas, v1::ListIoasRequest());
  ASSERT_TRUE(spaces.ok());
  EXPECT_THAT(spaces->ioas(), SizeIs(1));
  // Neither a's device nor one that is idle.
  for (const char* id : {kDevice, "0000:02:00.0"}) {
    v1::AttachDeviceRequest attach;
    attach.set_name(absl::StrCat("devices/", id));
    attach.set_domain("domains/main0");
    EXPECT_FALSE(inside->Call(&v1::DeviceService::Stub::AttachDevice, attach).ok());
    v1::ClaimDeviceRequest claim;
    claim.set_name(absl::StrCat("devices/", id));
    EXPECT_EQ(inside->Call(&v1::DeviceService::Stub::ClaimDevice, claim).status().code(),
              absl::StatusCode::kPermissionDenied);
  }
}

TEST_F(AllocationTest, KeepsPodBFromTheMemoryOfPodA) {
  const auto a = Add("a", {kDevice});
  const auto inside_a = Enter(a);
  FillMemory(*inside_a, "secret of a");
  ASSERT_EQ(ReadByDevice(*inside_a, kDevice, 11), "secret of a");
  // No grace period is over: the kubelet knows that a is gone, and nobody else does.
  kubelet_.DeletePod("a");
  const auto b = Add("b", {kDevice});
  EXPECT_NE(Variable(a, "NEAR_ALLOCATION"), Variable(b, "NEAR_ALLOCATION"));
  const auto inside_b = Enter(b);
  EXPECT_EQ(ReadByDevice(*inside_b, kDevice, 11), std::nullopt);
  const auto regions =
      inside_b->Call(&v1::MemoryService::Stub::ListMemoryRegions, v1::ListMemoryRegionsRequest());
  EXPECT_THAT(regions->memory_regions(), IsEmpty());
  // a's process may linger: its connection is cut, and there is no way in any more.
  EXPECT_FALSE(inside_a->Call(&v1::IoasService::Stub::ListIoas, v1::ListIoasRequest()).ok());
  EXPECT_FALSE(Inside(a, absl::Seconds(1)).ok());
  EXPECT_FALSE(std::filesystem::exists(a.mounts(0).host_path()));
  FillMemory(*inside_b, "secret of b");
  EXPECT_EQ(ReadByDevice(*inside_b, kDevice, 11), "secret of b");
}

TEST_F(AllocationTest, RefusesADeviceWhoseSiblingAnotherContainerHas) {
  const auto a = Add("a", {"0000:02:00.0"});
  EXPECT_THAT(Refusal(kNear, {"0000:02:00.1"}),
              HasSubstr(absl::StrCat("9 SIBLING_ALLOCATED: 0000:02:00.1 is of one group with "
                                     "0000:02:00.0, which ",
                                     Variable(a, "NEAR_ALLOCATION"), " has")));
  FillMemory(*Enter(a), "untouched");
  EXPECT_EQ(ReadByDevice(*Enter(a), "0000:02:00.0", 9), "untouched");
  // The choice avoids it, as long as there is another.
  const auto b = kubelet_.AddPod("b", kNear, 1);
  ASSERT_TRUE(b.ok()) << b.status();
  EXPECT_EQ(kubelet_.DevicesOf("b").count("0000:02:00.1"), 0u);
}

TEST_F(AllocationTest, GivesBothSiblingsToOneContainer) {
  const auto pair = kubelet_.AddPod("a", kNear, 2);
  ASSERT_TRUE(pair.ok()) << pair.status() << Log();
  EXPECT_EQ(kubelet_.DevicesOf("a"), (std::set<std::string>{"0000:02:00.0", "0000:02:00.1"}));
  FillMemory(*Enter(*pair), "both");
  for (const std::string& id : kubelet_.DevicesOf("a")) {
    EXPECT_EQ(ReadByDevice(*Enter(*pair), id, 4), "both") << id;
  }
  // One of them again, for another container: the first is gone, whatever is left of it.
  kubelet_.DeletePod("a");
  const auto b = Add("b", {"0000:02:00.1"});
  EXPECT_EQ(ReadByDevice(*Enter(b), "0000:02:00.1", 4), std::nullopt);
  // The group is where its member is.
  EXPECT_EQ(GetDevice("0000:02:00.0").domain(),
            absl::StrCat("owners/", Variable(b, "NEAR_ALLOCATION"), "/domains/main0"));
}

TEST_F(AllocationTest, RefusesWhatNoKubeletWouldAskFor) {
  const size_t before = Leftovers();
  EXPECT_THAT(Refusal(kNear, {}), HasSubstr("3 NO_DEVICES"));
  EXPECT_THAT(Refusal(kNear, {"nothing"}), HasSubstr("5 UNKNOWN_DEVICE: \"nothing\""));
  EXPECT_THAT(Refusal(kNear, {""}), HasSubstr("5 UNKNOWN_DEVICE"));
  EXPECT_THAT(Refusal(kNear, {"0000:81:00.0"}), HasSubstr("is no device of viommu.dev/near"));
  EXPECT_THAT(Refusal(kNear, {kDevice, kDevice}), HasSubstr("3 DEVICE_TWICE"));
  EXPECT_THAT(Refusal(kNear, {kDevice, "0000:00:02.0"}), HasSubstr("DIRECT_REGION"));
  EXPECT_THAT(Allocations(), IsEmpty());
  EXPECT_EQ(Leftovers(), before);
  EXPECT_EQ(GetDevice(kDevice).domain(), "domains/blocked");
  EXPECT_EQ(GetDevice(kDevice).claimed_by(), "device-plugin");

  ::v1beta1::PreStartContainerRequest start;
  start.add_devices_ids(kDevice);
  ::v1beta1::PreStartContainerResponse response;
  grpc::ClientContext context;
  const grpc::Status status = kubelet_.Plugin(kNear)->PreStartContainer(&context, start, &response);
  EXPECT_THAT(status.error_message(), HasSubstr("NOT_ALLOCATED"));
}

TEST_F(AllocationTest, GivesAllContainersOfARequestTheirDevicesOrNone) {
  ::v1beta1::AllocateRequest request;
  request.add_container_requests()->add_devices_ids(kDevice);
  request.add_container_requests()->add_devices_ids("0000:03:00.0");
  ::v1beta1::AllocateResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(kubelet_.Plugin(kNear)->Allocate(&context, request, &response).ok());
  EXPECT_EQ(response.container_responses_size(), 2);
  EXPECT_THAT(Allocations(), SizeIs(2));
  request.mutable_container_requests(1)->set_devices_ids(0, "nothing");
  grpc::ClientContext again;
  EXPECT_FALSE(kubelet_.Plugin(kNear)->Allocate(&again, request, &response).ok());
  EXPECT_EQ(GetDevice(kDevice).claimed_by(), "device-plugin");
}

TEST_F(AllocationTest, RefusesADeviceThatIsSick) {
  SetHealth(kDevice, v1::DEVICE_HEALTH_UNHEALTHY);
  EXPECT_THAT(Refusal(kNear, {kDevice}), HasSubstr("9 DEVICE_UNHEALTHY: 0000:01:00.0: too hot"));
  EXPECT_THAT(Allocations(), IsEmpty());
}

TEST_F(AllocationTest, RefusesADeviceThatSomebodyElseHas) {
  v1::ClaimDeviceRequest claim;
  claim.set_name(absl::StrCat("devices/", kDevice));
  claim.set_owner("vm7");
  claim.set_from_owner("device-plugin");
  ASSERT_TRUE(viommud().Call(&v1::DeviceService::Stub::ClaimDevice, claim).ok());
  const size_t before = Leftovers();
  EXPECT_THAT(Refusal(kNear, {"0000:03:00.0", kDevice}),
              HasSubstr("9 CLAIMED_ELSEWHERE: 0000:01:00.0: vm7 has it"));
  EXPECT_EQ(GetDevice(kDevice).claimed_by(), "vm7");
  EXPECT_EQ(GetDevice("0000:03:00.0").claimed_by(), "device-plugin");
  EXPECT_EQ(Leftovers(), before);
}

TEST_F(AllocationTest, GivesNoDeviceBeforeAllOfAnEarlierAllocationIsDestroyed) {
  const auto a = Add("a", {kDevice});
  FillMemory(*Enter(a), "secret of a");
  // An operator looks into a's memory.
  v1::CreateIoasRequest ioas;
  ioas.set_ioas_id("look");
  ASSERT_TRUE(viommud().Call(&v1::IoasService::Stub::CreateIoas, ioas).ok());
  v1::MapRequest map;
  map.set_name("ioas/look");
  map.add_mappings()->set_length(kPage);
  map.mutable_mappings(0)->set_iova(kIova);
  const std::string ram =
      absl::StrCat("owners/", Variable(a, "NEAR_ALLOCATION"), "/memoryRegions/ram");
  map.mutable_mappings(0)->set_memory_region(ram);
  const auto mapped = viommud().Call(&v1::IoasService::Stub::Map, map);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  kubelet_.DeletePod("a");
  EXPECT_THAT(Refusal(kNear, {kDevice}), HasSubstr("9 LEFTOVERS: alloc-"));
  EXPECT_THAT(Refusal(kNear, {kDevice}), HasSubstr(ram));
  EXPECT_EQ(GetDevice(kDevice).domain(), "domains/blocked");
  v1::DeleteIoasRequest deletion;
  deletion.set_name("ioas/look");
  const auto deleted = viommud().Call(&v1::IoasService::Stub::DeleteIoas, deletion);
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  const auto b = Add("b", {kDevice});
  EXPECT_EQ(ReadByDevice(*Enter(b), kDevice, 11), std::nullopt);
}

TEST_F(AllocationTest, GivesADeviceOfAnAllocationThatLostItsPage) {
  const auto a = Add("a", {"0000:02:00.0"});
  FillMemory(*Enter(a), "secret of a");
  v1::DeleteIoasRequest page;
  page.set_name(absl::StrCat("ioas/", Variable(a, "NEAR_ALLOCATION")));
  ASSERT_TRUE(viommud().Call(&v1::IoasService::Stub::DeleteIoas, page).ok());
  kubelet_.DeletePod("a");
  // Its claim, of the whole group, is all that tells of it.
  const auto b = Add("b", {"0000:02:00.1"});
  EXPECT_EQ(ReadByDevice(*Enter(b), "0000:02:00.1", 11), std::nullopt);
  EXPECT_FALSE(Inside(a, absl::Seconds(1)).ok());
  EXPECT_THAT(Allocations(), SizeIs(1));
}

TEST_F(AllocationTest, StartsAContainerWithAllDevicesOfItsAllocationAlone) {
  const auto a = Add("a", {kDevice, "0000:03:00.0"});
  const auto b = Add("b", {"0000:02:00.0"});
  FillMemory(*Enter(a), "in use");
  const std::vector<std::string> wrong[] = {{kDevice},
                                            {kDevice, "0000:02:00.0"},
                                            {kDevice, "0000:03:00.0", "0000:02:00.0"},
                                            {"0000:02:00.1"}};
  for (const auto& devices : wrong) {
    ::v1beta1::PreStartContainerRequest start;
    for (const std::string& id : devices) start.add_devices_ids(id);
    ::v1beta1::PreStartContainerResponse response;
    grpc::ClientContext context;
    const grpc::Status status =
        kubelet_.Plugin(kNear)->PreStartContainer(&context, start, &response);
    EXPECT_THAT(status.error_message(), HasSubstr("NOT_ALLOCATED")) << devices.front();
  }
  EXPECT_EQ(ReadByDevice(*Enter(a), kDevice, 6), "in use");
}

TEST_F(AllocationTest, GivesADeviceWhoseFormerCompanionIsSick) {
  const auto a = Add("a", {kDevice, "0000:03:00.0"});
  FillMemory(*Enter(a), "secret of a");
  SetHealth(kDevice, v1::DEVICE_HEALTH_UNHEALTHY);
  kubelet_.DeletePod("a");
  const auto b = Add("b", {"0000:03:00.0"});
  FillMemory(*Enter(b), "of b");
  const auto again = kubelet_.StartContainer("b");
  ASSERT_TRUE(again.ok()) << again.status();
  FillMemory(*Enter(b), "of b");
  EXPECT_EQ(ReadByDevice(*Enter(b), "0000:03:00.0", 4), "of b");
  EXPECT_EQ(GetDevice(kDevice).domain(), "domains/blocked");
  SetHealth(kDevice, v1::DEVICE_HEALTH_HEALTHY);
  EXPECT_TRUE(Soon([this] { return GetDevice(kDevice).claimed_by() == "device-plugin"; })) << Log();
  EXPECT_EQ(ReadByDevice(*Enter(b), "0000:03:00.0", 4), "of b");
}

TEST_F(AllocationTest, SaysWhyADeviceCanNotBeTakenFromAnEarlierAllocation) {
  Add("a", {"0000:02:00.0", "0000:02:00.1"});
  SetHealth("0000:02:00.0", v1::DEVICE_HEALTH_UNHEALTHY);
  kubelet_.DeletePod("a");
  EXPECT_THAT(Refusal(kNear, {"0000:02:00.1"}), HasSubstr("9 DEVICE_UNHEALTHY"));
  EXPECT_EQ(GetDevice("0000:02:00.1").domain(), "domains/blocked");
}

TEST_F(AllocationTest, DoesNothingForAKubeletThatHasGivenUp) {
  const auto a = Add("a", {kDevice});
  Add("b", {"0000:03:00.0"});
  FillMemory(*Enter(a), "in use");
  const double begun = plugin_->Begun("PreStartContainer");
  viommud_->Signal(SIGSTOP);
  // It has the turn, and waits for viommud.
  std::thread first([this] { kubelet_.StartContainer("b").IgnoreError(); });
  EXPECT_TRUE(Soon([&] { return plugin_->Begun("PreStartContainer") > begun; }));
  absl::SleepFor(absl::Milliseconds(300));
  // Its turn comes when nobody waits for it any more.
  ::v1beta1::PreStartContainerRequest start;
  start.add_devices_ids(kDevice);
  ::v1beta1::PreStartContainerResponse response;
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(300)));
  EXPECT_EQ(kubelet_.Plugin(kNear)->PreStartContainer(&context, start, &response).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  viommud_->Signal(SIGCONT);
  first.join();
  EXPECT_TRUE(Soon([this] {
    return plugin_->Metric("renewals_total", kNear, "ok") +
               plugin_->Metric("renewals_total", kNear, "error") ==
           4;
  }));
  EXPECT_EQ(ReadByDevice(*Enter(a), kDevice, 6), "in use") << Log();
  EXPECT_THAT(Log(), HasSubstr("GIVEN_UP"));
}

TEST_F(AllocationTest, RefusesWhatViommudForgotWhileItWasMade) {
  PluginConfig config = Config();
  config.listener_dir = Path("seen");
  plugin_.reset();
  plugin_ = NewPlugin(config, Options());
  AwaitHealthy();
  const auto made = [this]() -> std::string {
    for (const auto& entry : std::filesystem::directory_iterator(Path("listeners"))) {
      std::string name = entry.path().filename();
      if (absl::StartsWith(name, "alloc-")) return name;
    }
    return "";
  };
  std::string refusal = "14 ";
  // The plugin waits for the socket that long only; on a busy machine that may be too short.
  for (int i = 0; i < 10 && absl::StartsWith(refusal, "14 "); ++i) {
    std::filesystem::remove(Path("seen"));
    std::thread asking([this, &refusal] { refusal = Refusal(kNear, {kDevice}); });
    EXPECT_TRUE(Soon([&made] { return !made().empty(); }));
    v1::DeleteIoasRequest page;
    page.set_name(absl::StrCat("ioas/", made()));
    EXPECT_TRUE(viommud().Call(&v1::IoasService::Stub::DeleteIoas, page).ok());
    std::filesystem::create_directory_symlink(Path("listeners"), Path("seen"));
    asking.join();
  }
  EXPECT_THAT(refusal, HasSubstr("9 STATE_LOST: viommud was started anew while alloc-"));
  EXPECT_THAT(Allocations(), IsEmpty());
  EXPECT_EQ(GetDevice(kDevice).domain(), "domains/blocked");
}

TEST_F(AllocationTest, UndoesAllOfItWhenADeviceHasNoNode) {
  PluginConfig config = Config();
  config.device_nodes = true;
  config.sysfs_dir = Path("no sysfs");
  StartPlugin(config, Options());
  const size_t before = Leftovers();
  EXPECT_THAT(Refusal(kNear, {kDevice}), HasSubstr("9 NO_VFIO_NODE: 0000:01:00.0"));
  EXPECT_EQ(Leftovers(), before);
  EXPECT_EQ(GetDevice(kDevice).claimed_by(), "device-plugin");
}

TEST_F(AllocationTest, UndoesAllOfItWhenTheSocketCanNotBeReached) {
  PluginConfig config = Config();
  config.listener_dir = Path("elsewhere");
  StartPlugin(config, Options());
  const size_t before = Leftovers();
  EXPECT_THAT(Refusal(kNear, {kDevice}), HasSubstr("14 "));
  EXPECT_EQ(Leftovers(), before);
  EXPECT_EQ(GetDevice(kDevice).domain(), "domains/blocked");
  EXPECT_EQ(plugin_->Metric("allocations_total", kNear, "error"), 1);
}

TEST_F(AllocationTest, MakesAsManyDomainsAsTheUnitsNeed) {
  PluginConfig config = Config();
  config.resources.resize(1);
  config.resources[0].selector.clear_iommu();
  ReplacePlugin(config, Options());
  ASSERT_TRUE(Soon([this] { return kubelet_.HealthyDevices(kNear).size() == 7; }));
  const auto container = Add("a", {kDevice, "0000:03:00.0", "0001:01:00.0"});
  EXPECT_EQ(Variable(container, "NEAR_DOMAINS"), "domains/main0,domains/main1");
  FillMemory(*Enter(container), "same");
  for (const char* id : {kDevice, "0000:03:00.0", "0001:01:00.0"}) {
    EXPECT_EQ(ReadByDevice(*Enter(container), id, 4), "same") << id;
  }
}

TEST_F(AllocationTest, MakesTheDomainThatTheResourceAsksFor) {
  const auto container = Add("a", {"0000:81:00.0"}, kPasid);
  v1::GetDomainRequest request;
  request.set_name("domains/main0");
  const auto domain = Enter(container)->Call(&v1::DomainService::Stub::GetDomain, request);
  ASSERT_TRUE(domain.ok()) << domain.status();
  EXPECT_TRUE(domain->paging().pasid());
}

TEST_F(AllocationTest, StartsAContainerAnewWithNothingOfItsFormerLife) {
  const auto container = Add("a", {kDevice});
  const auto inside = Enter(container);
  FillMemory(*inside, "former life");
  const auto again = kubelet_.StartContainer("a");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->mounts(0).host_path(), container.mounts(0).host_path());
  v1::GetListenerRequest listener;
  listener.set_name("listeners/" + Variable(container, "NEAR_ALLOCATION"));
  EXPECT_TRUE(Soon([&] {
    return viommud().Call(&v1::ListenerService::Stub::GetListener, listener)->connections() == 0;
  })) << "whoever is left of the former container is cut";
  const auto anew = Enter(*again);
  EXPECT_EQ(ReadByDevice(*anew, kDevice, 6), std::nullopt);
  FillMemory(*anew, "new life");
  EXPECT_EQ(ReadByDevice(*anew, kDevice, 8), "new life");
  EXPECT_EQ(plugin_->Metric("renewals_total", kNear, "ok"), 2);
}

TEST_F(AllocationTest, MendsWhatAContainerHasBrokenForItself) {
  const auto container = Add("a", {kDevice});
  const auto inside = Enter(container);
  v1::DetachDeviceRequest detach;
  detach.set_name(absl::StrCat("devices/", kDevice));
  ASSERT_TRUE(inside->Call(&v1::DeviceService::Stub::DetachDevice, detach).ok());
  v1::DeleteDomainRequest domain;
  domain.set_name("domains/main0");
  ASSERT_TRUE(inside->Call(&v1::DomainService::Stub::DeleteDomain, domain).ok());
  const auto again = kubelet_.StartContainer("a");
  ASSERT_TRUE(again.ok()) << again.status();
  FillMemory(*Enter(*again), "mended");
  EXPECT_EQ(ReadByDevice(*Enter(*again), kDevice, 6), "mended");
}

// Over a viommud that counts calls.
class CountedAllocationTest : public AllocationTest {
 protected:
  CountedAllocationTest() : AllocationTest({"--metrics_address=127.0.0.1:0"}) {}

  // Successful ones. -1: there is no such series.
  double Calls(const std::string& method) {
    std::ifstream file(Path("state/endpoints.json"));
    const std::string json((std::istreambuf_iterator<char>(file)), {});
    const std::string key = "\"metrics_address\":\"";
    const size_t from = json.find(key) + key.size();
    const auto page = HttpGet(json.substr(from, json.find('"', from) - from), "/metrics");
    if (!page.ok()) return -1;
    for (const absl::string_view line : absl::StrSplit(*page, '\n')) {
      double count = -1;
      const bool is_it = absl::StartsWith(line, "grpc_server_handled_total{") &&
                         absl::StrContains(line, absl::StrCat("\"", method, "\"")) &&
                         absl::StrContains(line, "grpc_code=\"OK\"");
      if (is_it && absl::SimpleAtod(line.substr(line.rfind(' ') + 1), &count)) return count;
    }
    return -1;
  }
};

TEST_F(CountedAllocationTest, GivesAlsoTheSiblingAsNewThatTheGroupBringsAlong) {
  Add("one", {"0000:02:00.1"});
  EXPECT_EQ(Calls("ResetDevice"), 4) << "what a former container told 0000:02:00.0 reaches it, too";
  EXPECT_EQ(Calls("AttachDevice"), 2);
}

TEST_F(CountedAllocationTest, GivesDevicesAsNew) {
  Add("both", {"0000:02:00.0", "0000:02:00.1"});
  EXPECT_EQ(Calls("ResetDevice"), 4) << "each, by Allocate and before its container starts";
  EXPECT_EQ(Calls("AttachDevice"), 4);
}

TEST_F(AllocationTest, LeaksNothingInAHundredCycles) {
  const size_t before = Leftovers();
  for (int i = 0; i < 100; ++i) {
    const auto container = kubelet_.AddPod("pod", kNear, 1 + i % 3);
    ASSERT_TRUE(container.ok()) << i << ": " << container.status() << Log();
    if (i % 10 == 0) FillMemory(*Enter(*container), "x");
    kubelet_.DeletePod("pod");
  }
  // What the last ones left, no pod has.
  EXPECT_TRUE(Soon([this] { return Allocations().empty(); })) << Log();
  EXPECT_EQ(Leftovers(), before);
  EXPECT_EQ(plugin_->Metric("leaked_allocations"), 0);
  EXPECT_EQ(plugin_->Metric("allocations_total", kNear, "ok"), 100);
  EXPECT_EQ(kubelet_.HealthyDevices(kNear).size(), 4u);
}

TEST_F(AllocationTest, KeepsTheHostAwayWhileAClaimMoves) {
  std::atomic<bool> ended{false};
  int looks = 0;
  std::thread watcher([this, &ended, &looks] {
    auto client = Client::Connect("unix:" + Path("viommud.sock"));
    v1::GetDeviceRequest request;
    request.set_name(absl::StrCat("devices/", kDevice));
    while (!ended) {
      const auto device = (*client)->Call(&v1::DeviceService::Stub::GetDevice, request);
      EXPECT_EQ(device->ownership(), v1::DEVICE_OWNERSHIP_CLAIMED);
      ++looks;
      absl::SleepFor(absl::Microseconds(200));
    }
  });
  for (int i = 0; i < 10; ++i) {
    Add("a", {kDevice});
    kubelet_.DeletePod("a");
  }
  ended = true;
  watcher.join();
  EXPECT_GT(looks, 10);
}

}  // namespace
}  // namespace viommu
