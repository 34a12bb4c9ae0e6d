// The flush queue over the software IOMMU: what a device can still reach of what was unmapped, with
// caches that are filled at every step.
#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/soft/test_topology.h"
#include "engine/backend/soft/vtd_registers.h"
#include "engine/base/address.h"
#include "engine/engine.h"
#include "engine/engine_fixture.h"
#include "engine/journal/fake_journal.h"
#include "engine/types.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kRegionPages = 1024;
constexpr uint32_t kRing = 8;
constexpr absl::Duration kTimeout = absl::Milliseconds(10);
constexpr char kDevice[] = "disk-b";  // With a device TLB.
constexpr uint64_t kFault = ~uint64_t{0};

class SoftFlushQueueTest : public ::testing::Test {
 protected:
  SoftFlushQueueTest() {
    SoftBackendOptions options;
    options.table_arena_bytes = uint64_t{64} << 20;
    backend_ = *SoftBackend::Create(TestTopology(), options, PlainStore());
    Engine::Options all;
    all.version = "test";
    all.flush_queue = {kRing, kTimeout};
    engine_ = *Engine::Create(all, backend_.get(), &journal_, &env_);
    operator_.is_operator = true;
    EXPECT_TRUE(
        engine_->CreateMemoryRegion(operator_, "ram", kRegionPages * kPage, std::nullopt).ok());
    for (uint64_t page = 0; page < kRegionPages; ++page) {  // Every page says which one it is.
      char bytes[sizeof(page)];
      std::copy_n(reinterpret_cast<const char*>(&page), sizeof(page), bytes);
      EXPECT_TRUE(
          engine_->WriteMemory(operator_, Ram(), page * kPage, absl::MakeConstSpan(bytes)).ok());
    }
    EXPECT_TRUE(Set(DefaultDomainType::kDmaFq).ok());
  }

  static ObjectRef Ram() { return {"ram", std::nullopt}; }
  absl::Status Set(DefaultDomainType type) {
    return engine_->SetDefaultDomain(operator_, kDevice, type).status();
  }
  Iova Map(uint64_t page, uint64_t pages = 1) {
    const auto iova = engine_->HostMap(operator_, kDevice, Ram(), page * kPage, pages * kPage,
                                       Permission::kReadWrite);
    EXPECT_TRUE(iova.ok()) << iova.status();
    return iova.ok() ? *iova : 0;
  }
  absl::Status Unmap(Iova iova, uint64_t pages = 1) {
    return engine_->HostUnmap(operator_, kDevice, iova, pages * kPage);
  }
  // The page that the device reads at an IOVA; kFault: none.
  uint64_t Read(Iova iova) {
    uint64_t page = 0;
    const auto done = engine_->Dma(operator_, kDevice, iova, false,
                                   absl::MakeSpan(reinterpret_cast<char*>(&page), sizeof(page)));
    EXPECT_TRUE(done.ok()) << done.status();
    return done.ok() && !done->fault.has_value() ? page : kFault;
  }
  uint64_t Waiting() { return engine_->Stats().flush_queues.waiting; }
  static bool Eventually(const std::function<bool()>& holds) {
    for (int i = 0; i < 10000 && !holds(); ++i) absl::SleepFor(absl::Milliseconds(1));
    return holds();
  }

  std::unique_ptr<SoftBackend> backend_;
  FakeEnv env_;
  FakeJournal journal_;
  std::unique_ptr<Engine> engine_;
  CallContext operator_;
};

TEST_F(SoftFlushQueueTest, AStaleTranslationLivesNoLongerThanItsFlush) {
  const Iova iova = Map(7);
  EXPECT_EQ(Read(iova), 7u);
  ASSERT_TRUE(Unmap(iova).ok());
  EXPECT_EQ(Read(iova), 7u) << "the price of deferring";
  EXPECT_NE(Map(8), iova);
  env_.Advance(kTimeout);
  ASSERT_TRUE(Eventually([&] { return Waiting() == 0; }));
  EXPECT_EQ(Read(iova), kFault);
}

TEST_F(SoftFlushQueueTest, NothingStaleOutlivesAClaim) {
  const Iova iova = Map(7);
  EXPECT_EQ(Read(iova), 7u);
  ASSERT_TRUE(Unmap(iova).ok());
  ASSERT_TRUE(engine_->ClaimDevice(operator_, kDevice, "").ok());
  EXPECT_EQ(Waiting(), 0u);
  EXPECT_EQ(Read(iova), kFault) << "it lands on BLOCKED";
  ASSERT_TRUE(engine_->ReleaseDevice(operator_, kDevice, "").ok());
  EXPECT_EQ(Read(iova), kFault);
}

TEST_F(SoftFlushQueueTest, NothingStaleIsLeftWhenDmaIsStrictAgain) {
  const Iova iova = Map(7);
  EXPECT_EQ(Read(iova), 7u);
  ASSERT_TRUE(Unmap(iova).ok());
  ASSERT_TRUE(Set(DefaultDomainType::kDma).ok());
  EXPECT_EQ(Read(iova), kFault);
}

TEST_F(SoftFlushQueueTest, HardwareThatDoesNotFlushKeepsRangesAndMemoryInUse) {
  const Iova kept = Map(6);  // Its tables stay, so that mapping beside it needs no flush.
  const Iova iova = Map(7);
  EXPECT_EQ(Read(iova), 7u);
  ASSERT_TRUE(Unmap(iova).ok());
  auto& unit = backend_->machine().unit_of(kDiskB).hardware();
  unit.Write32(vtd::kGlobalCommandRegister, vtd::kTranslationEnable);
  env_.Advance(kTimeout);
  ASSERT_TRUE(Eventually([&] { return engine_->Stats().flush_queues.failures > 0; }));
  EXPECT_EQ(Waiting(), 1u);
  const Iova other = Map(8);
  EXPECT_NE(other, iova);
  ASSERT_TRUE(Unmap(other).ok() && Unmap(kept).ok());
  EXPECT_FALSE(engine_->ClaimDevice(operator_, kDevice, "").ok());
  EXPECT_EQ(Described(engine_->DeleteMemoryRegion(operator_, Ram(), "")),
            "FAILED_PRECONDITION IN_USE");
  unit.Write32(vtd::kGlobalCommandRegister, vtd::kTranslationEnable | vtd::kQueueEnable);
  env_.Advance(2 * kTimeout);
  ASSERT_TRUE(Eventually([&] { return Waiting() == 0; }));
  EXPECT_EQ(Read(iova), kFault);
}

TEST_F(SoftFlushQueueTest, AnEngineThatEndsLeavesNothingStale) {
  const Iova iova = Map(7);
  EXPECT_EQ(Read(iova), 7u);
  ASSERT_TRUE(Unmap(iova).ok());
  engine_.reset();
  char bytes[8];
  EXPECT_TRUE(backend_->simulation()
                  ->Dma(kDiskB, std::nullopt, iova, false, absl::MakeSpan(bytes))
                  .fault.has_value());
}

// Random calls against a plain model of what is live, what waits and what is free.
class Walk : public SoftFlushQueueTest {
 protected:
  struct Mapped {
    Iova iova = 0;
    uint64_t page = 0;  // Of the region, the first.
    uint64_t pages = 0;
    absl::Time unmapped;

    IovaRange range() const { return {iova, iova + pages * kPage - 1}; }
  };

  uint64_t Random(uint64_t below) { return random_() % below; }

  void MapSome() {
    Mapped m;
    m.pages = Random(8) == 0 ? 512 : 1 + Random(4);
    m.page = m.pages == 512 ? 512 * Random(2) : Random(kRegionPages - m.pages);
    m.iova = Map(m.page, m.pages);
    for (const auto* taken : {&live_, &queued_}) {
      for (const Mapped& other : *taken) {
        ASSERT_FALSE(other.range().Overlaps(m.range())) << ToString(m.range());
      }
    }
    live_.push_back(m);
    Look(m);
  }
  void UnmapSome() {
    if (live_.empty()) return;
    const size_t which = Random(live_.size());
    Mapped m = live_[which];
    live_.erase(live_.begin() + static_cast<ptrdiff_t>(which));
    Look(m);
    ASSERT_TRUE(Unmap(m.iova, m.pages).ok());
    if (type_ == DefaultDomainType::kDma) {
      Free(m);
      return;
    }
    if (queued_.size() == kRing - 1) FreeAll();
    m.unmapped = env_.Now();
    queued_.push_back(m);
  }
  void PassTime() {
    env_.Advance(absl::Milliseconds(1 + Random(6)));
    if (queued_.empty() || queued_.front().unmapped + kTimeout > env_.Now()) return;
    ASSERT_TRUE(Eventually([&] { return Waiting() == 0; }));
    FreeAll();
  }
  void ChangeType() {
    type_ = type_ == DefaultDomainType::kDma ? DefaultDomainType::kDmaFq : DefaultDomainType::kDma;
    ASSERT_TRUE(Set(type_).ok());
    if (type_ == DefaultDomainType::kDma) FreeAll();
  }
  void ClaimAndRelease() {
    const bool refused = !engine_->ClaimDevice(operator_, kDevice, "").ok();
    ASSERT_EQ(refused, !live_.empty());
    if (refused) return;
    FreeAll();
    LookAround();
    ASSERT_TRUE(engine_->ReleaseDevice(operator_, kDevice, "").ok());
  }

  void Free(const Mapped& m) {
    free_.push_back(m);
    if (free_.size() > 32) free_.pop_front();
  }
  void FreeAll() {
    for (const Mapped& m : queued_) Free(m);
    queued_.clear();
  }

  // The device uses, and its caches keep, a page of what is mapped.
  void Look(const Mapped& m) {
    const uint64_t offset = Random(m.pages);
    ASSERT_EQ(Read(m.iova + offset * kPage), m.page + offset);
  }
  void LookAround() {
    for (const Mapped& m : live_) Look(m);
    for (const Mapped& m : queued_) {
      const uint64_t offset = Random(m.pages);
      const uint64_t seen = Read(m.iova + offset * kPage);
      ASSERT_TRUE(seen == m.page + offset || seen == kFault) << seen;
      stale_seen_ += seen == kFault ? 0 : 1;
    }
    for (const Mapped& m : free_) {
      const Iova iova = m.iova + Random(m.pages) * kPage;
      const auto covers = [&](const Mapped& other) {
        return other.range().first <= iova && iova <= other.range().last;
      };
      if (std::any_of(live_.begin(), live_.end(), covers) ||
          std::any_of(queued_.begin(), queued_.end(), covers)) {
        continue;
      }
      ASSERT_EQ(Read(iova), kFault) << Hex(iova);
      ++free_seen_;
    }
    ASSERT_EQ(Waiting(), queued_.size());
  }

  void Run(uint32_t seed, int steps) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    random_.seed(seed);
    for (int step = 0; step < steps && !HasFatalFailure(); ++step) {
      SCOPED_TRACE(absl::StrCat("step ", step));
      const uint64_t dice = Random(100);
      if (dice < 45 && live_.size() < 24) {
        MapSome();
      } else if (dice < 88) {
        UnmapSome();
      } else if (dice < 95) {
        PassTime();
      } else if (dice < 97) {
        ChangeType();
      } else {
        ClaimAndRelease();
      }
      if (!HasFatalFailure()) LookAround();
    }
  }

  std::mt19937 random_;
  DefaultDomainType type_ = DefaultDomainType::kDmaFq;
  std::deque<Mapped> live_, queued_, free_;
  uint64_t stale_seen_ = 0;
  uint64_t free_seen_ = 0;
};

TEST_F(Walk, NothingIsReusedBeforeItsFlushAndNothingIsStaleAfterIt) {
  for (const uint32_t seed : {1u, 2u, 3u, 4u}) {
    Run(seed, 1500);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(stale_seen_, 1000u) << "the walk is to meet what it is about";
  EXPECT_GT(free_seen_, 10000u);
  for (const auto& [cause, count] : engine_->Stats().flush_queues.flushes) {
    EXPECT_GT(count, 10u) << cause;
  }
}

}  // namespace
}  // namespace viommu
