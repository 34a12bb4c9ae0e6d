// Random use of small hosts, of VT-d and of SMMUv3s, against a naive reference, watched after every
// store.
//
// It proves that every flush of a change that succeeds is there, complete and in force when the
// call returns: of an entry that changes (PASID cache, IOTLB of either stage, device TLB; also at a
// reset), of an unmap in either stage (pages or the whole domain, tables as well as leaves, on
// every unit, device TLBs with PASID, without, and with PASID 0), of a guest's invalidation, and of
// guests' stages when the stage below them changes. Flushes that follow a failure, or that are
// deferred, have tests beside the soft backend.
//
// VIOMMU_TEST_SEED repeats a run; VIOMMU_STEPS makes it longer (./dev soak).
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>

#include "gtest/gtest.h"
#include "tests/property/small_host.h"
#include "tests/property/world.h"

namespace viommu::property {
namespace {

constexpr uint64_t kSteps = 1'000'000;  // Of all hosts together.
constexpr uint64_t kHosts = 2;
constexpr uint64_t kStepsForEveryKind = 100'000;
constexpr uint64_t kStepsBetweenComparisons = 4096;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::stoull(text);
}

void Print(const Tally& tally) {
  std::cout << tally.steps << " steps: " << tally.verbs_done << " verbs done, "
            << tally.verbs_refused << " refused, " << tally.stores_watched << " stores watched, "
            << tally.looks << " looks after them (" << tally.looks_blocked << " in between), "
            << tally.dma_checks << " DMA checks through the caches, " << tally.reached_memory
            << " to memory, " << tally.with_device_tlb << " with a device TLB" << std::endl;
  for (const auto& [verb, count] : tally.done) std::cout << "  " << verb << ": " << count << '\n';
  for (const auto& [kind, count] : tally.dma_checks_by_kind) {
    std::cout << "  DMA on " << kind << ": " << count << '\n';
  }
  std::cout << std::flush;
}

void RunAgainstTheReference(const SmallHost& host) {
  const uint64_t seed = FromEnvironment(
      "VIOMMU_TEST_SEED", std::chrono::system_clock::now().time_since_epoch().count());
  const uint64_t steps = FromEnvironment("VIOMMU_STEPS", kSteps) / kHosts;
  std::cout << "seed: VIOMMU_TEST_SEED=" << seed << std::endl;
  World world(host, seed);
  for (uint64_t i = 1; i <= steps && world.trouble().empty(); ++i) {
    world.Step();
    if (i % kStepsBetweenComparisons == 0) world.CompareAll();
  }
  world.CompareAll();
  const Tally& tally = world.tally();
  Print(tally);
  EXPECT_EQ(world.trouble(), "") << "repeat with VIOMMU_TEST_SEED=" << seed;
  EXPECT_EQ(tally.steps, steps);
  // A run that refused nearly everything would have proved nothing.
  EXPECT_GT(tally.verbs_done, steps / 8);
  EXPECT_GT(tally.stores_watched, steps / 8);
  EXPECT_GT(tally.dma_checks, steps);
  EXPECT_GT(tally.reached_memory, steps / 8);
  if (steps < kStepsForEveryKind) return;
  for (const std::string& kind : host.kinds) {
    EXPECT_GT(tally.dma_checks_by_kind.count(kind), 0u) << kind;
  }
}

// One for each architecture, in a process of its own.
TEST(PropertyTest, RandomUseOfVtdAgreesWithTheReferenceAfterEveryStore) {
  RunAgainstTheReference(VtdHost());
}

TEST(PropertyTest, RandomUseOfSmmuV3AgreesWithTheReferenceAfterEveryStore) {
  RunAgainstTheReference(SmmuHost());
}

}  // namespace
}  // namespace viommu::property
