// Every verb fails at every point beneath it, and each failure leaves everything as it was.
//
// VIOMMU_TEST_SEED repeats a run; VIOMMU_FAULT_POINTS makes it longer (./dev soak).
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>

#include "gtest/gtest.h"
#include "tests/faults/fault_world.h"
#include "tests/faults/small_host.h"

namespace viommu::faults {
namespace {

constexpr uint64_t kPoints = 12'000;
constexpr uint64_t kHosts = 2;    // Of them all together.
constexpr size_t kVtdKinds = 51;  // Of verbs that a world draws.
constexpr size_t kSmmuKinds = 53;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::stoull(text);
}

// `queue_points`: at least so many of each hundred fail in a command queue.
void FailAtEveryPoint(const Topology& host, size_t kinds, uint64_t queue_points) {
  const uint64_t seed = FromEnvironment(
      "VIOMMU_TEST_SEED", std::chrono::system_clock::now().time_since_epoch().count());
  const uint64_t points = FromEnvironment("VIOMMU_FAULT_POINTS", kPoints) / kHosts;
  std::cout << "seed: VIOMMU_TEST_SEED=" << seed << std::endl;
  FaultWorld world(host, seed);
  while (world.tally().points() < points && world.trouble().empty()) world.Step();
  const Tally& tally = world.tally();
  std::cout << tally.steps << " steps: " << tally.done << " verbs done, " << tally.refused
            << " refused; failed: " << tally.backend_points << " backend calls, "
            << tally.journal_points << " journal writes, " << tally.memory_points
            << " allocations, " << tally.pairs << " pairs; " << tally.left << " left something; "
            << tally.pasids_through << " looks saw PASIDs, " << tally.queue_points
            << " failures of command queues, " << tally.quarantines << " quarantines" << std::endl;
  for (const auto& [kind, done] : tally.done_by_kind) std::cout << kind << ": " << done << "; ";
  std::cout << std::endl;
  EXPECT_EQ(world.trouble(), "") << "repeat with VIOMMU_TEST_SEED=" << seed;
  EXPECT_GE(tally.points(), points);
  // A run in which nothing comes about, or one kind of failure is missing, proves little.
  EXPECT_GT(tally.done, tally.refused / 8);
  EXPECT_GT(tally.left, 0u);
  EXPECT_GT(tally.quarantines, 0u);
  EXPECT_GT(tally.pasids_through, points / 20);
  EXPECT_GE(tally.queue_points, points * queue_points / 100);
  EXPECT_EQ(tally.done_by_kind.size(), kinds);
  for (const auto& [kind, done] : tally.done_by_kind) {
    EXPECT_GT(done, 0u) << kind << " never came about";
  }
  for (const uint64_t kind :
       {tally.backend_points, tally.journal_points, tally.memory_points, tally.pairs}) {
    EXPECT_GT(kind, points / 20);
  }
}

TEST(FaultInjectionTest, AFailureAtAnyPointChangesNothingOfVtd) {
  FailAtEveryPoint(VtdHost(), kVtdKinds, 0);
}

TEST(FaultInjectionTest, AFailureAtAnyPointChangesNothingOfSmmuV3) {
  FailAtEveryPoint(SmmuHost(), kSmmuKinds, 2);
}

}  // namespace
}  // namespace viommu::faults
