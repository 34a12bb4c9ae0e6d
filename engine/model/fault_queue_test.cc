#include "engine/model/fault_queue.h"

#include <string>

#include "gtest/gtest.h"

namespace viommu {
namespace {

FaultQueue::Group Group(DeviceIndex device, std::optional<uint32_t> pasid, uint32_t number) {
  FaultQueue::Group group;
  group.group = {device, pasid, number};
  group.pages = {{0x1000}};
  return group;
}

// "number:cookie/sequence " of each group in order.
std::string Waiting(const FaultQueue& queue) {
  std::string all;
  for (const auto* g = queue.FirstAfter(0); g != nullptr; g = queue.FirstAfter(g->sequence)) {
    all += std::to_string(g->group.group) + ":" + std::to_string(g->cookie) + "/" +
           std::to_string(g->sequence) + " ";
  }
  return all;
}

TEST(FaultQueueTest, GivesCookiesAndNumbersFromOne) {
  FaultQueue queue("alice", "q", 1, 4);
  EXPECT_TRUE(queue.Push(Group(1, 5, 70)));
  EXPECT_TRUE(queue.Push(Group(1, 5, 71)));
  EXPECT_EQ(Waiting(queue), "70:1/1 71:2/2 ");
  EXPECT_EQ(Waiting(queue), "70:1/1 71:2/2 ") << "reading takes nothing out";
  EXPECT_EQ(queue.Find(2)->group.group, 71u);
  EXPECT_EQ(queue.Find(0), nullptr);
  EXPECT_EQ(queue.Find(3), nullptr);
}

TEST(FaultQueueTest, LosesWhatComesWhileItIsFull) {
  FaultQueue queue("alice", "q", 1, 2);
  queue.Push(Group(1, 5, 70));
  queue.Push(Group(1, 5, 71));
  EXPECT_FALSE(queue.Push(Group(1, 5, 72)));
  EXPECT_EQ(queue.lost(), 1u);
  queue.BeginAnswer(1);
  EXPECT_FALSE(queue.Push(Group(1, 5, 73))) << "an answer may fail yet";
  queue.EndAnswer(1);
  EXPECT_TRUE(queue.Push(Group(1, 5, 74)));
  EXPECT_EQ(Waiting(queue), "71:2/2 74:3/5 ") << "the numbers of those that are lost are missing";
  EXPECT_EQ(queue.lost(), 2u);
}

TEST(FaultQueueTest, HidesAGroupThatIsBeingAnswered) {
  FaultQueue queue("alice", "q", 1, 4);
  queue.Push(Group(1, 5, 70));
  queue.BeginAnswer(1);
  EXPECT_EQ(queue.Find(1), nullptr);
  EXPECT_EQ(Waiting(queue), "");
  EXPECT_TRUE(queue.UndoAnswer(1));
  EXPECT_EQ(Waiting(queue), "70:1/1 ") << "with the same cookie and number";
}

TEST(FaultQueueTest, LetsNobodyReadPastAGroupThatMayComeBack) {
  FaultQueue queue("alice", "q", 1, 4);
  queue.Push(Group(1, 5, 70));
  queue.Push(Group(1, 5, 71));
  queue.BeginAnswer(1);
  EXPECT_EQ(queue.NextAfter(0), nullptr);
  EXPECT_EQ(queue.FirstAfter(0)->group.group, 71u);
  EXPECT_TRUE(queue.UndoAnswer(1));
  EXPECT_EQ(queue.NextAfter(0)->group.group, 70u);
  queue.BeginAnswer(1);
  queue.EndAnswer(1);
  EXPECT_EQ(queue.NextAfter(0)->group.group, 71u);
  EXPECT_EQ(queue.NextAfter(2), nullptr);
}

TEST(FaultQueueTest, WithdrawsWhatIsMeant) {
  FaultQueue queue("alice", "q", 1, 8);
  for (uint32_t i = 0; i < 6; ++i) queue.Push(Group(i % 2, 5, 70 + i));
  const auto taken =
      queue.Withdraw([](const FaultQueue::Group& group) { return group.group.device == 0; });
  ASSERT_EQ(taken.size(), 3u);
  EXPECT_EQ(taken[0].group, 70u);
  EXPECT_EQ(taken[2].group, 74u);
  EXPECT_EQ(Waiting(queue), "71:2/2 73:4/4 75:6/6 ");
  EXPECT_EQ(queue.Find(1), nullptr);
}

TEST(FaultQueueTest, LeavesAnAnswerUnderWayToItsEnd) {
  FaultQueue queue("alice", "q", 1, 4);
  queue.Push(Group(1, 5, 70));
  queue.Push(Group(1, 5, 71));
  queue.BeginAnswer(1);
  queue.BeginAnswer(2);
  EXPECT_TRUE(queue.Withdraw([](const FaultQueue::Group&) { return true; }).empty());
  queue.EndAnswer(1);
  EXPECT_FALSE(queue.UndoAnswer(2)) << "it has nowhere to wait any more";
  EXPECT_EQ(queue.size(), 0u);
}

TEST(FaultQueueTest, GivesItsPlaceToTheLastReader) {
  FaultQueue queue("alice", "q", 1, 4);
  absl::CondVar turn, other;
  EXPECT_FALSE(queue.streamed());
  const uint64_t first = queue.BeginReading(&turn);
  EXPECT_TRUE(queue.IsRead(first));
  const uint64_t second = queue.BeginReading(&other);
  EXPECT_FALSE(queue.IsRead(first));
  EXPECT_TRUE(queue.IsRead(second));
  queue.EndReading(first);
  EXPECT_TRUE(queue.streamed());
  queue.EndReading(second);
  EXPECT_FALSE(queue.streamed());
  EXPECT_FALSE(queue.IsRead(second));
}

TEST(FaultQueueTest, ChargesItsOwnerWithItsDepth) {
  const FaultQueue queue("alice", "q", 1, 4);
  EXPECT_EQ(queue.Holds()[Resource::kFaultQueues], 1u);
  EXPECT_EQ(queue.Holds()[Resource::kFaultGroups], 4u);
}

}  // namespace
}  // namespace viommu
