// A flood of grants starves nobody: revokes are taken in at any time and wait for a limited number
// of grants only. Counted in effects of the backend, not in time.
#include <algorithm>
#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kInFlight = 8;
constexpr int kThreads = 64;

OwnerLimits FewInFlight() {
  OwnerLimits limits;
  limits.max_operations_in_flight = kInFlight;
  return limits;
}

class EngineFloodTest : public EngineTest {
 protected:
  EngineFloodTest() : EngineTest(FewInFlight()) {}

  void SetUp() override {
    SetUpAlice();
    ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x1000, 0x1000)).ok());
  }
  void TearDown() override { EndFlood(); }

  // 64 threads that map without end; the journal keeps the first ones waiting, as many as may be
  // under way.
  void StartFlood() {
    journal_.Hold();
    for (int i = 0; i < kThreads; ++i) {
      threads_.emplace_back([this] {
        while (!ended_) {
          const absl::Status status =
              engine_->Map(alice_, Ref("as"), OneMap(std::nullopt, 0x1000)).status();
          ++(status.ok() ? done_ : refused_);
          if (!status.ok()) {
            EXPECT_EQ(Described(status), "RESOURCE_EXHAUSTED IN_FLIGHT_LIMIT");
            std::this_thread::yield();
          }
        }
      });
    }
    while (journal_.held() < kInFlight || refused_ < kThreads) std::this_thread::yield();
  }
  void EndFlood() {
    ended_ = true;
    journal_.Release();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  // Effects that begin with `verb` in the backend's log from `from` on, up to the first that begins
  // with `until`.
  uint64_t EffectsBefore(const std::string& until, size_t from, const std::string& verb) {
    const std::vector<std::string> log = backend_.log();
    uint64_t count = 0;
    for (size_t i = from; i < log.size(); ++i) {
      if (log[i].rfind(until, 0) == 0) return count;
      if (log[i].rfind(verb, 0) == 0) ++count;
    }
    ADD_FAILURE() << "no " << until;
    return count;
  }

  std::atomic<bool> ended_{false};
  std::atomic<uint64_t> done_{0}, refused_{0};
  std::vector<std::thread> threads_;
};

TEST_F(EngineFloodTest, AnUnmapWaitsForTheGrantsBeforeItAndNoMore) {
  StartFlood();
  EXPECT_EQ(journal_.held(), kInFlight) << "as many as the limit, and not one more";
  const size_t from = backend_.log().size();
  std::thread revoke(
      [&] { EXPECT_TRUE(engine_->Unmap(alice_, Ref("as"), OneUnmap(0x1000, 0x1000)).ok()); });
  // Taken in although the limit is reached.
  while (journal_.held() != kInFlight + 1) std::this_thread::yield();
  EXPECT_EQ(done_, 0u);
  journal_.Release();
  revoke.join();
  EXPECT_EQ(EffectsBefore("Unmap ", from, "Map "), kInFlight);
}

// A revoke that can not be planned beside others heads its lanes in the end, before what comes
// later.
TEST_F(EngineFloodTest, AnExclusiveRevokeIsNotOvertaken) {
  StartFlood();
  const size_t from = backend_.log().size();
  std::thread revoke([&] { EXPECT_TRUE(engine_->DeleteDomain(alice_, Ref("d"), "").ok()); });
  // It is in its lanes as soon as a dry run, by somebody who has nothing under way, has to wait; a
  // slow machine alone does not make one wait for so long.
  CallContext probe = operator_;
  probe.validate_only = true;
  const auto has_to_wait = [&] {
    probe.deadline = absl::Now() + absl::Seconds(1);
    MapBatch batch = OneMap(std::nullopt, 0x1000);
    batch.regions[0].owner = "alice";
    return absl::IsDeadlineExceeded(engine_->Map(probe, {"as", "alice"}, batch).status());
  };
  while (!has_to_wait()) std::this_thread::yield();
  journal_.Release();
  revoke.join();
  EXPECT_LE(EffectsBefore("DestroyDomain ", from, "Map "), kInFlight);
}

TEST_F(EngineFloodTest, AnotherCallerIsNotHeldUp) {
  StartFlood();
  journal_.Release();
  EXPECT_TRUE(engine_->CreateIoas(bob_, "as").ok());
  EXPECT_TRUE(engine_->CreateMemoryRegion(bob_, "ram", 4096, std::nullopt).ok());
  EXPECT_TRUE(engine_->Map(bob_, Ref("as"), OneMap(0x1000, 0x1000)).ok());
}

TEST_F(EngineFloodTest, WhatIsRefusedLeavesNothingUnderWay) {
  StartFlood();
  EXPECT_NE(UsageOf(alice_).find("alice max_operations_in_flight 8\n"), std::string::npos);
  const auto detail =
      DetailOf(engine_->Map(alice_, Ref("as"), OneMap(std::nullopt, 0x1000)).status());
  ASSERT_TRUE(detail.has_value());
  EXPECT_EQ(detail->metadata.at("limit"), "max_operations_in_flight");
  EXPECT_EQ(detail->metadata.at("limit_value"), "8");
  EXPECT_EQ(detail->metadata.at("in_use"), "8");
  EXPECT_EQ(detail->metadata.at("requested"), "1");
  EXPECT_EQ(detail->metadata.at("owner"), "alice");
  EndFlood();
  EXPECT_EQ(UsageOf(alice_).find("in_flight"), std::string::npos);
  const auto counted = engine_->Stats().limit_refusals;
  const auto in_flight = std::find_if(counted.begin(), counted.end(), [](const auto& entry) {
    return entry.first == "max_operations_in_flight";
  });
  ASSERT_NE(in_flight, counted.end());
  EXPECT_EQ(in_flight->second, refused_ + 1);
}

// Every revoke gets in; every grant is refused.
TEST_F(EngineFloodTest, OnlyGrantsAreRefusedAtTheLimit) {
  ASSERT_TRUE(engine_->CreateIoas(alice_, "spare").ok());
  ASSERT_TRUE(engine_->CreateMemoryRegion(alice_, "spare", 4096, std::nullopt).ok());
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev4", "").ok());
  StartFlood();
  const std::vector<std::function<absl::Status()>> grants = {
      [&] { return engine_->CreateIoas(alice_, "more").status(); },
      [&] { return engine_->CreateMemoryRegion(alice_, "more", 4096, std::nullopt).status(); },
      [&] {
        return engine_->CreateDomain(alice_, "more", PagingDomainRequest{Ref("as"), "dev0"})
            .status();
      },
      [&] { return engine_->ClaimDevice(alice_, "dev5", "").status(); },
      [&] { return engine_->AttachDevice(alice_, "dev0", Ref("d")).status(); },
      [&] { return engine_->CopyMappings(alice_, Ref("as"), {}).status(); },
      [&] { return engine_->SetAllowedIovaRanges(alice_, Ref("as"), {}, "").status(); },
  };
  for (const auto& grant : grants) {
    EXPECT_EQ(Described(grant()), "RESOURCE_EXHAUSTED IN_FLIGHT_LIMIT");
  }
  const std::vector<std::function<absl::Status()>> revokes = {
      [&] { return engine_->DeleteIoas(alice_, Ref("spare"), ""); },
      [&] { return engine_->DeleteMemoryRegion(alice_, Ref("spare"), ""); },
      [&] { return engine_->DetachDevice(alice_, "dev0").status(); },
      [&] { return engine_->ReleaseDevice(alice_, "dev4", "").status(); },
  };
  std::vector<std::thread> revoking;
  for (const auto& revoke : revokes) revoking.emplace_back([&] { EXPECT_TRUE(revoke().ok()); });
  journal_.Release();
  for (std::thread& thread : revoking) thread.join();
}

}  // namespace
}  // namespace viommu
