#include "engine/model/event_queue.h"

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/types.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

ArmSmmuV3Event At(uint64_t address) {
  ArmSmmuV3Event event;
  event.address = address;
  return event;
}

// "0 1 lost 4": sequence numbers, in order, from number `from`.
std::string Told(const EventQueue& queue, uint64_t from = 0) {
  std::string told;
  while (const std::optional<EventQueue::Entry> entry = queue.FirstFrom(from)) {
    absl::StrAppend(&told, told.empty() ? "" : " ", entry->view.lost ? "lost " : "",
                    entry->view.sequence);
    from = entry->number + 1;
  }
  return told;
}

TEST(EventQueueTest, KeepsEventsUntilTheyAreAcknowledged) {
  EventQueue queue(4);
  EXPECT_EQ(Told(queue), "");
  for (const uint64_t address : {0x1000, 0x2000, 0x3000}) EXPECT_TRUE(queue.Report(At(address)));
  EXPECT_EQ(Told(queue), "0 1 2");
  EXPECT_EQ(Told(queue), "0 1 2") << "looking takes nothing";
  EXPECT_EQ(queue.FirstFrom(1)->view.event.address, 0x2000u);
  queue.Acknowledge(1);
  EXPECT_EQ(Told(queue), "2");
  queue.Acknowledge(0);
  EXPECT_EQ(Told(queue), "2") << "what is gone can be acknowledged again";
  queue.Acknowledge(2);
  EXPECT_EQ(queue.size(), 0u);
  EXPECT_TRUE(queue.Report(At(0)));
  EXPECT_EQ(Told(queue), "3");
}

TEST(EventQueueTest, PutsOneMarkerBehindTheLastEventForAllThatIsLost) {
  EventQueue queue(2);
  EXPECT_TRUE(queue.Report(At(0)));
  EXPECT_TRUE(queue.Report(At(0)));
  EXPECT_FALSE(queue.Report(At(0)));
  EXPECT_EQ(Told(queue), "0 1 lost 2");
  EXPECT_FALSE(queue.Report(At(0)));
  EXPECT_EQ(Told(queue), "0 1 lost 3") << "its sequence is that of the last one lost";
  EXPECT_EQ(Told(queue, 3), "lost 3") << "whoever was told of 2 is told again";
  EXPECT_EQ(queue.reported(), 4u);
  EXPECT_EQ(queue.lost(), 2u);
  EXPECT_EQ(queue.size(), 2u);
}

TEST(EventQueueTest, LeavesAGapInsteadOfTheMarkerOnceAnEventFits) {
  EventQueue queue(2);
  for (int i = 0; i < 5; ++i) queue.Report(At(0));
  queue.Acknowledge(0);
  EXPECT_EQ(Told(queue), "1 lost 4");
  EXPECT_TRUE(queue.Report(At(0)));
  EXPECT_EQ(Told(queue), "1 5");
}

TEST(EventQueueTest, TakesTheMarkerOutWhenItIsAcknowledged) {
  EventQueue queue(1);
  queue.Report(At(0));
  queue.Report(At(0));
  queue.Acknowledge(0);
  EXPECT_EQ(Told(queue), "lost 1") << "it stays while no event comes";
  queue.Acknowledge(1);
  EXPECT_EQ(Told(queue), "");
  queue.ReportLost(3);
  EXPECT_EQ(Told(queue), "lost 4") << "lost before they came here, although there was room";
  queue.ReportLost(0);
  EXPECT_EQ(queue.next(), 5u);
}

TEST(EventQueueTest, BeginsAnewBehindTheLastSequence) {
  const uint64_t last = (uint64_t{1} << 31) - 1;
  EventQueue queue(3, last);
  queue.Report(At(0));
  queue.Report(At(0));
  EXPECT_EQ(Told(queue), "2147483647 0");
  queue.Acknowledge(last);
  EXPECT_EQ(Told(queue), "0");
}

TEST(EventQueueTest, FindsTheNumberThatASequenceStandsFor) {
  const uint64_t turn = uint64_t{1} << 31;
  EXPECT_EQ(EventQueue::NumberOf(5, 7), 5u);
  EXPECT_EQ(EventQueue::NumberOf(7, 7), 7u);
  EXPECT_EQ(EventQueue::NumberOf(8, 7), std::nullopt) << "not told yet";
  EXPECT_EQ(EventQueue::NumberOf(0, turn + 1), turn);
  EXPECT_EQ(EventQueue::NumberOf(2, turn + 1), 2u) << "a whole turn ago";
  EXPECT_EQ(EventQueue::NumberOf(0x7fffffff, turn + 1), turn - 1);
  EXPECT_EQ(EventQueue::NumberOf(0x80000000, 3 * turn), std::nullopt) << "no sequence at all";
}

}  // namespace
}  // namespace viommu
