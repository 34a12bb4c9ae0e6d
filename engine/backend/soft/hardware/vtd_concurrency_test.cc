// Devices access memory while software changes tables and invalidates.
#include <algorithm>
#include <atomic>
#include <iterator>
#include <optional>
#include <thread>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/hardware/vtd_test_world.h"
#include "engine/backend/soft/hardware/vtd_two_stage_world.h"
#include "engine/base/address.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

using World = VtdTestWorld;

// Software moves one page to and fro between two places. Once the wait descriptor's status has
// arrived no device may write to the place that was left, so its content must not change any more.
TEST(VtdConcurrencyTest, LeavesAPageAloneOnceTheWaitDescriptorIsConsumed) {
  World world;
  const uint64_t places[2] = {world.data, world.Page()};
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> writes{0};
  const auto device = [&](std::optional<uint32_t> pasid) {
    for (uint64_t n = 1; !stop.load(); ++n) {
      char bytes[64];
      std::fill(std::begin(bytes), std::end(bytes), static_cast<char>(n));
      const auto outcome =
          world.model->Access(World::Write(World::kIova4K, pasid), absl::MakeSpan(bytes));
      if (outcome.fault_reason == 0) writes.fetch_add(1);
    }
  };
  std::vector<std::thread> devices;
  devices.emplace_back(device, std::nullopt);
  devices.emplace_back(device, World::kPasid);
  for (uint64_t round = 1; round <= 300 || writes.load() < 100; ++round) {
    const uint64_t left = places[(round - 1) % 2];
    world.Store(world.leaf_4k, places[round % 2] | 3);
    world.Submit(2 | 3 << 4 | uint64_t{World::kDomain} << 16, World::kIova4K | 1 << 6);
    world.Submit(5 | 1 << 5 | round << 32, world.status);
    ASSERT_EQ(static_cast<uint32_t>(world.Load(world.status)), round);
    const uint64_t before = world.Load(left);
    world.model->Probe(World::Read(World::kIova4K));
    std::this_thread::yield();
    ASSERT_EQ(world.Load(left), before) << "round " << round;
  }
  stop.store(true);
  for (std::thread& thread : devices) thread.join();
  EXPECT_EQ(world.model->Read32(0x34), 0u);
}

// The unit marks an entry while software changes other bits of it: neither loses what the other
// did, and a write never goes unmarked.
TEST(VtdConcurrencyTest, MarksEntriesWithoutLosingWhatSoftwareStores) {
  constexpr uint64_t kDirty = 1 << 6, kCount = 1ull << 52, kCounted = 0x7ffull << 52;
  TwoStageWorld world(/*nested=*/false);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> dirty_seen{0};
  uint64_t added = 0;
  std::thread software([&] {
    while (!stop.load()) {
      uint64_t old = world.Load(world.first_4k);
      // Counts in the bits left to software, and takes the dirty mark away.
      uint64_t next = ((old + kCount) & kCounted) | (old & ~kCounted & ~kDirty);
      if (!world.memory.Exchange64(PhysAddr{world.first_4k}, old, next)) continue;
      if ((old & kDirty) != 0) dirty_seen.fetch_add(1);
      ++added;
    }
  });
  uint64_t written = 0;
  while (written < 2000 || dirty_seen.load() == 0) {
    world.Submit(6 | 2 << 4 | uint64_t{TwoStageWorld::kGuestDomain} << 16 |
                 uint64_t{TwoStageWorld::kGuestPasid} << 32);
    const uint64_t before = dirty_seen.load();
    ASSERT_TRUE(world.model->Translate(TwoStageWorld::Write(World::kIova4K)).ok());
    ++written;
    // The mark stands until software has seen it.
    while ((world.Load(world.first_4k) & kDirty) == 0 && dirty_seen.load() == before) {
      std::this_thread::yield();
    }
  }
  stop.store(true);
  software.join();
  EXPECT_EQ((world.Load(world.first_4k) & kCounted) / kCount, added & 0x7ff);
}

}  // namespace
}  // namespace viommu::hardware
