// Devices that the backend puts into quarantine: who is told, what goes on, what is refused, and
// what ends it.
#include <string>
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

// alice's dev1, in a group with dev2, and dev0 are on domains/d, which maps 0x1000.
class EngineQuarantineTest : public PlugTest {
 protected:
  void SetUp() override {
    SetUpAlice();
    ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev1", "").ok());
    ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x1000, 0x1000)).ok());
    for (const char* const device : {"dev0", "dev1"}) ASSERT_EQ(Attach(device), "OK");
  }

  std::string Attach(const std::string& device) {
    return Described(engine_->AttachDevice(alice_, device, Ref("d")).status());
  }
  std::string Unmap() {
    return Described(engine_->Unmap(alice_, Ref("as"), OneUnmap(0x1000, 0x1000)).status());
  }
  std::string Reset(const std::string& device) {
    return Described(engine_->ResetDevice(alice_, device).status());
  }
  DeviceView View(const std::string& device) { return *engine_->GetDevice(operator_, device); }
  // While the backend does `verb`, a device does not answer; `answer` is the verb's.
  void GoesSilentAt(const std::string& verb, DeviceIndex device,
                    const absl::Status& answer = absl::OkStatus()) {
    simulated_.SetHook([=](const std::string& asked) {
      if (asked != verb) return absl::OkStatus();
      simulated_.Quarantine(device);
      return answer;
    });
  }
};

TEST_F(EngineQuarantineTest, HoldsBackTheDeviceAlone) {
  const std::string etag = View("dev1").etag;
  const std::string of_others = View("dev0").etag + View("dev2").etag;
  GoesSilentAt("Unmap", 1);
  EXPECT_EQ(Unmap(), "OK");
  const DeviceView out = View("dev1");
  EXPECT_EQ(out.health, DeviceHealth::kUnhealthy);
  EXPECT_EQ(out.health_cause, HealthReason::kInvalidationFailed);
  EXPECT_TRUE(absl::StrContains(out.health_reason, "reset it"));
  EXPECT_EQ(out.domain, "owners/alice/domains/d") << "what it is attached to stays";
  EXPECT_NE(out.etag, etag);
  EXPECT_EQ(View("dev0").etag + View("dev2").etag, of_others);
  EXPECT_EQ(engine_->Stats().quarantines, 1u);
  // Known, and not told again.
  simulated_.SetHook(nullptr);
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x1000, 0x1000)).ok());
  EXPECT_EQ(View("dev1").etag, out.etag);
  EXPECT_EQ(engine_->Stats().quarantines, 1u);
}

TEST_F(EngineQuarantineTest, RefusesToAttachItsGroupUntilAResetEndsIt) {
  GoesSilentAt("Unmap", 1);
  ASSERT_EQ(Unmap(), "OK");
  simulated_.SetHook(nullptr);
  EXPECT_EQ(Attach("dev2"), "FAILED_PRECONDITION DEVICE_UNHEALTHY");
  EXPECT_EQ(Described(engine_->DetachDevice(alice_, "dev1").status()), "OK");
  EXPECT_EQ(Attach("dev1"), "FAILED_PRECONDITION DEVICE_UNHEALTHY");
  const size_t effects = simulated_.log().size();
  ASSERT_EQ(Reset("dev1"), "OK");
  EXPECT_EQ(simulated_.log().size(), effects + 1);
  EXPECT_EQ(simulated_.log().back(), "Unblock 1") << "blocked it was already";
  EXPECT_EQ(View("dev1").health, DeviceHealth::kHealthy);
  EXPECT_EQ(View("dev1").health_cause, HealthReason::kNone);
  EXPECT_EQ(Attach("dev1"), "OK");
}

TEST_F(EngineQuarantineTest, ADeviceThatIsStillSilentStaysOutAsAfterAnyFailedReset) {
  GoesSilentAt("Unmap", 1);
  ASSERT_EQ(Unmap(), "OK");
  simulated_.SetHook(RefuseNth("Unblock", 1));
  EXPECT_EQ(Reset("dev1"), "INTERNAL RESET_FAILED");
  EXPECT_EQ(View("dev1").health_cause, HealthReason::kResetFailed);
  EXPECT_TRUE(absl::StrContains(simulated_.State(), "held 1"));
  EXPECT_EQ(Reset("dev1"), "OK");
  EXPECT_EQ(View("dev1").health, DeviceHealth::kHealthy);
}

TEST_F(EngineQuarantineTest, TellsThoseWhoWatchWithARevisionOfItsOwn) {
  const auto watch = *engine_->OpenWatch(alice_, {{WatchKind::kDevice}, std::nullopt});
  WatchMirror mirror;
  ASSERT_TRUE(mirror.Drain(*watch).ok());
  GoesSilentAt("Unmap", 1);
  const auto unmapped = engine_->Unmap(alice_, Ref("as"), OneUnmap(0x1000, 0x1000));
  ASSERT_TRUE(unmapped.ok());
  WatchEvent event;
  ASSERT_TRUE(*watch->Next(absl::Seconds(10), &event));
  EXPECT_EQ(std::get<DeviceView>(event.body).health_cause, HealthReason::kInvalidationFailed);
  EXPECT_EQ(std::get<DeviceView>(event.body).spec.id, "dev1");
  ASSERT_TRUE(mirror.Drain(*watch).ok());
  EXPECT_EQ(Reset("dev1"), "OK");
  ASSERT_TRUE(*watch->Next(absl::Seconds(10), &event));
  EXPECT_EQ(std::get<DeviceView>(event.body).health, DeviceHealth::kHealthy);
}

TEST_F(EngineQuarantineTest, IsNotedBehindACallThatFailsToo) {
  GoesSilentAt("Unmap", 0, absl::InternalError("the queue is gone"));
  EXPECT_EQ(Unmap(), "INTERNAL");
  EXPECT_EQ(View("dev0").health_cause, HealthReason::kInvalidationFailed);
}

TEST_F(EngineQuarantineTest, IsNotedBehindABatchOfAStream) {
  GoesSilentAt("Unmap", 0);
  const auto stream = *engine_->OpenMappingStream(alice_, {Ref("as")});
  StreamBatch batch;
  batch.sequence = 1;
  batch.unmap = OneUnmap(0x1000, 0x1000);
  stream->Submit(batch);
  StreamReply reply;
  ASSERT_TRUE(stream->NextReply(&reply));
  EXPECT_TRUE(reply.status.ok());
  stream->CloseSubmissions();
  EXPECT_EQ(View("dev0").health_cause, HealthReason::kInvalidationFailed);
}

TEST_F(EngineQuarantineTest, ADeviceThatIsGoneInTheMiddleOfItIsTakenOut) {
  GoesSilentAt("Block", 0);
  ASSERT_TRUE(engine_->UnplugDevice(operator_, "dev0").ok());
  EXPECT_EQ(engine_->Stats().quarantines, 0u) << "nobody is left whom it concerns";
  EXPECT_EQ(Unmap(), "OK");
  simulated_.SetHook(nullptr);
  EXPECT_EQ(engine_->PlugDevice(operator_, "dev0")->health, DeviceHealth::kHealthy);
}

TEST_F(EngineQuarantineTest, AnUnplugThatFailsDoesNotLetItIn) {
  simulated_.SetHook([this](const std::string& verb) {
    if (verb == "Block") simulated_.Quarantine(0);
    return verb == "Switch" ? absl::InternalError("no answer") : absl::OkStatus();
  });
  EXPECT_EQ(Described(engine_->UnplugDevice(operator_, "dev0")), "INTERNAL");
  EXPECT_TRUE(absl::StrContains(simulated_.State(), "held 0"));
  EXPECT_EQ(View("dev0").health_cause, HealthReason::kInvalidationFailed);
  EXPECT_EQ(View("dev0").domain, "owners/alice/domains/d");
  simulated_.SetHook(nullptr);
  EXPECT_EQ(Reset("dev0"), "OK");
  EXPECT_FALSE(absl::StrContains(simulated_.State(), "held 0"));
}

TEST_F(EngineQuarantineTest, AResetLosesNothingOfWhatHappensMeanwhile) {
  GoesSilentAt("Unblock", 1);  // Another device of the unit.
  ASSERT_EQ(Reset("dev0"), "OK");
  EXPECT_EQ(View("dev0").health, DeviceHealth::kHealthy);
  EXPECT_EQ(View("dev1").health_cause, HealthReason::kInvalidationFailed);
}

}  // namespace
}  // namespace viommu
