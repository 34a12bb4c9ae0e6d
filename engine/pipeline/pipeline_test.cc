// Lanes: who is planned when, in which order plans are applied, and how they are taken back.
#include "engine/pipeline/pipeline.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/backend/fake/fake_backend.h"
#include "engine/base/env.h"
#include "engine/journal/fake_journal.h"
#include "engine/pipeline/flight.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using Lines = std::vector<std::string>;

// What happened, in order. Thread-safe.
class Log {
 public:
  void Add(const std::string& line) {
    absl::MutexLock lock(&mutex_);
    lines_.push_back(line);
  }
  Lines Take() {
    absl::MutexLock lock(&mutex_);
    return std::exchange(lines_, {});
  }

 private:
  absl::Mutex mutex_;
  Lines lines_ ABSL_GUARDED_BY(mutex_);
};

// An operation that does nothing but say what is done with it.
class Step : public Operation {
 public:
  struct Behaviour {
    bool stackable = true;
    int failing_plans = 0;  // That many plans are refused first.
    absl::Status applied;
    bool nothing_to_do = false;
    std::function<void()> while_applying;
    std::vector<Uid> lanes_later;  // Answered from the second call of Lanes on; empty: no change.
  };

  Step(Log* log, std::string name, std::vector<Uid> lanes, Behaviour behaviour, CallContext context)
      : Operation(std::move(context)),
        log_(log),
        name_(std::move(name)),
        lanes_(std::move(lanes)),
        behaviour_(std::move(behaviour)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model&) override {
    if (lanes_.empty()) return absl::NotFoundError(name_);
    std::vector<Uid> lanes = lanes_;
    if (!behaviour_.lanes_later.empty()) lanes_ = behaviour_.lanes_later;
    return lanes;
  }
  bool stackable() const override { return behaviour_.stackable; }
  absl::Status Plan(Model&) override {
    if (behaviour_.failing_plans-- > 0) {
      log_->Add("refuse " + name_);
      return absl::FailedPreconditionError(name_);
    }
    log_->Add("plan " + name_);
    return absl::OkStatus();
  }
  bool nothing_to_do() const override { return behaviour_.nothing_to_do; }
  void Unplan(Model&) override { log_->Add("unplan " + name_); }
  LogicalOperation Logical() const override {
    log_->Add("journal " + name_);
    return record::Detach{name_};
  }
  absl::Status Apply(Backend&) override {
    log_->Add("apply " + name_);
    if (behaviour_.while_applying) behaviour_.while_applying();
    return behaviour_.applied;
  }
  void Commit(Model&) override { log_->Add("commit " + name_); }

  void RefuseFromNowOn() { behaviour_.failing_plans = 1000; }

 private:
  Log* const log_;
  const std::string name_;
  std::vector<Uid> lanes_;
  Behaviour behaviour_;
};

Step::Behaviour Exclusive() {
  Step::Behaviour behaviour;
  behaviour.stackable = false;
  return behaviour;
}
Step::Behaviour FailingApply() {
  Step::Behaviour behaviour;
  behaviour.applied = absl::ResourceExhaustedError("hardware");
  return behaviour;
}
Step::Behaviour Refused(int times) {
  Step::Behaviour behaviour;
  behaviour.failing_plans = times;
  return behaviour;
}

class PipelineTest : public ::testing::Test {
 protected:
  using Flight = std::unique_ptr<Pipeline::Flight>;

  Step& Make(const std::string& name, std::vector<Uid> lanes, Step::Behaviour behaviour = {},
             const CallContext& context = {}) {
    steps_.push_back(
        std::make_unique<Step>(&log_, name, std::move(lanes), std::move(behaviour), context));
    return *steps_.back();
  }
  Flight Start(Step& step, Pipeline::Cohort* cohort = nullptr) {
    return pipeline_.Start(step, cohort, /*may_wait=*/false);
  }
  absl::StatusCode Finish(const Flight& flight) { return pipeline_.Finish(*flight).code(); }

  FakeBackend backend_{SmallTopology()};
  FakeJournal journal_;
  Model model_{&backend_, RealEnv(), OwnerLimits()};
  Pipeline pipeline_{&model_, &backend_, &journal_};
  Log log_;
  std::vector<std::unique_ptr<Step>> steps_;
};

TEST_F(PipelineTest, TakesEveryStepInOrder) {
  EXPECT_TRUE(pipeline_.Run(Make("a", {1})).ok());
  EXPECT_EQ(log_.Take(), (Lines{"plan a", "journal a", "apply a", "commit a"}));
}

TEST_F(PipelineTest, EndsWhereThereIsNothingToDo) {
  CallContext dry;
  dry.validate_only = true;
  Step::Behaviour idle;
  idle.nothing_to_do = true;
  EXPECT_TRUE(pipeline_.Run(Make("a", {1}, {}, dry)).ok());
  EXPECT_TRUE(pipeline_.Run(Make("b", {1}, idle)).ok());
  EXPECT_FALSE(pipeline_.Run(Make("c", {})).ok()) << "its names can not be looked up";
  EXPECT_FALSE(pipeline_.Run(Make("d", {1}, Refused(1))).ok());
  EXPECT_EQ(log_.Take(), (Lines{"plan a", "unplan a", "plan b", "refuse d"}));
  EXPECT_TRUE(pipeline_.Run(Make("e", {1}, Exclusive())).ok()) << "the lane is free";
}

TEST_F(PipelineTest, AppliesInOrderOfArrivalWhoeverIsDrivenFirst) {
  const Flight a = Start(Make("a", {1}));
  const Flight b = Start(Make("b", {1}));
  std::thread second([&] { EXPECT_EQ(Finish(b), absl::StatusCode::kOk); });
  absl::SleepFor(absl::Milliseconds(10));
  EXPECT_FALSE(pipeline_.Ready(*b));
  EXPECT_TRUE(pipeline_.Ready(*a));
  EXPECT_EQ(Finish(a), absl::StatusCode::kOk);
  second.join();
  EXPECT_EQ(log_.Take(), (Lines{"plan a", "journal a", "plan b", "journal b", "apply a", "commit a",
                                "apply b", "commit b"}));
}

TEST_F(PipelineTest, PlansTogetherOnlyWhatIsStackable) {
  const struct {
    const char* name;
    bool first_stackable;
    std::vector<Uid> first_lanes;
    bool second_stackable;
    std::vector<Uid> second_lanes;
    bool together;
  } kCases[] = {
      {"both stackable", true, {1}, true, {1}, true},
      {"the second is not", true, {1}, false, {1}, false},
      {"the first is not", false, {1}, true, {1}, false},
      {"other objects", false, {1}, false, {2}, true},
      {"one object in common", false, {1, 2}, false, {2, 3}, false},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    Step::Behaviour first, second;
    first.stackable = c.first_stackable;
    second.stackable = c.second_stackable;
    const Flight a = Start(Make("a", c.first_lanes, first));
    const Flight b = Start(Make("b", c.second_lanes, second));
    EXPECT_EQ(b != nullptr, c.together);
    EXPECT_EQ(Finish(a), absl::StatusCode::kOk);
    if (b == nullptr) continue;
    EXPECT_EQ(Finish(b), absl::StatusCode::kOk);
  }
}

TEST_F(PipelineTest, StackableOnesDoNotStarveAnExclusiveOne) {
  const Flight a = Start(Make("a", {1}));
  Step& exclusive = Make("exclusive", {1}, Exclusive());
  std::thread waiting([&] { EXPECT_TRUE(pipeline_.Run(exclusive).ok()); });
  // Once it waits, what comes after it waits as well, although it could be planned beside `a`.
  std::vector<Flight> before;
  while (Flight flight = Start(Make("stackable", {1}))) {
    before.push_back(std::move(flight));
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_EQ(Finish(a), absl::StatusCode::kOk);
  for (const Flight& flight : before) EXPECT_EQ(Finish(flight), absl::StatusCode::kOk);
  waiting.join();
}

TEST_F(PipelineTest, TakesBackInReverseAndPlansAgainWhatStoodOnAFailure) {
  const Flight a = Start(Make("a", {1}, FailingApply()));
  const Flight b = Start(Make("b", {1}));
  const Flight c = Start(Make("c", {1}));
  log_.Take();
  EXPECT_EQ(Finish(a), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(log_.Take(), (Lines{"apply a", "unplan c", "unplan b", "unplan a"}));
  EXPECT_EQ(journal_.aborted(), (std::vector<Ticket>{3, 2, 1}));
  EXPECT_EQ(Finish(b), absl::StatusCode::kOk);
  EXPECT_EQ(Finish(c), absl::StatusCode::kOk);
  EXPECT_EQ(log_.Take(), (Lines{"plan b", "journal b", "apply b", "commit b", "plan c", "journal c",
                                "apply c", "commit c"}));
  EXPECT_EQ(journal_.records().size(), 5u);
}

TEST_F(PipelineTest, NothingIsAppliedThatTheJournalCouldNotKeep) {
  journal_.SetAnswer(absl::DataLossError("disk gone"));
  EXPECT_EQ(pipeline_.Run(Make("a", {1})).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(log_.Take(), (Lines{"plan a", "journal a", "unplan a"}));
  EXPECT_EQ(journal_.aborted(), std::vector<Ticket>{1});
}

TEST_F(PipelineTest, AskedForAPlanAgainBeforeARefusalIsBelieved) {
  const Flight a = Start(Make("a", {1}));
  Step& refused_once = Make("b", {1}, Refused(1));
  EXPECT_EQ(Start(refused_once), nullptr) << "its refusal stands on what is unsettled";
  Step& refused_twice = Make("c", {1}, Refused(2));
  std::thread waiting([&] {
    EXPECT_EQ(pipeline_.Run(refused_twice).code(), absl::StatusCode::kFailedPrecondition);
  });
  Lines log;
  while (log.empty() || log.back() != "refuse c") {
    for (const std::string& line : log_.Take()) log.push_back(line);
  }
  EXPECT_EQ(Finish(a), absl::StatusCode::kOk);
  waiting.join();
  EXPECT_EQ(log_.Take(), (Lines{"apply a", "commit a", "refuse c"}));
}

TEST_F(PipelineTest, AFailureStopsItsCohortAndNobodyElse) {
  Pipeline::Cohort cohort, other;
  const Flight a = Start(Make("a", {1}, FailingApply()), &cohort);
  const Flight b = Start(Make("b", {1}), &cohort);
  const Flight c = Start(Make("c", {1}), &other);
  EXPECT_EQ(Finish(a), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(pipeline_.Ready(*b));
  EXPECT_EQ(Finish(b), absl::StatusCode::kAborted);
  EXPECT_EQ(Finish(c), absl::StatusCode::kOk);
  EXPECT_EQ(Finish(Start(Make("d", {1}), &cohort)), absl::StatusCode::kAborted);
  EXPECT_EQ(Finish(Start(Make("e", {2}), &other)), absl::StatusCode::kOk);
  pipeline_.Resume(cohort);
  EXPECT_EQ(Finish(Start(Make("f", {1}), &cohort)), absl::StatusCode::kOk);
  pipeline_.Stop(cohort);
  EXPECT_EQ(Finish(Start(Make("g", {1}), &cohort)), absl::StatusCode::kAborted);
}

TEST_F(PipelineTest, ARefusedSecondPlanStopsTheCohortToo) {
  Pipeline::Cohort cohort;
  const Flight a = Start(Make("a", {1}, FailingApply()));
  Step& second = Make("b", {1});
  const Flight b = Start(second, &cohort);
  const Flight c = Start(Make("c", {1}), &cohort);
  second.RefuseFromNowOn();
  EXPECT_EQ(Finish(a), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Finish(b), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Finish(c), absl::StatusCode::kAborted);
}

TEST_F(PipelineTest, FollowsAnOperationWhoseObjectsChangeWhileItWaits) {
  const Flight a = Start(Make("a", {1}));
  Step::Behaviour moving = Exclusive();
  moving.lanes_later = {2};
  Step& step = Make("b", {1}, moving);
  std::thread waiting([&] { EXPECT_TRUE(pipeline_.Run(step).ok()); });
  absl::SleepFor(absl::Milliseconds(5));
  EXPECT_EQ(Finish(a), absl::StatusCode::kOk);
  waiting.join();
  EXPECT_TRUE(pipeline_.Run(Make("c", {1, 2}, Exclusive())).ok()) << "both lanes are free";
}

TEST_F(PipelineTest, ADeadlineEndsTheWaitForATurn) {
  const Flight a = Start(Make("a", {1}));
  CallContext hurried;
  hurried.deadline = absl::Now() + absl::Milliseconds(5);
  EXPECT_EQ(pipeline_.Run(Make("b", {1}, Exclusive(), hurried)).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Finish(a), absl::StatusCode::kOk);
  EXPECT_EQ(log_.Take(), (Lines{"plan a", "journal a", "apply a", "commit a"}));
}

TEST_F(PipelineTest, AppliesNothingWhileSomebodyLooks) {
  absl::Notification looking, seen;
  std::thread looker([&] {
    EXPECT_TRUE(pipeline_
                    .WhileStill(absl::InfiniteFuture(),
                                [&] {
                                  log_.Add("look");
                                  looking.Notify();
                                  seen.WaitForNotification();
                                  log_.Add("seen");
                                  return absl::OkStatus();
                                })
                    .ok());
  });
  looking.WaitForNotification();
  const Flight a = Start(Make("a", {1}));
  std::thread applier([&] { EXPECT_EQ(Finish(a), absl::StatusCode::kOk); });
  absl::SleepFor(absl::Milliseconds(20));  // Long enough for a wrong Apply.
  seen.Notify();
  looker.join();
  applier.join();
  EXPECT_EQ(log_.Take(), (Lines{"look", "plan a", "journal a", "seen", "apply a", "commit a"}));
}

TEST_F(PipelineTest, LooksWhenWhatIsBeingAppliedIsDone) {
  absl::Notification applying, applied;
  Step::Behaviour slow;
  slow.while_applying = [&] {
    applying.Notify();
    applied.WaitForNotification();
    log_.Add("applied a");
  };
  std::thread applier([&] { EXPECT_TRUE(pipeline_.Run(Make("a", {1}, slow)).ok()); });
  applying.WaitForNotification();
  std::thread looker([&] {
    EXPECT_EQ(pipeline_.WhileStill(absl::InfiniteFuture(),
                                   [&] {
                                     log_.Add("look");
                                     return absl::AbortedError("as it answered");
                                   }),
              absl::AbortedError("as it answered"));
  });
  absl::SleepFor(absl::Milliseconds(20));
  applied.Notify();
  applier.join();
  looker.join();
  const Lines lines = log_.Take();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), "look"), 1);
  EXPECT_LT(std::find(lines.begin(), lines.end(), "applied a"),
            std::find(lines.begin(), lines.end(), "look"));
}

TEST_F(PipelineTest, DoesNotLookAfterItsDeadlineAndLetsTheOthersGoOn) {
  absl::Notification applying, applied;
  Step::Behaviour slow;
  slow.while_applying = [&] {
    applying.Notify();
    applied.WaitForNotification();
  };
  std::thread applier([&] { EXPECT_TRUE(pipeline_.Run(Make("a", {1}, slow)).ok()); });
  applying.WaitForNotification();
  const auto look = [&] {
    log_.Add("look");
    return absl::OkStatus();
  };
  EXPECT_EQ(pipeline_.WhileStill(absl::Now() + absl::Milliseconds(10), look).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(pipeline_.Run(Make("b", {2})).ok()) << "it is held up no longer";
  applied.Notify();
  applier.join();
  const Lines lines = log_.Take();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), "look"), 0);
  EXPECT_TRUE(pipeline_.WhileStill(absl::InfinitePast(), look).ok()) << "nothing to wait for";
}

}  // namespace
}  // namespace viommu
