// Devices access memory while software changes tables and invalidates.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <iterator>
#include <optional>
#include <thread>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/hardware/smmu_test_world.h"
#include "engine/base/address.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

using World = SmmuTestWorld;

constexpr uint64_t kTags = World::kVmid << 32 | World::kAsid << 48;

// Software moves one page to and fro between two places. Once the sync's message has arrived no
// device may write to the place that was left, so its content must not change any more.
TEST(SmmuConcurrencyTest, LeavesAPageAloneOnceTheSyncIsConsumed) {
  World world;
  const uint64_t places[2] = {world.data, world.Page()};
  const uint64_t status = world.Page();
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> writes{0};
  const auto device = [&](std::optional<uint32_t> substream) {
    for (uint64_t n = 1; !stop.load(); ++n) {
      char bytes[64];
      std::fill(std::begin(bytes), std::end(bytes), static_cast<char>(n));
      const auto outcome =
          world.model->Access(World::Write(World::kIova4K, substream), absl::MakeSpan(bytes));
      if (outcome.fault.none()) writes.fetch_add(1);
      std::this_thread::yield();  // The unit's lock is not fair.
    }
  };
  std::vector<std::thread> devices;
  devices.emplace_back(device, std::nullopt);
  devices.emplace_back(device, World::kSubstream);
  for (uint64_t round = 1; round <= 300 || writes.load() < 100; ++round) {
    const uint64_t left = places[(round - 1) % 2];
    world.Store(world.leaf_4k, places[round % 2] | World::kFirstLeaf | 3);
    world.Submit(0x12 | kTags, World::kIova4K | 1);
    world.Submit(0x46 | 1 << 12 | round << 32, status);
    ASSERT_EQ(static_cast<uint32_t>(world.Load(status)), static_cast<uint32_t>(round));
    const uint64_t before = world.Load(left);
    world.model->Probe(World::Read(World::kIova4K));
    std::this_thread::yield();
    ASSERT_EQ(world.Load(left), before) << "round " << round;
  }
  stop.store(true);
  for (std::thread& thread : devices) thread.join();
  EXPECT_EQ(world.EventCount(), 0u);
}

// The unit marks an entry while software changes other bits of it: neither loses what the other
// did, and a write never goes unmarked.
TEST(SmmuConcurrencyTest, MarksDescriptorsWithoutLosingWhatSoftwareStores) {
  constexpr uint64_t kReadOnly = 1 << 7, kCount = 1ull << 55, kCounted = 15ull << 55;
  World world;
  world.Flip(world.context0, 3ull << 42);
  world.Flip(world.leaf_4k, kReadOnly | 1ull << 51);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> dirty_seen{0};
  uint64_t added = 0;
  std::thread software([&] {
    while (!stop.load()) {
      const uint64_t old = world.Load(world.leaf_4k);
      // Counts in the bits left to software, and takes the dirty mark away.
      const uint64_t next = ((old + kCount) & kCounted) | (old & ~kCounted) | kReadOnly;
      if (!world.memory.Exchange64(PhysAddr{world.leaf_4k}, old, next)) continue;
      if ((old & kReadOnly) == 0) dirty_seen.fetch_add(1);
      ++added;
    }
  });
  uint64_t written = 0;
  while (written < 2000 || dirty_seen.load() == 0) {
    world.Submit(0x11 | kTags);
    const uint64_t before = dirty_seen.load();
    ASSERT_TRUE(world.model->Translate(World::Write(World::kIova4K)).ok());
    ++written;
    // The mark stands until software has seen it.
    while ((world.Load(world.leaf_4k) & kReadOnly) != 0 && dirty_seen.load() == before) {
      std::this_thread::yield();
    }
  }
  stop.store(true);
  software.join();
  EXPECT_EQ((world.Load(world.leaf_4k) & kCounted) / kCount, added & 15);
}

// Interrupt handlers use the unit, from every thread that causes an interrupt.
TEST(SmmuConcurrencyTest, LetsInterruptHandlersUseTheUnit) {
  World world;
  std::atomic<uint64_t> taken{0};
  world.model->SetInterruptHandler([&](SmmuModel::Interrupt) {
    world.model->Write32(0x100ac, world.model->Read32(0x100a8));
    taken.fetch_add(1);
  });
  std::vector<std::thread> devices;
  for (int i = 0; i < 3; ++i) {
    devices.emplace_back([&] {
      for (int n = 0; n < 500; ++n) world.Translate(World::Read(World::kIova4K + 0x10000));
    });
  }
  for (std::thread& thread : devices) thread.join();
  EXPECT_GT(taken.load(), 0u);
  EXPECT_EQ(world.model->counters().events[0x10], 1500u);
}

}  // namespace
}  // namespace viommu::hardware
