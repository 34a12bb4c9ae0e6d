// Resets: what is blocked, what is refused meanwhile, and what a failure leaves.
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "engine/engine_attachments_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

class EngineResetTest : public AttachmentsTest {
 protected:
  std::string Reset(const CallContext& who, const std::string& device) {
    return Described(engine_->ResetDevice(who, device).status());
  }
  void Fail(const std::string& verb) { backend_.SetHook(RefuseNth(verb, 1)); }
  // How many devices are quarantined, then each cause for which some are unhealthy.
  std::string Quarantined() {
    const EngineStats stats = engine_->Stats();
    std::string text = absl::StrCat(stats.quarantined_devices);
    for (const auto& [cause, devices] : stats.unhealthy_devices) {
      if (devices > 0) absl::StrAppend(&text, " ", cause, " ", devices);
    }
    return text;
  }
};

TEST_F(EngineResetTest, BlocksTheDeviceAndPutsItBack) {
  ASSERT_EQ(Attach("dev0", "p"), "OK");
  ASSERT_EQ(Attach("dev0", "q", 5), "OK");
  const std::string attachments = Attachments();
  const std::string state = backend_.State();
  const size_t effects = backend_.log().size();
  ASSERT_EQ(Reset(alice_, "dev0"), "OK");
  ASSERT_EQ(backend_.log().size(), effects + 2);
  EXPECT_EQ(backend_.log()[effects], "Block 0");
  EXPECT_EQ(backend_.log()[effects + 1], "Unblock 0");
  EXPECT_EQ(backend_.State(), state);
  EXPECT_EQ(Attachments(), attachments);
}

TEST_F(EngineResetTest, RefusesResets) {
  ExpectRefused("FAILED_PRECONDITION DEVICE_NOT_CLAIMED", [&] { return Reset(bob_, "dev0"); });
  ExpectRefused("FAILED_PRECONDITION DEVICE_NOT_CLAIMED", [&] { return Reset(alice_, "dev5"); });
  ExpectRefused("NOT_FOUND DEVICE_NOT_FOUND", [&] { return Reset(alice_, "none"); });
  Fail("Block");
  ExpectRefused("RESOURCE_EXHAUSTED TEST", [&] { return Reset(alice_, "dev0"); });
  EXPECT_EQ(Reset(operator_, "dev0"), "OK");
  EXPECT_EQ(Reset(operator_, "dev5"), "OK") << "an operator resets what the host has";
}

TEST_F(EngineResetTest, RefusesToAttachTheGroupMeanwhile) {
  ASSERT_EQ(Attach("dev1", "p"), "OK");
  absl::Notification in_reset, go_on;
  backend_.SetHook([&](const std::string& verb) {
    if (verb == "Unblock") {
      in_reset.Notify();
      go_on.WaitForNotification();
    }
    return absl::OkStatus();
  });
  std::thread reset([&] { EXPECT_EQ(Reset(alice_, "dev1"), "OK"); });
  in_reset.WaitForNotification();
  EXPECT_EQ(Attach("dev2", "p"), "ABORTED DEVICE_IN_RESET");
  EXPECT_EQ(Attach("dev1", "p", 3), "ABORTED DEVICE_IN_RESET");
  EXPECT_EQ(Replace("dev1", "q"), "ABORTED DEVICE_IN_RESET");
  EXPECT_EQ(AttachToIoas("dev2", "as"), "ABORTED DEVICE_IN_RESET");
  EXPECT_EQ(On("dev1"), "domains/p") << "what the group is on stays as it is";
  EXPECT_EQ(Attach("dev0", "p"), "OK") << "other groups go on";
  std::thread detach([&] { EXPECT_EQ(Detach("dev1"), "OK") << "it waits for its turn"; });
  go_on.Notify();
  reset.join();
  detach.join();
  EXPECT_EQ(On("dev1"), "domains/blocked");
  EXPECT_EQ(Attach("dev2", "p"), "OK");
}

TEST_F(EngineResetTest, ADryRunChangesNothing) {
  CallContext dry = alice_;
  dry.validate_only = true;
  ExpectRefused("OK", [&] { return Reset(dry, "dev0"); });
  EXPECT_EQ(Attach("dev0", "p"), "OK");
}

TEST_F(EngineResetTest, AFailureLeavesTheDeviceBlockedUntilAResetSucceeds) {
  ASSERT_EQ(Attach("dev1", "p"), "OK");
  CallContext once = alice_;
  once.request_id = once.request_digest = "reset";
  Fail("Unblock");
  EXPECT_EQ(Reset(once, "dev1"), "INTERNAL RESET_FAILED");
  EXPECT_EQ(Reset(once, "dev1"), "INTERNAL RESET_FAILED") << "the first answer";
  EXPECT_TRUE(InBackend("held 1"));
  const auto device = engine_->GetDevice(alice_, "dev1");
  EXPECT_EQ(device->health, DeviceHealth::kUnhealthy);
  EXPECT_EQ(device->health_cause, HealthReason::kResetFailed);
  EXPECT_EQ(device->domain, "domains/p");
  EXPECT_EQ(Quarantined(), "1 reset_failed 1");
  ExpectRefused("FAILED_PRECONDITION DEVICE_UNHEALTHY", [&] { return Attach("dev2", "p"); });
  ExpectRefused("FAILED_PRECONDITION DEVICE_UNHEALTHY", [&] { return Replace("dev1", "q"); });
  EXPECT_EQ(Detach("dev1"), "OK");
  Fail("Unblock");
  EXPECT_EQ(Reset(alice_, "dev1"), "INTERNAL RESET_FAILED");
  backend_.SetHook(nullptr);
  EXPECT_EQ(Reset(alice_, "dev1"), "OK");
  EXPECT_FALSE(InBackend("held 1"));
  EXPECT_EQ(Quarantined(), "0");
  EXPECT_EQ(engine_->GetDevice(alice_, "dev1")->health, DeviceHealth::kHealthy);
  EXPECT_EQ(Attach("dev2", "p"), "OK");
}

TEST_F(EngineResetTest, ABlockThatFailsIsTakenBackOrKept) {
  ASSERT_EQ(Attach("dev1", "p"), "OK");
  Fail("Block");
  ExpectRefused("RESOURCE_EXHAUSTED TEST", [&] { return Reset(alice_, "dev1"); });
  EXPECT_FALSE(InBackend("held 1")) << "blocked it was, even so";
  backend_.SetHook([](const std::string& verb) {
    const bool fails = verb == "Block" || verb == "Unblock";
    return fails ? absl::InternalError("no answer") : absl::OkStatus();
  });
  EXPECT_EQ(Reset(alice_, "dev1"), "INTERNAL RESET_FAILED");
  EXPECT_TRUE(InBackend("held 1"));
  EXPECT_EQ(engine_->GetDevice(alice_, "dev1")->health_cause, HealthReason::kResetFailed);
  backend_.SetHook(nullptr);
  EXPECT_EQ(Reset(alice_, "dev1"), "OK");
  EXPECT_FALSE(InBackend("held 1"));
}

TEST_F(EngineResetTest, AJournalThatFailsLeavesNothingInReset) {
  journal_.SetAnswer(absl::DataLossError("disk gone"));
  ExpectRefused("UNAVAILABLE JOURNAL_FAILED", [&] { return Reset(alice_, "dev0"); });
  journal_.SetAnswer(absl::OkStatus());
  EXPECT_EQ(Attach("dev0", "p"), "OK");
}

}  // namespace
}  // namespace viommu
