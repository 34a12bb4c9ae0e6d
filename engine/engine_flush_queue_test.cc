// The flush queue of DMA_FQ default domains, over a fake host that knows what caches may hold.
#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/backend/fake/fake_host_backend.h"
#include "engine/base/errors.h"
#include "engine/engine_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr DeviceIndex kDev5 = 5;

class EngineFlushQueueTest : public ::testing::Test {
 protected:
  explicit EngineFlushQueueTest(const FlushQueueOptions& options = FlushQueueOptions()) {
    Start(options);
  }
  ~EngineFlushQueueTest() override {
    host_.SetHook(nullptr);
    engine_.reset();
    EXPECT_TRUE(host_.breaches().empty()) << host_.breaches()[0];
  }

  void Start(const FlushQueueOptions& options) {
    Engine::Options all;
    all.version = "test";
    all.flush_queue = options;
    engine_ = *Engine::Create(all, &host_, &journal_, &env_);
    operator_.principal = "root";
    operator_.is_operator = true;
    ASSERT_TRUE(engine_->CreateMemoryRegion(operator_, "ram", 1 << 30, std::nullopt).ok());
    ASSERT_TRUE(Set(DefaultDomainType::kDmaFq).ok());
  }

  absl::Status Set(DefaultDomainType type) {
    const auto device = engine_->SetDefaultDomain(operator_, "dev5", type);
    if (device.ok()) {
      EXPECT_EQ(device->default_domain, type);
    }
    return device.status();
  }
  Iova Map(uint64_t pages = 1) {
    const auto iova = engine_->HostMap(operator_, "dev5", {"ram", std::nullopt}, 0, pages * kPage,
                                       Permission::kReadWrite);
    EXPECT_TRUE(iova.ok()) << iova.status();
    return iova.ok() ? *iova : 0;
  }
  absl::Status Unmap(Iova iova, uint64_t pages = 1) {
    return engine_->HostUnmap(operator_, "dev5", iova, pages * kPage);
  }
  // As code and reason, with the field.
  std::string Refusal(uint64_t offset, uint64_t length) {
    const absl::Status status = engine_
                                    ->HostMap(operator_, "dev5", {"ram", std::nullopt}, offset,
                                              length, Permission::kReadWrite)
                                    .status();
    const auto detail = DetailOf(status);
    return detail.has_value() ? detail->reason + " " + detail->field : status.ToString();
  }
  uint64_t Waiting() { return engine_->Stats().flush_queues.waiting; }
  uint64_t Flushes(const std::string& cause) {
    for (const auto& [name, count] : engine_->Stats().flush_queues.flushes) {
      if (name == cause) return count;
    }
    ADD_FAILURE() << "no cause " << cause;
    return 0;
  }
  uint64_t Logged(const std::string& line) {
    const auto log = host_.log();
    return std::count(log.begin(), log.end(), line);
  }
  // The timer's thread does its work after the time has moved.
  static bool Eventually(const std::function<bool()>& holds) {
    for (int i = 0; i < 10000 && !holds(); ++i) absl::SleepFor(absl::Milliseconds(1));
    return holds();
  }
  std::function<absl::Status(const std::string&)> Refuse(const std::string& verb) {
    return [verb](const std::string& asked) {
      if (asked != verb) return absl::OkStatus();
      return absl::Status(Error(absl::StatusCode::kInternal, "QUEUE_ERROR", "broken"));
    };
  }

  FakeEnv env_;
  FakeJournal journal_;
  FakeHostBackend host_{SmallTopology()};
  std::unique_ptr<Engine> engine_;
  CallContext operator_;
};

TEST_F(EngineFlushQueueTest, RefusesLengthsThatTheHostCanNotMap) {
  EXPECT_EQ(Refusal(0, 0), "INVALID_LENGTH length");
  EXPECT_EQ(Refusal(1, 0), "INVALID_LENGTH length") << "told before the alignment";
  EXPECT_EQ(Refusal(0, kPage + 1), "MISALIGNED length");
  EXPECT_EQ(Refusal(1, kPage), "MISALIGNED length");
}

TEST_F(EngineFlushQueueTest, AnUnmapReturnsBeforeItIsFlushedAndItsPlaceIsNotReused) {
  const Iova first = Map();
  ASSERT_TRUE(Unmap(first).ok());
  EXPECT_EQ(Waiting(), 1u);
  EXPECT_EQ(host_.Stale(kDev5).size(), 1u);
  EXPECT_NE(Map(), first);
  EXPECT_EQ(Described(Unmap(first)), "NOT_FOUND IOVA_NOT_COVERED") << "only once";
  EXPECT_EQ(Logged("HostFlush 5"), 0u);
}

TEST_F(EngineFlushQueueTest, TheTimerFlushesAndThePlaceIsFreeAgain) {
  const Iova first = Map();
  ASSERT_TRUE(Unmap(first).ok());
  env_.Advance(absl::Milliseconds(9));
  EXPECT_EQ(Logged("HostFlush 5"), 0u);
  env_.Advance(absl::Milliseconds(1));
  ASSERT_TRUE(Eventually([&] { return Waiting() == 0; }));
  EXPECT_EQ(Flushes("timer"), 1u);
  EXPECT_TRUE(host_.Stale(kDev5).empty());
  EXPECT_EQ(Map(), first);
}

TEST_F(EngineFlushQueueTest, AFullQueueIsFlushedBeforeTheNextRangeEnters) {
  std::vector<Iova> mapped;
  for (int i = 0; i < 256; ++i) mapped.push_back(Map());
  for (int i = 0; i < 255; ++i) ASSERT_TRUE(Unmap(mapped[i]).ok());
  EXPECT_EQ(Waiting(), 255u);
  EXPECT_EQ(Flushes("full"), 0u);
  ASSERT_TRUE(Unmap(mapped[255]).ok());
  EXPECT_EQ(Flushes("full"), 1u);
  EXPECT_EQ(Waiting(), 1u) << "the last one came after the flush";
  EXPECT_EQ(host_.Stale(kDev5).size(), 1u);
}

TEST_F(EngineFlushQueueTest, TheMemoryBehindAQueuedRangeStays) {
  ASSERT_TRUE(Unmap(Map()).ok());
  EXPECT_EQ(Described(engine_->DeleteMemoryRegion(operator_, {"ram", std::nullopt}, "")),
            "FAILED_PRECONDITION IN_USE");
  env_.Advance(absl::Milliseconds(10));
  ASSERT_TRUE(Eventually([&] { return Waiting() == 0; }));
  EXPECT_TRUE(engine_->DeleteMemoryRegion(operator_, {"ram", std::nullopt}, "").ok());
}

TEST_F(EngineFlushQueueTest, TheHostIsNotChargedForWhatItHasUnmapped) {
  ASSERT_TRUE(Unmap(Map()).ok());
  for (const UsageView& view : engine_->ListUsage(operator_)) {
    EXPECT_FALSE(view.owner.empty()) << view.limit;
  }
}

TEST_F(EngineFlushQueueTest, AFailedTimerFlushLetsNothingGoAndIsTriedAgain) {
  const Iova first = Map();
  ASSERT_TRUE(Unmap(first).ok());
  host_.SetHook(Refuse("HostFlush"));
  env_.Advance(absl::Milliseconds(10));
  ASSERT_TRUE(Eventually([&] { return engine_->Stats().flush_queues.failures == 1; }));
  EXPECT_EQ(Waiting(), 1u);
  EXPECT_NE(Map(), first);
  host_.SetHook(nullptr);
  env_.Advance(absl::Milliseconds(10));
  EXPECT_TRUE(Eventually([&] { return Waiting() == 0; }));
}

// A ring with room for one range.
class SmallestFlushQueueTest : public EngineFlushQueueTest {
 protected:
  SmallestFlushQueueTest() : EngineFlushQueueTest({2, absl::Seconds(1)}) {}
};

TEST_F(SmallestFlushQueueTest, AFailedFlushOfAFullQueueRefusesTheUnmap) {
  const Iova first = Map();
  const Iova second = Map();
  ASSERT_TRUE(Unmap(first).ok());
  host_.SetHook(Refuse("HostFlush"));
  EXPECT_EQ(Described(Unmap(second)), "INTERNAL QUEUE_ERROR");
  EXPECT_EQ(Waiting(), 1u);
  EXPECT_EQ(engine_->Stats().flush_queues.failures, 1u);
  host_.SetHook(nullptr);
  EXPECT_TRUE(Unmap(second).ok()) << "it was still mapped";
}

TEST_F(EngineFlushQueueTest, AClaimFlushesFirst) {
  ASSERT_TRUE(Unmap(Map()).ok());
  ASSERT_TRUE(engine_->ClaimDevice(operator_, "dev5", "").ok());
  EXPECT_EQ(Waiting(), 0u);
  EXPECT_EQ(Flushes("sync"), 1u);
  const auto log = host_.log();
  EXPECT_LT(std::find(log.begin(), log.end(), "HostFlush 5"),
            std::find(log.begin(), log.end(), "Claim 5"));
}

TEST_F(EngineFlushQueueTest, AClaimThatCanNotFlushIsRefusedAndKeepsWhatWaits) {
  ASSERT_TRUE(Unmap(Map()).ok());
  for (const char* const verb : {"HostFlush", "Claim"}) {
    host_.SetHook(Refuse(verb));
    EXPECT_EQ(Described(engine_->ClaimDevice(operator_, "dev5", "").status()),
              "INTERNAL QUEUE_ERROR");
    EXPECT_EQ(engine_->GetDevice(operator_, "dev5")->ownership, DeviceOwnership::kHost);
    EXPECT_EQ(Waiting(), 1u) << verb;
  }
  host_.SetHook(nullptr);
  env_.Advance(absl::Milliseconds(20));
  EXPECT_TRUE(Eventually([&] { return Waiting() == 0; }));
}

TEST_F(EngineFlushQueueTest, DryRunsNeitherFlushNorPutOffTheTimer) {
  ASSERT_TRUE(Unmap(Map()).ok());
  env_.Advance(absl::Milliseconds(9));
  CallContext dry = operator_;
  dry.validate_only = true;
  ASSERT_TRUE(engine_->ClaimDevice(dry, "dev5", "").ok());
  ASSERT_TRUE(engine_->SetDefaultDomain(dry, "dev5", DefaultDomainType::kDma).ok());
  EXPECT_EQ(Waiting(), 1u);
  EXPECT_EQ(engine_->Stats().flush_queues.failures, 0u);
  env_.Advance(absl::Milliseconds(1));
  EXPECT_TRUE(Eventually([&] { return Waiting() == 0; }));
}

TEST_F(EngineFlushQueueTest, ChangesBetweenDmaAndDmaFqAreLiveAndFlushOnTheWayBack) {
  const Iova kept = Map();
  const Iova gone = Map();
  ASSERT_TRUE(Unmap(gone).ok());
  const uint64_t assigned = Logged("AssignDefault 5");
  EXPECT_TRUE(Set(DefaultDomainType::kDma).ok());
  EXPECT_EQ(Waiting(), 0u);
  EXPECT_EQ(Flushes("sync"), 1u);
  ASSERT_TRUE(Unmap(kept).ok()) << "it stayed mapped";
  EXPECT_EQ(Waiting(), 0u) << "strict";
  const Iova other = Map();
  EXPECT_TRUE(Set(DefaultDomainType::kDmaFq).ok());
  ASSERT_TRUE(Unmap(other).ok());
  EXPECT_EQ(Waiting(), 1u);
  EXPECT_EQ(Logged("AssignDefault 5"), assigned) << "no hardware entry was touched";
}

TEST_F(EngineFlushQueueTest, AChangeBackToDmaThatCanNotFlushChangesNothing) {
  ASSERT_TRUE(Unmap(Map()).ok());
  host_.SetHook(Refuse("HostFlush"));
  EXPECT_EQ(Described(Set(DefaultDomainType::kDma)), "INTERNAL QUEUE_ERROR");
  EXPECT_EQ(engine_->GetDevice(operator_, "dev5")->default_domain, DefaultDomainType::kDmaFq);
  EXPECT_EQ(Waiting(), 1u);
}

TEST_F(EngineFlushQueueTest, AChangeToIdentityNeedsNoLiveMappingsAndFlushes) {
  const Iova iova = Map();
  EXPECT_EQ(Described(Set(DefaultDomainType::kIdentity)), "FAILED_PRECONDITION HOST_MAPPINGS");
  ASSERT_TRUE(Unmap(iova).ok());
  EXPECT_TRUE(Set(DefaultDomainType::kIdentity).ok());
  EXPECT_EQ(Waiting(), 0u);
  const Iova passed_through = Map();
  EXPECT_EQ(Described(Set(DefaultDomainType::kDmaFq)), "FAILED_PRECONDITION HOST_MAPPINGS");
  ASSERT_TRUE(Unmap(passed_through).ok());
  EXPECT_EQ(Waiting(), 0u) << "nothing of it is cached";
  EXPECT_TRUE(Set(DefaultDomainType::kDmaFq).ok());
}

TEST_F(EngineFlushQueueTest, WhatIsQueuedWhileAFlushRunsWaitsForTheNext) {
  const Iova first = Map();
  const Iova second = Map();
  ASSERT_TRUE(Unmap(first).ok());
  absl::Notification begun, go_on;
  host_.SetHook([&](const std::string& verb) {
    if (verb == "HostFlush" && !begun.HasBeenNotified()) {
      begun.Notify();
      go_on.WaitForNotification();
    }
    return absl::OkStatus();
  });
  env_.Advance(absl::Milliseconds(10));
  begun.WaitForNotification();
  ASSERT_TRUE(Unmap(second).ok()) << "a flush that is under way holds up nobody";
  go_on.Notify();
  ASSERT_TRUE(Eventually([&] { return Flushes("timer") == 1; }));
  EXPECT_EQ(Waiting(), 1u);
  ASSERT_EQ(host_.Stale(kDev5).size(), 1u);
  EXPECT_EQ(host_.Stale(kDev5)[0].first, second);
  EXPECT_EQ(Map(), first);
  env_.Advance(absl::Milliseconds(10));
  EXPECT_TRUE(Eventually([&] { return Waiting() == 0; }));
}

TEST_F(EngineFlushQueueTest, AnEngineThatEndsFlushesWhatStillWaits) {
  ASSERT_TRUE(Unmap(Map()).ok());
  engine_.reset();
  EXPECT_EQ(Logged("HostFlush 5"), 1u);
  EXPECT_TRUE(host_.Stale(kDev5).empty());
}

TEST_F(SmallestFlushQueueTest, TheSettingsAreShownAndKept) {
  EXPECT_EQ(engine_->GetHost().flush_queue.ring_entries, 2u);
  EXPECT_EQ(engine_->GetHost().flush_queue.timeout, absl::Seconds(1));
  ASSERT_TRUE(Unmap(Map()).ok());
  env_.Advance(absl::Milliseconds(999));
  EXPECT_EQ(Logged("HostFlush 5"), 0u);
  EXPECT_EQ(engine_->Stats().flush_queues.deepest, 1u);
}

}  // namespace
}  // namespace viommu
