// Devices that are taken out and put in again, and those who watch it.
#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "engine/plug_fixture.h"
#include "engine/watch_mirror.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

class PlugDeviceTest : public PlugTest {
 protected:
  // Listings, what the backend holds, and what owners are charged for.
  std::string All() {
    return Listed(*engine_, operator_) + simulated_.State() + UsageOf(operator_);
  }

  std::vector<std::string> Effects(size_t from) {
    const std::vector<std::string> log = simulated_.log();
    return {log.begin() + static_cast<std::ptrdiff_t>(from), log.end()};
  }

  // A hook that refuses the nth of all effects from now on, and those after it if `all`.
  void Refuse(int nth, bool all) {
    auto left = std::make_shared<std::atomic<int>>(nth);
    simulated_.SetHook([=](const std::string& verb) {
      const int now = --*left;
      if (now > 0 || (now < 0 && !all)) return absl::OkStatus();
      return absl::Status(Error(absl::StatusCode::kInternal, "TEST", verb));
    });
  }

  void AttachDev0() {
    SetUpAlice();
    ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x1000, 0x1000)).ok());
    ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("d")).ok());
  }
};

TEST_F(PlugDeviceTest, TakesADeviceOutWhileItIsAttachedBlockingItFirst) {
  AttachDev0();
  const auto watch = *engine_->OpenWatch(bob_, {{WatchKind::kDevice}, std::nullopt});
  WatchMirror mirror;
  ASSERT_TRUE(mirror.Drain(*watch).ok());
  const Uid uid = engine_->GetDevice(alice_, "dev0")->uid;
  const size_t effects = simulated_.log().size();
  ASSERT_TRUE(engine_->UnplugDevice(operator_, "dev0").ok());
  EXPECT_EQ(Effects(effects).front(), "Block 0");

  EXPECT_EQ(Described(engine_->GetDevice(operator_, "dev0").status()),
            "NOT_FOUND DEVICE_NOT_FOUND");
  EXPECT_EQ(Described(engine_->AttachDevice(alice_, "dev0", Ref("d")).status()),
            "NOT_FOUND DEVICE_NOT_FOUND");
  EXPECT_EQ(Described(engine_->UnplugDevice(operator_, "dev0")), "NOT_FOUND DEVICE_NOT_FOUND");
  EXPECT_EQ(engine_->ListDevices(operator_, {})->items.size(), 5u);
  EXPECT_TRUE(engine_->ListAttachments(operator_, "", {})->items.empty());
  EXPECT_TRUE(engine_->GetDomain(alice_, Ref("d"))->attached_devices.empty());
  EXPECT_EQ(engine_->Stats().claimed_devices, 0u);
  for (const auto& [kind, count] : engine_->Stats().objects) {
    if (kind == "device") {
      EXPECT_EQ(count, 5u);
    }
  }
  for (const IommuView& iommu : ItemsOf(engine_->ListIommus(operator_, {}))) {
    for (const std::string& name : iommu.devices) EXPECT_NE(name, "devices/dev0");
  }

  WatchEvent event;
  ASSERT_TRUE(*watch->Next(absl::Seconds(10), &event));
  const auto gone = std::get<DeletedObject>(event.body);
  EXPECT_EQ(gone.id + " " + gone.reason, "dev0 UNPLUGGED");
  EXPECT_EQ(gone.uid, uid);

  // What it held is free, the rest is there.
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("d"), "").ok());
  EXPECT_EQ(engine_->GetIoas(alice_, Ref("as"))->mapping_count, 1u);
  const auto ranges = engine_->ListIovaRanges(alice_, Ref("as"));
  EXPECT_EQ(ranges->size(), 1u) << "the MSI window is not reserved any more";
}

TEST_F(PlugDeviceTest, PutsItInAgainAsANewOneOfTheHost) {
  AttachDev0();
  const DeviceView before = *engine_->GetDevice(operator_, "dev0");
  ASSERT_TRUE(engine_->SetDeviceHealth(operator_, "dev0", DeviceHealth::kUnhealthy, "hot").ok());
  ASSERT_TRUE(engine_->UnplugDevice(operator_, "dev0").ok());
  const auto plugged = engine_->PlugDevice(operator_, "dev0");
  ASSERT_TRUE(plugged.ok()) << plugged.status();
  EXPECT_NE(plugged->uid, before.uid);
  EXPECT_EQ(plugged->ownership, DeviceOwnership::kHost);
  EXPECT_FALSE(plugged->attached);
  EXPECT_EQ(plugged->health, DeviceHealth::kHealthy);
  EXPECT_EQ(plugged->revision, engine_->GetHost().revision);
  EXPECT_EQ(engine_->GetDevice(operator_, "dev0")->etag, plugged->etag);
  EXPECT_EQ(simulated_.log().back(), "Unblock 0");
  EXPECT_EQ(Described(engine_->PlugDevice(operator_, "dev0").status()),
            "ALREADY_EXISTS DEVICE_PRESENT");
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev0", "").ok());
  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("d")).ok());
}

TEST_F(PlugDeviceTest, LeavesTheRestOfItsGroupWhereItIs) {
  SetUpAlice();
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev1", "").ok());
  ASSERT_TRUE(engine_->CreateDomain(alice_, "d2", PagingDomainRequest{Ref("as"), "dev1"}).ok());
  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev1", Ref("d2")).ok());
  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev2", Ref("d2")).ok());
  const size_t effects = simulated_.log().size();
  ASSERT_TRUE(engine_->UnplugDevice(operator_, "dev1").ok());
  EXPECT_EQ(Effects(effects), std::vector<std::string>{"Block 1"});
  const DeviceView sibling = *engine_->GetDevice(alice_, "dev2");
  EXPECT_TRUE(sibling.attached);
  EXPECT_EQ(sibling.claimed_by, "alice");
  EXPECT_TRUE(sibling.group_members.empty());
  EXPECT_EQ(engine_->GetDomain(alice_, Ref("d2"))->attached_devices,
            std::vector<std::string>{"devices/dev2"});
  // It comes back into the group as that is now.
  const auto plugged = engine_->PlugDevice(operator_, "dev1");
  EXPECT_EQ(plugged->claimed_by, "alice");
  EXPECT_FALSE(plugged->attached);
  EXPECT_EQ(engine_->GetDevice(alice_, "dev2")->group_members,
            std::vector<std::string>{"devices/dev1"});
  // With the last one the claim ends.
  ASSERT_TRUE(engine_->UnplugDevice(operator_, "dev1").ok());
  ASSERT_TRUE(engine_->UnplugDevice(operator_, "dev2").ok());
  EXPECT_EQ(engine_->PlugDevice(operator_, "dev2")->ownership, DeviceOwnership::kHost);
}

TEST_F(PlugDeviceTest, CountsAmongTheClaimedOnlyWhatIsThere) {
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev1", "").ok());
  EXPECT_EQ(engine_->Stats().claimed_devices, 2u);
  ASSERT_TRUE(engine_->UnplugDevice(operator_, "dev2").ok());
  EXPECT_EQ(engine_->Stats().claimed_devices, 1u);
  ASSERT_TRUE(engine_->PlugDevice(operator_, "dev2").ok());
  EXPECT_EQ(engine_->Stats().claimed_devices, 2u);
}

TEST_F(PlugDeviceTest, LeavesLoadedReservedRegionsToBeUnloaded) {
  SetUpAlice();
  const std::vector<IovaRange> usable = *engine_->ListIovaRanges(alice_, Ref("as"));
  ASSERT_TRUE(engine_->LoadReservedRegions(alice_, Ref("as"), "dev5", "").ok());
  ASSERT_TRUE(engine_->UnplugDevice(operator_, "dev5").ok());
  ASSERT_TRUE(engine_->PlugDevice(operator_, "dev5").ok());
  EXPECT_EQ(engine_->GetIoas(alice_, Ref("as"))->loaded_devices,
            std::vector<std::string>{"devices/dev5"});
  EXPECT_NE(*engine_->ListIovaRanges(alice_, Ref("as")), usable);
  ASSERT_TRUE(engine_->UnloadReservedRegions(alice_, Ref("as"), "dev5", "").ok());
  EXPECT_EQ(*engine_->ListIovaRanges(alice_, Ref("as")), usable);
}

TEST_F(PlugDeviceTest, IsForOperatorsAndKnowsItsTopology) {
  EXPECT_EQ(Described(engine_->UnplugDevice(alice_, "dev0")), "PERMISSION_DENIED NOT_OPERATOR");
  ASSERT_TRUE(engine_->UnplugDevice(operator_, "dev0").ok());
  EXPECT_EQ(Described(engine_->PlugDevice(alice_, "dev0").status()),
            "PERMISSION_DENIED NOT_OPERATOR");
  EXPECT_EQ(Described(engine_->PlugDevice(operator_, "none").status()),
            "NOT_FOUND DEVICE_NOT_FOUND");
}

TEST_F(PlugDeviceTest, RefusesWhileOnlyItCouldUnmapWhatTheHostMaps) {
  ASSERT_TRUE(engine_->CreateMemoryRegion(operator_, "ram", 1 << 20, std::nullopt).ok());
  ASSERT_TRUE(
      engine_->HostMap(operator_, "dev1", Ref("ram"), 0, 4096, Permission::kReadWrite).ok());
  ASSERT_TRUE(engine_->UnplugDevice(operator_, "dev1").ok());
  EXPECT_EQ(Described(engine_->UnplugDevice(operator_, "dev2")),
            "FAILED_PRECONDITION HOST_MAPPINGS");
}

TEST_F(PlugDeviceTest, ChangesNothingInADryRunAndRepeatsAnAnswer) {
  AttachDev0();
  const std::string before = All();
  CallContext dry = operator_;
  dry.validate_only = true;
  EXPECT_TRUE(engine_->UnplugDevice(dry, "dev0").ok());
  EXPECT_EQ(All(), before);
  CallContext once = operator_;
  once.request_id = "once";
  once.request_digest = "unplug";
  ASSERT_TRUE(engine_->UnplugDevice(once, "dev0").ok());
  ASSERT_TRUE(engine_->UnplugDevice(once, "dev0").ok());
  const auto foreseen = engine_->PlugDevice(dry, "dev0");
  ASSERT_TRUE(foreseen.ok());
  EXPECT_EQ(foreseen->spec.id, "dev0");
  EXPECT_FALSE(engine_->GetDevice(operator_, "dev0").ok());
}

TEST_F(PlugDeviceTest, ChangesNothingWhenItFailsAnywhere) {
  AttachDev0();
  const std::string before = All();
  int steps = 0;
  for (int nth = 1;; ++nth) {
    Refuse(nth, /*all=*/false);
    if (engine_->UnplugDevice(operator_, "dev0").ok()) break;
    ++steps;
    EXPECT_EQ(All(), before) << nth;
  }
  EXPECT_EQ(steps, 3) << "block, switch, default domain";
  Refuse(1, false);
  EXPECT_FALSE(engine_->PlugDevice(operator_, "dev0").ok());
  EXPECT_FALSE(engine_->GetDevice(operator_, "dev0").ok());
  EXPECT_TRUE(engine_->PlugDevice(operator_, "dev0").ok());
}

TEST_F(PlugDeviceTest, StaysBlockedAndUnhealthyWhenItCanNeitherGoNorStay) {
  // The block fails, the switch, or the default domain; then all that would undo it.
  for (const int nth : {1, 2, 3}) {
    SCOPED_TRACE(nth);
    if (nth == 1) {
      AttachDev0();
    } else {
      ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev0", "").ok());
      ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("d")).ok());
    }
    const auto watch = *engine_->OpenWatch(operator_, {});
    WatchMirror mirror;
    ASSERT_TRUE(mirror.Drain(*watch).ok());
    Refuse(nth, /*all=*/true);
    EXPECT_EQ(Described(engine_->UnplugDevice(operator_, "dev0")), "INTERNAL TEST");
    const DeviceView stuck = *engine_->GetDevice(operator_, "dev0");
    EXPECT_EQ(stuck.health, DeviceHealth::kUnhealthy);
    EXPECT_EQ(stuck.health_cause, HealthReason::kUnplugFailed);
    EXPECT_TRUE(stuck.attached) << "never half there";
    EXPECT_TRUE(absl::StrContains(simulated_.State(), "held 0")) << simulated_.State();
    ASSERT_TRUE(mirror.Drain(*watch).ok());
    EXPECT_EQ(mirror.Text(), Listed(*engine_, operator_));
    Refuse(1, /*all=*/false);  // That caches let go of it, which was blocked before.
    EXPECT_EQ(Described(engine_->UnplugDevice(operator_, "dev0")), "INTERNAL TEST");
    simulated_.SetHook(nullptr);
    ASSERT_TRUE(engine_->UnplugDevice(operator_, "dev0").ok()) << "the third attempt gets through";
    EXPECT_EQ(engine_->PlugDevice(operator_, "dev0")->health, DeviceHealth::kHealthy);
  }
}

TEST_F(PlugDeviceTest, TellsOfHealthWithItsCause) {
  const auto watch = *engine_->OpenWatch(alice_, {{WatchKind::kDevice}, std::nullopt});
  WatchMirror mirror;
  ASSERT_TRUE(mirror.Drain(*watch).ok());
  const auto next = [&] {
    WatchEvent event;
    EXPECT_TRUE(*watch->Next(absl::Seconds(10), &event));
    return std::get<DeviceView>(event.body);
  };
  ASSERT_TRUE(engine_->SetDeviceHealth(operator_, "dev0", DeviceHealth::kUnhealthy, "x").ok());
  EXPECT_EQ(next().health_cause, HealthReason::kInjected);
  ASSERT_TRUE(engine_
                  ->SetDeviceHealth(operator_, "dev0", DeviceHealth::kUnhealthy, "x",
                                    HealthReason::kResetFailed)
                  .ok());
  EXPECT_EQ(next().health_cause, HealthReason::kResetFailed);
  ASSERT_TRUE(engine_
                  ->SetDeviceHealth(operator_, "dev0", DeviceHealth::kHealthy, "x",
                                    HealthReason::kResetFailed)
                  .ok());
  const DeviceView healthy = next();
  EXPECT_EQ(healthy.health_cause, HealthReason::kNone);
  EXPECT_EQ(healthy.health_reason, "");
}

}  // namespace
}  // namespace viommu
