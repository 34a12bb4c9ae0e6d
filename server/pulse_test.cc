#include "server/pulse.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// What a pulse said, in order: "works" or why not.
class PulseTest : public ::testing::Test {
 protected:
  Pulse::Options Every(absl::Duration period, absl::Duration patience) {
    Pulse::Options options;
    options.period = period;
    options.patience = patience;
    options.on_success = [this] { ++successes_; };
    options.on_change = [this](bool works, const std::string& why) {
      absl::MutexLock lock(&mutex_);
      said_.push_back(works ? "works" : why);
    };
    return options;
  }

  // The first that it said; on a busy machine more may follow.
  std::vector<std::string> AwaitSaid(size_t count) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [this, count]()
                            ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return said_.size() >= count; };
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(20)));
    return {said_.begin(), said_.begin() + static_cast<ptrdiff_t>(std::min(count, said_.size()))};
  }

  bool SaidNothing() {
    absl::MutexLock lock(&mutex_);
    return said_.empty();
  }

  void AwaitSuccesses(int count) {
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (successes_ < count && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(1));
    ASSERT_GE(successes_, count);
  }

  std::atomic<int> successes_{0};
  absl::Mutex mutex_;
  std::vector<std::string> said_ ABSL_GUARDED_BY(mutex_);
};

TEST_F(PulseTest, TellsOfEachSuccessAndOfNoChangeWhileAllIsWell) {
  Pulse::Options options = Every(absl::Milliseconds(1), absl::Seconds(20));
  options.prove = [] { return absl::OkStatus(); };
  {
    const Pulse pulse(std::move(options));
    AwaitSuccesses(5);
  }
  EXPECT_TRUE(SaidNothing());
}

TEST_F(PulseTest, SaysOnceWhyItFailsAndThatItWorksAgain) {
  std::atomic<bool> broken{true};
  // For the first proof to fail in time: until then it is one that does not end.
  Pulse::Options options = Every(absl::Milliseconds(1), absl::Seconds(2));
  options.prove = [&broken] {
    return broken ? absl::UnavailableError("nobody answers") : absl::OkStatus();
  };
  const Pulse pulse(std::move(options));
  AwaitSaid(1);
  EXPECT_EQ(successes_, 0);
  broken = false;
  EXPECT_THAT(AwaitSaid(2), ElementsAre("nobody answers", "works"));
  AwaitSuccesses(1);
}

TEST_F(PulseTest, ForgivesAFailureThatPasses) {
  std::atomic<int> proofs{0};
  Pulse::Options options = Every(absl::Milliseconds(1), absl::Seconds(20));
  options.prove = [&proofs] {
    return ++proofs % 2 == 0 ? absl::OkStatus() : absl::UnavailableError("now and then");
  };
  {
    const Pulse pulse(std::move(options));
    AwaitSuccesses(3);
  }
  EXPECT_TRUE(SaidNothing());
}

TEST_F(PulseTest, NoticesAProofThatDoesNotEnd) {
  absl::Notification unlocked;
  Pulse::Options options = Every(absl::Milliseconds(1), absl::Milliseconds(50));
  options.prove = [&unlocked] {
    unlocked.WaitForNotification();
    return absl::OkStatus();
  };
  const Pulse pulse(std::move(options));
  EXPECT_THAT(AwaitSaid(1), ElementsAre(HasSubstr("does not end")));
  EXPECT_EQ(successes_, 0);
  unlocked.Notify();
  EXPECT_THAT(AwaitSaid(2), ElementsAre(HasSubstr("does not end"), "works"));
}

TEST_F(PulseTest, EndsInTheMiddleOfAPause) {
  Pulse::Options options = Every(absl::Hours(1), absl::Hours(2));
  options.prove = [] { return absl::OkStatus(); };
  const Pulse pulse(std::move(options));
  AwaitSuccesses(1);
}

}  // namespace
}  // namespace viommu
