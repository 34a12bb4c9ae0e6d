// Event queues of Viommus, and streams of their events.
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/event_stream.h"
#include "engine/viommu_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr absl::Duration kAtOnce = absl::ZeroDuration();
constexpr absl::Duration kLong = absl::Seconds(20);

// viommus/vm has a queue of 3 events, and dev0 is its stream 9.
class EventQueuesTest : public ViommuTest {
 protected:
  explicit EventQueuesTest(const OwnerLimits& limits = OwnerLimits()) : ViommuTest(limits) {
    EXPECT_TRUE(MakeVdevice("nic", "dev0", 9).ok());
    EXPECT_TRUE(MakeQueue("q", 3).ok());
  }

  absl::Status MakeQueue(const std::string& id, uint32_t depth,
                         ViommuEventType type = ViommuEventType::kArmSmmuV3) {
    return engine_->CreateEventQueue(alice_, Ref("vm"), id, type, depth).status();
  }
  static ArmSmmuV3Event At(uint64_t address) {
    ArmSmmuV3Event event;
    event.id = 0x10;
    event.address = address;
    return event;
  }
  absl::StatusOr<RaiseAnswer> Raise(uint64_t address = 0) {
    return engine_->RaiseEvent(alice_, "dev0", At(address));
  }
  std::unique_ptr<EventStream> Open() {
    auto stream = engine_->OpenEventStream(alice_, Ref("vm/eventQueues/q"));
    EXPECT_TRUE(stream.ok()) << stream.status();
    return *std::move(stream);
  }
  // "0 1 lost 4"
  static std::string Told(const std::vector<EventView>& events) {
    std::string told;
    for (const EventView& event : events) {
      absl::StrAppend(&told, told.empty() ? "" : " ", event.lost ? "lost " : "", event.sequence);
    }
    return told;
  }
  static std::string Next(EventStream& stream, absl::Duration patience = kAtOnce) {
    std::vector<EventView> events;
    const absl::StatusOr<bool> some = stream.Next(patience, &events);
    return some.ok() ? Told(events) : Described(some.status());
  }
  std::string Listed() {
    return Told(engine_->ListEvents(alice_, Ref("vm/eventQueues/q"), {100, ""})->items);
  }
};

TEST_F(EventQueuesTest, RefusesQueuesInTheOrderOfTheKernel) {
  const auto make = [&](const std::string& viommu, ViommuEventType type, uint32_t depth) {
    return DescribedInFull(
        engine_->CreateEventQueue(alice_, Ref(viommu), "x", type, depth).status());
  };
  constexpr auto kSmmu = ViommuEventType::kArmSmmuV3;
  EXPECT_EQ(make("none", kSmmu, 0), "INVALID_ARGUMENT INVALID_DEPTH event_queue.depth");
  EXPECT_EQ(make("none", kSmmu, kMaxEventQueueDepth + 1),
            "INVALID_ARGUMENT INVALID_DEPTH event_queue.depth");
  EXPECT_EQ(make("none", kSmmu, 1), "NOT_FOUND VIOMMU_NOT_FOUND");
  EXPECT_EQ(make("vm", ViommuEventType::kTegra241Cmdqv, 1),
            "UNIMPLEMENTED EVENT_TYPE_UNAVAILABLE event_queue.type");
  EXPECT_EQ(make("vm", kSmmu, 1), "ALREADY_EXISTS EVENT_QUEUE_EXISTS event_queue.type");
  ASSERT_TRUE(engine_->DeleteEventQueue(alice_, Ref("vm/eventQueues/q"), "").ok());
  EXPECT_EQ(make("vm", kSmmu, kMaxEventQueueDepth), "OK");
}

TEST_F(EventQueuesTest, PutsTheVirtualIdIntoEvents) {
  const auto raised = Raise(0x5000);
  ASSERT_TRUE(raised.ok()) << raised.status();
  EXPECT_EQ(raised->outcome, RaiseAnswer::Outcome::kQueued);
  const auto listed = engine_->ListEvents(alice_, Ref("vm/eventQueues/q"), {100, ""});
  ASSERT_EQ(listed->items.size(), 1u);
  EXPECT_EQ(listed->items[0].event.stream_id, 9u);
  EXPECT_EQ(listed->items[0].event.address, 0x5000u);
  EXPECT_EQ(Listed(), "0") << "a look takes nothing";
}

TEST_F(EventQueuesTest, ShowsItsCounts) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Raise().ok());
  const auto queue = engine_->GetEventQueue(alice_, Ref("vm/eventQueues/q"));
  EXPECT_EQ(queue->queued, 3u);
  EXPECT_EQ(queue->reported, 5u);
  EXPECT_EQ(queue->lost, 2u);
  EXPECT_EQ(queue->next_sequence, 5u);
  EXPECT_EQ(Listed(), "0 1 2 lost 4");
  EXPECT_EQ(Raise()->outcome, RaiseAnswer::Outcome::kLost);
}

TEST_F(EventQueuesTest, CountsWhatTheHostHasLostAlsoInQueuesThatAreGone) {
  EXPECT_EQ(engine_->Stats().events.lost, 0u);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Raise().ok());
  EXPECT_EQ(engine_->Stats().events.waiting, 3u);
  EXPECT_EQ(engine_->Stats().events.lost, 2u);
  ASSERT_TRUE(engine_->DeleteEventQueue(alice_, Ref("vm/eventQueues/q"), "").ok());
  EXPECT_EQ(engine_->Stats().events.waiting, 0u);
  EXPECT_EQ(engine_->Stats().events.lost, 2u);
}

TEST_F(EventQueuesTest, ListsPageByPage) {
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Raise().ok());
  const auto first = engine_->ListEvents(alice_, Ref("vm/eventQueues/q"), {2, ""});
  EXPECT_EQ(Told(first->items), "0 1");
  const auto rest = engine_->ListEvents(alice_, Ref("vm/eventQueues/q"), {2, first->next_cursor});
  EXPECT_EQ(Told(rest->items), "2 lost 3");
  EXPECT_EQ(rest->next_cursor, "");
}

TEST_F(EventQueuesTest, RefusesEventsThatNoGuestGets) {
  const auto raise = [&](const ArmSmmuV3Event& event) {
    return DescribedInFull(engine_->RaiseEvent(alice_, "dev0", event).status());
  };
  ArmSmmuV3Event event = At(0);
  event.id = 0x03;
  EXPECT_EQ(raise(event), "INVALID_ARGUMENT INVALID_EVENT event.id");
  event = At(0);
  event.substream_id = 0x100000;
  EXPECT_EQ(raise(event), "INVALID_ARGUMENT INVALID_EVENT event.substream_id");
  event = At(0);
  event.access_class = 4;
  EXPECT_EQ(raise(event), "INVALID_ARGUMENT INVALID_EVENT event.access_class");
  EXPECT_EQ(Described(engine_->RaiseEvent(bob_, "dev0", At(0)).status()),
            "FAILED_PRECONDITION DEVICE_NOT_CLAIMED");
  EXPECT_EQ(Described(engine_->RaiseEvent(operator_, "dev1", At(0)).status()),
            "FAILED_PRECONDITION VDEVICE_MISSING");
  EXPECT_EQ(Listed(), "");
}

TEST_F(EventQueuesTest, DropsWhatHasNoQueue) {
  ASSERT_TRUE(engine_->DeleteEventQueue(alice_, Ref("vm/eventQueues/q"), "").ok());
  EXPECT_EQ(Raise()->outcome, RaiseAnswer::Outcome::kDropped);
  backend_.fake_viommus().Happen({12345, ViommuEventType::kArmSmmuV3, 0, At(0)});
  ASSERT_TRUE(MakeQueue("q", 3).ok());
  EXPECT_EQ(Listed(), "") << "nothing of what was before, nothing of a Viommu that is gone";
}

TEST_F(EventQueuesTest, TakesWhatTheBackendHas) {
  const Uid vm = Vm().object.uid;
  backend_.fake_viommus().Happen({vm, ViommuEventType::kArmSmmuV3, 0, At(1)});
  backend_.fake_viommus().Happen({vm, ViommuEventType::kArmSmmuV3, 4, {}});
  EXPECT_EQ(Listed(), "0 lost 4");
  ASSERT_TRUE(Raise(2).ok());
  EXPECT_EQ(Listed(), "0 5");
}

TEST_F(EventQueuesTest, TellsUntilItIsAcknowledgedAndThenNeverAgain) {
  auto stream = Open();
  EXPECT_EQ(Next(*stream), "");
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Raise().ok());
  EXPECT_EQ(Next(*stream), "0 1 2");
  EXPECT_EQ(Next(*stream), "") << "once on a stream";
  ASSERT_TRUE(stream->Acknowledge(1).ok());
  stream = Open();
  EXPECT_EQ(Next(*stream), "2") << "a broken stream is told again, under the same number";
  ASSERT_TRUE(stream->Acknowledge(2).ok());
  EXPECT_EQ(Next(*Open()), "");
}

TEST_F(EventQueuesTest, TellsAMarkerAgainWhenMoreIsLost) {
  auto stream = Open();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Raise().ok());
  EXPECT_EQ(Next(*stream), "0 1 2 lost 3");
  ASSERT_TRUE(Raise().ok());
  EXPECT_EQ(Next(*stream), "lost 4");
  ASSERT_TRUE(stream->Acknowledge(3).ok()) << "what it was told of, although it is no more";
  ASSERT_TRUE(Raise().ok());
  EXPECT_EQ(Next(*stream), "5");
  EXPECT_EQ(Listed(), "5");
}

TEST_F(EventQueuesTest, RefusesToAcknowledgeWhatItDidNotTell) {
  auto stream = Open();
  EXPECT_EQ(Described(stream->Acknowledge(0)), "INVALID_ARGUMENT EVENT_NOT_TOLD");
  ASSERT_TRUE(Raise().ok());
  EXPECT_EQ(Described(stream->Acknowledge(0)), "INVALID_ARGUMENT EVENT_NOT_TOLD") << "not yet";
  EXPECT_EQ(Next(*stream), "0");
  EXPECT_EQ(Described(stream->Acknowledge(1)), "INVALID_ARGUMENT EVENT_NOT_TOLD");
  EXPECT_EQ(Listed(), "0");
}

TEST_F(EventQueuesTest, WakesWhoWaitsForAnEvent) {
  auto stream = Open();
  std::string told;
  std::thread waiting([&] { told = Next(*stream, kLong); });
  ASSERT_TRUE(Raise().ok());
  waiting.join();
  EXPECT_EQ(told, "0");
}

TEST_F(EventQueuesTest, EndsStreamsOfAQueueThatIsDeleted) {
  auto stream = Open();
  ASSERT_TRUE(engine_->DeleteEventQueue(alice_, Ref("vm/eventQueues/q"), "").ok());
  ASSERT_TRUE(MakeQueue("q", 3).ok());
  ASSERT_TRUE(Raise().ok());
  EXPECT_EQ(Next(*stream), "NOT_FOUND EVENT_QUEUE_NOT_FOUND") << "another has the name";
  EXPECT_EQ(Described(stream->Acknowledge(0)), "NOT_FOUND EVENT_QUEUE_NOT_FOUND");
  EXPECT_EQ(Described(engine_->OpenEventStream(bob_, Ref("vm/eventQueues/q")).status()),
            "NOT_FOUND EVENT_QUEUE_NOT_FOUND");
}

class FewEventsTest : public EventQueuesTest {
 protected:
  FewEventsTest() : EventQueuesTest(Few()) {}
  static OwnerLimits Few() {
    OwnerLimits limits;
    limits.max_queued_events = 10;
    limits.max_streams = 1;
    return limits;
  }
};

TEST_F(FewEventsTest, LimitsTheDepthsOfAnOwnersQueuesTogether) {
  ASSERT_TRUE(MakeParent("twin", "dev0").ok());
  ASSERT_TRUE(MakeViommu("second", "dev0", "twin").ok());
  const auto make = [&](uint32_t depth) {
    return Described(
        engine_->CreateEventQueue(alice_, Ref("second"), "q", ViommuEventType::kArmSmmuV3, depth)
            .status());
  };
  EXPECT_EQ(make(8), "RESOURCE_EXHAUSTED EVENT_LIMIT");
  EXPECT_EQ(make(7), "OK");
  EXPECT_NE(UsageOf(alice_).find("alice max_queued_events 10"), std::string::npos);
}

TEST_F(FewEventsTest, CountsStreams) {
  auto stream = Open();
  EXPECT_EQ(Described(engine_->OpenEventStream(alice_, Ref("vm/eventQueues/q")).status()),
            "RESOURCE_EXHAUSTED STREAM_LIMIT");
  stream.reset();
  Open();
}

}  // namespace
}  // namespace viommu
