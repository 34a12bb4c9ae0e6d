// tests/sanitizers/absl_for_tsan_test.cc -- Under --config=tsan, TSan must see every way in which
// absl hands data from one thread to another; a report fails the test. Elsewhere it just runs.
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr int kRounds = 100;

// One int that goes back and forth between two threads, unprotected but for `mutex`.
struct Handover {
  absl::Mutex mutex;
  absl::CondVar changed;
  int value = 0;

  bool IsOdd() const { return value % 2 == 1; }
  bool IsEven() const { return value % 2 == 0; }
};

// Lets two threads take turns, one waiting for an odd value and one for an even one by `wait`,
// which holds the mutex afterwards.
int TakeTurns(const std::function<void(Handover&, const absl::Condition&)>& wait) {
  Handover handover;
  auto run = [&](bool (Handover::*mine)() const) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    for (int i = 0; i < kRounds; ++i) {
      wait(handover, absl::Condition(static_cast<const Handover*>(&handover), mine));
      ++handover.value;
      handover.changed.Signal();
      handover.mutex.Unlock();
    }
  };
  std::thread other(run, &Handover::IsOdd);
  run(&Handover::IsEven);
  other.join();
  return handover.value;
}

// The cases lock and TakeTurns unlocks, which Clang's analysis cannot follow.
TEST(AbslForTsanTest, ShowsEveryWayOfWaitingForTheLock) {
  const struct {
    const char* name;
    void (*wait)(Handover&, const absl::Condition&);
  } kCases[] = {
      {"Lock, spinning",
       [](Handover& h, const absl::Condition& mine) ABSL_NO_THREAD_SAFETY_ANALYSIS {
         for (h.mutex.Lock(); !mine.Eval(); h.mutex.Lock()) {
           h.mutex.Unlock();
           std::this_thread::yield();
         }
       }},
      {"TryLock, spinning",
       [](Handover& h, const absl::Condition& mine) ABSL_NO_THREAD_SAFETY_ANALYSIS {
         while (true) {
           std::this_thread::yield();
           if (!h.mutex.TryLock()) continue;
           if (mine.Eval()) return;
           h.mutex.Unlock();
         }
       }},
      {"Await",
       [](Handover& h, const absl::Condition& mine) ABSL_NO_THREAD_SAFETY_ANALYSIS {
         h.mutex.Lock();
         h.mutex.Await(mine);
       }},
      {"AwaitWithTimeout",
       [](Handover& h, const absl::Condition& mine) ABSL_NO_THREAD_SAFETY_ANALYSIS {
         h.mutex.Lock();
         while (!h.mutex.AwaitWithTimeout(mine, absl::Microseconds(50))) continue;
       }},
      {"LockWhen", [](Handover& h, const absl::Condition& mine)
                       ABSL_NO_THREAD_SAFETY_ANALYSIS { h.mutex.LockWhen(mine); }},
      {"LockWhenWithTimeout",
       [](Handover& h, const absl::Condition& mine) ABSL_NO_THREAD_SAFETY_ANALYSIS {
         while (!h.mutex.LockWhenWithTimeout(mine, absl::Microseconds(50))) h.mutex.Unlock();
       }},
      {"CondVar::Wait",
       [](Handover& h, const absl::Condition& mine) ABSL_NO_THREAD_SAFETY_ANALYSIS {
         h.mutex.Lock();
         while (!mine.Eval()) h.changed.Wait(&h.mutex);
       }},
      {"CondVar::WaitWithTimeout",
       [](Handover& h, const absl::Condition& mine) ABSL_NO_THREAD_SAFETY_ANALYSIS {
         h.mutex.Lock();
         while (!mine.Eval()) h.changed.WaitWithTimeout(&h.mutex, absl::Microseconds(50));
       }},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(TakeTurns(c.wait), 2 * kRounds);
  }
}

TEST(AbslForTsanTest, ShowsWhatReadersHandToTheNextWriter) {
  absl::Mutex mutex;
  int value = 0;
  std::thread reader([&] {
    for (int i = 0; i < kRounds; ++i) {
      absl::ReaderMutexLock lock(&mutex);
      EXPECT_GE(value, 0);
    }
  });
  for (int i = 0; i < kRounds; ++i) {
    absl::MutexLock lock(&mutex);
    ++value;
  }
  reader.join();
}

TEST(AbslForTsanTest, ShowsEveryWayOfWaitingForANotification) {
  const struct {
    const char* name;
    void (*wait)(const absl::Notification&);
  } kCases[] = {
      {"WaitForNotification", [](const absl::Notification& n) { n.WaitForNotification(); }},
      {"WaitForNotificationWithTimeout",
       [](const absl::Notification& n) {
         while (!n.WaitForNotificationWithTimeout(absl::Microseconds(50))) continue;
       }},
      {"HasBeenNotified",
       [](const absl::Notification& n) {
         while (!n.HasBeenNotified()) std::this_thread::yield();
       }},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    for (int i = 0; i < kRounds; ++i) {
      absl::Notification ready;
      int value = 0;
      std::thread waiter([&] {
        c.wait(ready);
        EXPECT_EQ(value, 1);
      });
      value = 1;
      ready.Notify();
      waiter.join();
    }
  }
}

TEST(AbslForTsanTest, ShowsWhatABlockingCounterCollects) {
  for (int i = 0; i < kRounds; ++i) {
    absl::BlockingCounter done(2);
    int first = 0;
    int second = 0;
    std::thread a([&] { first = 1, done.DecrementCount(); });
    std::thread b([&] { second = 2, done.DecrementCount(); });
    done.Wait();
    EXPECT_EQ(first + second, 3);
    a.join();
    b.join();
  }
}

}  // namespace
}  // namespace viommu
