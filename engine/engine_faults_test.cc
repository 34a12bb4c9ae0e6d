// Page faults: where they go, what answers them, what withdraws them (iommufd-semantics.md section
// 11).
#include <string>
#include <thread>

#include "absl/synchronization/notification.h"
#include "engine/engine_faults_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr PageResponse kSuccess = PageResponse::kSuccess;
constexpr PageResponse kInvalid = PageResponse::kInvalid;

class EngineFaultsTest : public FaultsTest {};

TEST_F(EngineFaultsTest, HoldsFaultsUntilTheLastOfTheirGroup) {
  ASSERT_EQ(Attach("dev0", "f", 5), "OK");
  ASSERT_EQ(Raise("dev0", 7, 0x1000, 5, /*last=*/false), "OK");
  ASSERT_EQ(Raise("dev0", 7, 0x2000, 5, /*last=*/false), "OK");
  EXPECT_EQ(Waiting(), "");
  EXPECT_EQ(Stats().partial, 2u);
  ASSERT_EQ(Raise("dev0", 7, 0x3000, 5), "OK");
  EXPECT_EQ(Waiting(), "1/1 devices/dev0 domains/f pasid 5 group 7: 0x1000 0x2000 0x3000\n");
  EXPECT_EQ(Told("dev0"), "") << "the device waits";
  EXPECT_EQ(Respond({{1, kSuccess}}), "OK");
  EXPECT_EQ(Told("dev0"), "7 SUCCESS, ") << "one answer for all of it";
  EXPECT_EQ(Waiting(), "");
  EXPECT_EQ(Respond({{1, kSuccess}}), "NOT_FOUND FAULT_NOT_FOUND responses[0].cookie #0");
}

TEST_F(EngineFaultsTest, RoutesByThePasidOfTheRequest) {
  ASSERT_EQ(Attach("dev0", "f"), "OK");
  ASSERT_EQ(Attach("dev0", "g", 5), "OK");
  ASSERT_EQ(Raise("dev0", 1, 0x1000), "OK");
  ASSERT_EQ(Raise("dev0", 2, 0x2000, 5), "OK");
  ASSERT_EQ(Raise("dev0", 3, 0x3000, 0), "OK");
  EXPECT_EQ(Waiting(),
            "1/1 devices/dev0 domains/f group 1: 0x1000\n"
            "2/2 devices/dev0 domains/g pasid 5 group 2: 0x2000\n"
            "3/3 devices/dev0 domains/f pasid 0 group 3: 0x3000\n");
}

TEST_F(EngineFaultsTest, RefusesWhatNobodyTakes) {
  ASSERT_EQ(Raise("dev0", 1, 0x1000), "OK") << "not attached";
  ASSERT_EQ(Attach("dev0", "p"), "OK");
  ASSERT_EQ(Raise("dev0", 2, 0x1000), "OK") << "a domain without fault queue";
  ASSERT_EQ(Raise("dev0", 3, 0x1000, 5), "OK") << "no such PASID";
  ASSERT_EQ(Replace("dev0", "blocked"), "OK");
  ASSERT_EQ(Raise("dev0", 4, 0x1000), "OK") << "a static domain";
  EXPECT_EQ(Told("dev0"), "1 INVALID, 2 INVALID, 3 INVALID, 4 INVALID, ");
  EXPECT_EQ(Waiting(), "");
  PageFault fault = Fault(5, 0x1000);
  EXPECT_TRUE(engine_->RaisePageFault(operator_, "dev6", fault).ok());
  ASSERT_TRUE(engine_->ReleaseDevice(alice_, "dev6", "").ok());
  EXPECT_TRUE(engine_->RaisePageFault(operator_, "dev6", fault).ok()) << "one that the host has";
  EXPECT_EQ(engine_->ListPageResponses(operator_, "dev6")->size(), 2u);
  EXPECT_EQ(Stats().answered[1], (std::pair<std::string, uint64_t>{"invalid", 6}));
}

TEST_F(EngineFaultsTest, FailsWhatAFullQueueHasNoPlaceFor) {
  ASSERT_EQ(Attach("dev0", "f"), "OK");
  for (uint32_t group = 1; group <= 6; ++group) {
    ASSERT_EQ(Raise("dev0", group, 0x1000), "OK") << "who reports is never held up";
  }
  EXPECT_EQ(Told("dev0"), "5 FAILURE, 6 FAILURE, ");
  const auto queue = engine_->GetFaultQueue(alice_, Ref("q"));
  EXPECT_EQ(queue->waiting, 4u);
  EXPECT_EQ(queue->lost, 2u);
  EXPECT_EQ(Stats().lost, 2u);
  EXPECT_EQ(Stats().waiting, 4u);
  ASSERT_EQ(Respond({{2, kInvalid}}), "OK");
  ASSERT_EQ(Raise("dev0", 7, 0x1000), "OK");
  EXPECT_EQ(Told("dev0"), "5 FAILURE, 6 FAILURE, 2 INVALID, ");
  EXPECT_EQ(Waiting(),
            "1/1 devices/dev0 domains/f group 1: 0x1000\n"
            "3/3 devices/dev0 domains/f group 3: 0x1000\n"
            "4/4 devices/dev0 domains/f group 4: 0x1000\n"
            "5/7 devices/dev0 domains/f group 7: 0x1000\n");
}

TEST_F(EngineFaultsTest, AnswersAllOfABatchOrNothing) {
  ASSERT_EQ(Attach("dev0", "f"), "OK");
  for (uint32_t group = 1; group <= 3; ++group) ASSERT_EQ(Raise("dev0", group, 0x1000), "OK");
  const struct {
    std::vector<FaultResponse> responses;
    const char* want;
  } kCases[] = {
      {{}, "INVALID_ARGUMENT EMPTY_BATCH responses"},
      {std::vector<FaultResponse>(kMaxFaultResponses + 1),
       "INVALID_ARGUMENT BATCH_TOO_LARGE responses"},
      {{{1, kSuccess}, {4, kSuccess}}, "NOT_FOUND FAULT_NOT_FOUND responses[1].cookie #1"},
      {{{0, kSuccess}}, "NOT_FOUND FAULT_NOT_FOUND responses[0].cookie #0"},
      {{{1, kSuccess}, {1, kInvalid}}, "INVALID_ARGUMENT DUPLICATE_COOKIE responses[1].cookie #1"},
      {{{1, kSuccess}, {2, PageResponse::kFailure}},
       "INVALID_ARGUMENT INVALID_RESPONSE responses[1].code #1"},
  };
  for (const auto& c : kCases) ExpectRefused(c.want, [&] { return Respond(c.responses); });
  ExpectRefused("NOT_FOUND FAULT_QUEUE_NOT_FOUND", [&] {
    return Respond({{1, kSuccess}}, "none");
  });
  EXPECT_EQ(Described(engine_->RespondFault(bob_, Ref("q"), {{1, kSuccess}})),
            "NOT_FOUND FAULT_QUEUE_NOT_FOUND");
  const Uid uid = engine_->GetFaultQueue(alice_, Ref("q"))->object.uid;
  EXPECT_EQ(Described(engine_->RespondFault(alice_, Ref("q"), {{1, kSuccess}}, uid + 1)),
            "NOT_FOUND FAULT_QUEUE_NOT_FOUND");
  EXPECT_EQ(Told("dev0"), "");
  CallContext dry = alice_;
  dry.validate_only = true;
  EXPECT_TRUE(engine_->RespondFault(dry, Ref("q"), {{1, kSuccess}}).ok());
  EXPECT_EQ(Told("dev0"), "");
  EXPECT_EQ(Respond({{3, kInvalid}, {1, kSuccess}}), "OK");
  EXPECT_EQ(Told("dev0"), "3 INVALID, 1 SUCCESS, ");
  EXPECT_EQ(Waiting(), "2/2 devices/dev0 domains/f group 2: 0x1000\n");
}

TEST_F(EngineFaultsTest, KeepsWhatTheHardwareDidNotTake) {
  ASSERT_EQ(Attach("dev0", "f"), "OK");
  for (uint32_t group = 1; group <= 3; ++group) ASSERT_EQ(Raise("dev0", group, 0x1000), "OK");
  faulting_.SetHook(RefuseNth("RespondPageGroup", 1));
  ExpectRefused("RESOURCE_EXHAUSTED TEST", [&] {
    return Described(engine_->RespondFault(alice_, Ref("q"), {{1, kSuccess}}));
  });
  faulting_.SetHook(RefuseNth("RespondPageGroup", 2));
  EXPECT_EQ(Respond({{3, kSuccess}, {1, kSuccess}, {2, kSuccess}}),
            "RESOURCE_EXHAUSTED TEST responses[1] #1");
  EXPECT_EQ(Told("dev0"), "3 SUCCESS, ");
  EXPECT_EQ(Waiting(),
            "1/1 devices/dev0 domains/f group 1: 0x1000\n"
            "2/2 devices/dev0 domains/f group 2: 0x1000\n")
      << "the rest waits on, with its cookies";
}

TEST_F(EngineFaultsTest, WithdrawsWhatADetachmentLeavesUnanswered) {
  ASSERT_EQ(Attach("dev0", "f"), "OK");
  ASSERT_EQ(Attach("dev0", "f", 5), "OK");
  ASSERT_EQ(Raise("dev0", 1, 0x1000), "OK");
  ASSERT_EQ(Raise("dev0", 2, 0x1000, 5), "OK");
  ASSERT_EQ(Raise("dev0", 3, 0x1000, 0), "OK");
  ASSERT_EQ(Raise("dev0", 4, 0x1000, {}, /*last=*/false), "OK");
  ASSERT_EQ(Raise("dev0", 5, 0x1000, 0, /*last=*/false), "OK");
  ASSERT_EQ(Raise("dev0", 6, 0x1000, 5, /*last=*/false), "OK");
  ASSERT_EQ(Detach("dev0"), "OK");
  EXPECT_EQ(Told("dev0"), "1 INVALID, 3 INVALID, ");
  EXPECT_EQ(Waiting(), "2/2 devices/dev0 domains/f pasid 5 group 2: 0x1000\n");
  EXPECT_EQ(Stats().partial, 1u);
  EXPECT_EQ(Stats().dropped, 2u);
  EXPECT_EQ(Respond({{1, kSuccess}}), "NOT_FOUND FAULT_NOT_FOUND responses[0].cookie #0");
  ASSERT_EQ(Detach("dev0", 5), "OK");
  EXPECT_EQ(Told("dev0"), "1 INVALID, 3 INVALID, 2 INVALID, ");
  EXPECT_EQ(Stats().partial, 0u);
  EXPECT_EQ(faulting_.groups_waiting(), 0u);
}

TEST_F(EngineFaultsTest, WithdrawsWhatAReplacementLeavesUnanswered) {
  ASSERT_EQ(Attach("dev0", "f", 5), "OK");
  ASSERT_EQ(Raise("dev0", 1, 0x1000, 5), "OK");
  ASSERT_EQ(Replace("dev0", "f", 5), "OK");
  EXPECT_EQ(Told("dev0"), "") << "onto the same domain: nothing changes";
  faulting_.SetHook(RefuseNth("Switch", 1));
  EXPECT_EQ(Replace("dev0", "g", 5), "RESOURCE_EXHAUSTED TEST");
  EXPECT_EQ(Told("dev0"), "") << "nor when it fails";
  ASSERT_EQ(Replace("dev0", "g", 5), "OK");
  EXPECT_EQ(Told("dev0"), "1 INVALID, ");
  ASSERT_EQ(Raise("dev0", 2, 0x1000, 5), "OK");
  EXPECT_EQ(Waiting(), "2/2 devices/dev0 domains/g pasid 5 group 2: 0x1000\n");
}

TEST_F(EngineFaultsTest, WithdrawsWhatAGroupLeavesUnansweredOnlyWithItsLastMember) {
  ASSERT_EQ(Attach("dev6", "f", 5), "OK");
  ASSERT_EQ(Raise("dev7", 1, 0x1000, 5), "OK");
  EXPECT_EQ(Waiting(), "1/1 devices/dev7 domains/f pasid 5 group 1: 0x1000\n")
      << "members share their entries";
  ASSERT_EQ(Attach("dev7", "f", 5), "OK");
  ASSERT_EQ(Detach("dev6", 5), "OK");
  EXPECT_EQ(Told("dev7"), "");
  ASSERT_EQ(Detach("dev7", 5), "OK");
  EXPECT_EQ(Told("dev7"), "1 INVALID, ");
}

TEST_F(EngineFaultsTest, WithdrawsWhatAResetForgets) {
  ASSERT_EQ(Attach("dev6", "f"), "OK");
  ASSERT_EQ(Attach("dev6", "g", 5), "OK");
  ASSERT_EQ(Raise("dev6", 1, 0x1000), "OK");
  ASSERT_EQ(Raise("dev6", 2, 0x1000, 5), "OK");
  ASSERT_EQ(Raise("dev6", 3, 0x1000, 5, /*last=*/false), "OK");
  ASSERT_EQ(Raise("dev7", 4, 0x1000), "OK");
  ASSERT_TRUE(engine_->ResetDevice(alice_, "dev6").ok());
  EXPECT_EQ(Told("dev6"), "1 INVALID, 2 INVALID, ");
  EXPECT_EQ(Stats().partial, 0u);
  EXPECT_EQ(Waiting(), "3/3 devices/dev7 domains/f group 4: 0x1000\n");
}

TEST_F(EngineFaultsTest, WithdrawsWhatAnUnpluggedDeviceAskedFor) {
  ASSERT_EQ(Attach("dev6", "f"), "OK");
  ASSERT_EQ(Attach("dev7", "f"), "OK");
  ASSERT_EQ(Raise("dev6", 1, 0x1000), "OK");
  ASSERT_EQ(Raise("dev7", 2, 0x1000), "OK");
  ASSERT_TRUE(engine_->UnplugDevice(operator_, "dev6").ok());
  EXPECT_EQ(Waiting(), "2/2 devices/dev7 domains/f group 2: 0x1000\n");
  EXPECT_EQ(faulting_.groups_waiting(), 1u);
  EXPECT_EQ(Raise("dev6", 3, 0x1000), "NOT_FOUND DEVICE_NOT_FOUND");
}

TEST_F(EngineFaultsTest, AnswersWhatWasReportedButNotTakenBeforeADetachment) {
  ASSERT_EQ(Attach("dev0", "f"), "OK");
  ASSERT_TRUE(faulting_.ReportPageFault(Fault(1, 0x1000)).ok());  // For dev0; nobody looks.
  ASSERT_EQ(Detach("dev0"), "OK");
  ASSERT_EQ(Attach("dev0", "g"), "OK");
  EXPECT_EQ(Told("dev0"), "1 INVALID, ");
  EXPECT_EQ(Waiting(), "") << "it was meant for what is gone";
}

TEST_F(EngineFaultsTest, GivesAnAnswerThatIsOwedUntilItIsTaken) {
  faulting_.SetHook([](const std::string& verb) {
    return verb == "RespondPageGroup" ? absl::InternalError("broken") : absl::OkStatus();
  });
  ASSERT_EQ(Raise("dev0", 1, 0x1000), "OK");
  EXPECT_EQ(Told("dev0"), "");
  EXPECT_EQ(Stats().answered[1].second, 0u);
  int tries = 0;
  faulting_.SetHook([&](const std::string& verb) {
    if (verb != "RespondPageGroup") return absl::OkStatus();
    ++tries;
    return absl::InternalError("broken");
  });
  ASSERT_EQ(Attach("dev6", "g"), "OK");
  EXPECT_EQ(tries, 0) << "what others do is not held up by it";
  faulting_.SetHook(nullptr);
  EXPECT_EQ(Waiting(), "");
  EXPECT_EQ(Told("dev0"), "1 INVALID, ");
  EXPECT_EQ(Stats().answered[1].second, 1u);
}

TEST_F(EngineFaultsTest, ForgetsGroupsOfWhichFaultsWereLost) {
  ASSERT_EQ(Attach("dev0", "f"), "OK");
  ASSERT_EQ(Raise("dev0", 1, 0x1000, {}, /*last=*/false), "OK");
  faulting_.LosePageFaults(0);
  ASSERT_EQ(Raise("dev0", 1, 0x2000), "OK");
  EXPECT_EQ(Waiting(), "1/1 devices/dev0 domains/f group 1: 0x2000\n");
  EXPECT_EQ(Stats().dropped, 1u);
}

TEST_F(EngineFaultsTest, LeavesAGroupToTheAnswerThatIsUnderWay) {
  ASSERT_EQ(Attach("dev0", "f"), "OK");
  for (const bool fails : {false, true}) {
    SCOPED_TRACE(fails);
    const uint32_t cookie = fails ? 2 : 1;
    ASSERT_EQ(Raise("dev0", cookie, 0x1000), "OK");
    absl::Notification answering, go_on;
    bool first = true;
    faulting_.SetHook([&](const std::string& verb) {
      if (verb != "RespondPageGroup" || !std::exchange(first, false)) return absl::OkStatus();
      answering.Notify();
      go_on.WaitForNotification();
      return fails ? absl::InternalError("broken") : absl::OkStatus();
    });
    std::thread responding([&] { Respond({{cookie, kSuccess}}); });
    answering.WaitForNotification();
    ASSERT_EQ(Detach("dev0"), "OK") << "it does not wait for that";
    go_on.Notify();
    responding.join();
    faulting_.SetHook(nullptr);
    EXPECT_EQ(Told("dev0"), fails ? "1 SUCCESS, 2 INVALID, " : "1 SUCCESS, ");
    EXPECT_EQ(Waiting(), "");
    ASSERT_EQ(Attach("dev0", "f"), "OK");
  }
}

TEST_F(EngineFaultsTest, ListsPages) {
  ASSERT_EQ(Attach("dev0", "f"), "OK");
  for (uint32_t group = 1; group <= 3; ++group) ASSERT_EQ(Raise("dev0", group, 0x1000), "OK");
  const auto first = engine_->ListFaults(alice_, Ref("q"), {2, ""});
  ASSERT_EQ(first->items.size(), 2u);
  ASSERT_FALSE(first->next_cursor.empty());
  ASSERT_EQ(Respond({{1, kSuccess}, {2, kSuccess}}), "OK");
  const auto second = engine_->ListFaults(alice_, Ref("q"), {2, first->next_cursor});
  ASSERT_EQ(second->items.size(), 1u);
  EXPECT_EQ(second->items[0].group, 3u) << "whatever was answered meanwhile";
  EXPECT_EQ(second->next_cursor, "");
  EXPECT_EQ(Described(engine_->ListFaults(alice_, Ref("q"), {2, "x"}).status()),
            "INVALID_ARGUMENT UNKNOWN_PAGE_TOKEN");
  EXPECT_EQ(Described(engine_->ListFaults(bob_, Ref("q"), {}).status()),
            "NOT_FOUND FAULT_QUEUE_NOT_FOUND");
}

TEST_F(EngineFaultsTest, RefusesFaultsThatNoDeviceRaises) {
  const auto raise = [&](const CallContext& who, const std::string& device, PageFault fault) {
    return DescribedInFull(engine_->RaisePageFault(who, device, fault));
  };
  PageFault neither = Fault(1, 0x1000);
  neither.read = false;
  neither.execute = true;
  EXPECT_EQ(raise(alice_, "none", Fault(1, 0x1000)), "NOT_FOUND DEVICE_NOT_FOUND");
  EXPECT_EQ(raise(bob_, "dev0", Fault(1, 0x1000)), "FAILED_PRECONDITION DEVICE_NOT_CLAIMED");
  EXPECT_EQ(raise(alice_, "dev2", Fault(1, 0x1000)), "UNIMPLEMENTED PAGE_REQUESTS_UNAVAILABLE");
  EXPECT_EQ(raise(alice_, "dev0", Fault(1, 0x1000, 256)), "OUT_OF_RANGE PASID_OUT_OF_RANGE pasid");
  EXPECT_EQ(raise(alice_, "dev0", Fault(512, 0x1000)), "OUT_OF_RANGE GROUP_OUT_OF_RANGE group");
  EXPECT_EQ(raise(alice_, "dev0", Fault(1, 0x1001)), "INVALID_ARGUMENT MISALIGNED iova");
  EXPECT_EQ(raise(alice_, "dev0", neither), "INVALID_ARGUMENT INVALID_ACCESS access");
  EXPECT_EQ(Described(engine_->ListPageResponses(bob_, "dev0").status()),
            "FAILED_PRECONDITION DEVICE_NOT_CLAIMED");
  EXPECT_EQ(faulting_.groups_waiting(), 0u);
}

}  // namespace
}  // namespace viommu
