#include "engine/model/flush_queue.h"

#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr auto kTimer = FlushQueue::Cause::kTimer;
const absl::Time kStart = absl::UnixEpoch() + absl::Hours(1);
const absl::Duration kTimeout = absl::Milliseconds(10);

PlacedArea Page(uint64_t number) {
  return {{number * kPage, number * kPage + (kPage - 1)}, Area(1, 0, Permission::kRead, false)};
}

// The page numbers of ranges that were let go.
std::vector<uint64_t> Numbers(const std::vector<PlacedArea>& released) {
  std::vector<uint64_t> numbers;
  for (const PlacedArea& area : released) numbers.push_back(area.range.first / kPage);
  return numbers;
}

using Pages = std::vector<uint64_t>;

TEST(FlushQueueTest, LetsGoWhatWasQueuedBeforeTheFlushBegan) {
  FlushQueue queue;
  queue.Push(Page(1), kStart);
  queue.Push(Page(2), kStart);
  const uint64_t flush = queue.Begin();
  EXPECT_TRUE(queue.Holds(kPage));
  EXPECT_EQ(Numbers(queue.Complete(flush, kTimer)), (Pages{1, 2}));
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.Holds(kPage));
}

TEST(FlushQueueTest, KeepsWhatWasQueuedWhileTheFlushWasUnderWay) {
  FlushQueue queue;
  queue.Push(Page(1), kStart);
  const uint64_t flush = queue.Begin();
  queue.Push(Page(2), kStart);
  EXPECT_EQ(Numbers(queue.Complete(flush, kTimer)), Pages{1});
  EXPECT_TRUE(queue.Holds(2 * kPage));
  EXPECT_EQ(Numbers(queue.Complete(queue.Begin(), kTimer)), Pages{2});
}

TEST(FlushQueueTest, KeepsWhatWasQueuedAfterTheLastFlush) {
  FlushQueue queue;
  EXPECT_TRUE(queue.Complete(queue.Begin(), kTimer).empty());
  queue.Push(Page(1), kStart);
  EXPECT_EQ(queue.size(), 1u);
  EXPECT_TRUE(queue.Holds(kPage));
}

TEST(FlushQueueTest, AFlushThatOvertakesAnotherLetsGoWhatItCovers) {
  FlushQueue queue;
  queue.Push(Page(1), kStart);
  const uint64_t first = queue.Begin();
  queue.Push(Page(2), kStart);
  const uint64_t second = queue.Begin();
  queue.Push(Page(3), kStart);
  EXPECT_EQ(Numbers(queue.Complete(second, kTimer)), (Pages{1, 2}));
  EXPECT_TRUE(queue.Complete(first, kTimer).empty()) << "it began before page 3 was queued";
  EXPECT_TRUE(queue.Holds(3 * kPage));
}

TEST(FlushQueueTest, AFailedOrForgottenFlushLetsNothingGo) {
  FlushQueue queue;
  queue.Push(Page(1), kStart);
  queue.Begin();
  queue.Fail(kStart + kTimeout);
  queue.Begin();
  EXPECT_TRUE(queue.Holds(kPage));
  EXPECT_EQ(queue.failures(), 1u);
  EXPECT_EQ(queue.deadline(), kStart + 2 * kTimeout) << "another time-out later";
  EXPECT_EQ(Numbers(queue.Complete(queue.Begin(), kTimer)), Pages{1});
}

TEST(FlushQueueTest, IsFullWithOneSlotFree) {
  FlushQueueOptions options;
  options.ring_entries = 4;
  FlushQueue queue(options);
  for (uint64_t i = 1; i <= 3; ++i) {
    EXPECT_FALSE(queue.full()) << i;
    queue.Push(Page(i), kStart);
  }
  EXPECT_TRUE(queue.full());
  queue.Complete(queue.Begin(), FlushQueue::Cause::kFull);
  EXPECT_FALSE(queue.full());
}

TEST(FlushQueueTest, TheOldestRangeSetsTheDeadline) {
  FlushQueue queue;
  EXPECT_EQ(queue.deadline(), absl::InfiniteFuture());
  queue.Push(Page(1), kStart);
  queue.Push(Page(2), kStart + absl::Milliseconds(5));
  EXPECT_EQ(queue.deadline(), kStart + kTimeout);
  EXPECT_FALSE(queue.IsDue(kStart + kTimeout - absl::Nanoseconds(1)));
  EXPECT_TRUE(queue.IsDue(kStart + kTimeout));
  const uint64_t flush = queue.Begin();
  queue.Push(Page(3), kStart + absl::Milliseconds(7));
  queue.Complete(flush, kTimer);
  EXPECT_EQ(queue.deadline(), kStart + absl::Milliseconds(17)) << "of what is left";
  queue.Complete(queue.Begin(), kTimer);
  EXPECT_EQ(queue.deadline(), absl::InfiniteFuture());
  EXPECT_FALSE(queue.IsDue(absl::InfiniteFuture()));
}

TEST(FlushQueueTest, AClockThatIsSetBackMakesNothingWaitLonger) {
  FlushQueue queue;
  queue.Push(Page(1), kStart);
  EXPECT_TRUE(queue.IsDue(kStart - absl::Hours(1)));
}

TEST(FlushQueueTest, CountsFlushesByCause) {
  FlushQueue queue;
  queue.Complete(queue.Begin(), FlushQueue::Cause::kFull);
  queue.Complete(queue.Begin(), FlushQueue::Cause::kFull);
  queue.Complete(queue.Begin(), FlushQueue::Cause::kSync);
  EXPECT_EQ(queue.Flushes(FlushQueue::Cause::kFull), 2u);
  EXPECT_EQ(queue.Flushes(FlushQueue::Cause::kTimer), 0u);
  EXPECT_EQ(queue.Flushes(FlushQueue::Cause::kSync), 1u);
}

}  // namespace
}  // namespace viommu
