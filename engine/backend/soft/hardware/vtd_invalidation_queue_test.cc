// The invalidation queue as a ring: order, wait descriptors, wrapping, errors.
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/hardware/vtd_test_world.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

using World = VtdTestWorld;

constexpr uint64_t kWaitWriting = 5 | 1 << 5;  // Type 5, SW.
constexpr uint64_t kIotlbGlobal = 2 | 1 << 4;

uint32_t StatusWord(const World& world) { return static_cast<uint32_t>(world.Load(world.status)); }

TEST(VtdInvalidationQueueTest, WritesTheStatusOfAWaitDescriptor) {
  World world;
  world.Store(world.status, 0xaaaaaaaabbbbbbbb);
  world.Submit(kWaitWriting | 0x12345678ull << 32, world.status);
  EXPECT_EQ(world.Load(world.status), 0xaaaaaaaa12345678u);  // 32 bits, no more.
  EXPECT_EQ(world.model->Read32(0x80), 32u);
  world.Submit(kWaitWriting | 1 << 6 | 0x9ull << 32, world.status + 4);
  EXPECT_EQ(world.Load(world.status), 0x912345678u);
  EXPECT_EQ(world.model->counters().descriptors[5], 2u);
}

TEST(VtdInvalidationQueueTest, SetsTheCompletionBitWhenAWaitAsksForTheEvent) {
  World world;
  world.Submit(5 | 1 << 4);
  EXPECT_EQ(world.model->Read32(0x9c), 1u);
  EXPECT_EQ(StatusWord(world), 0u);
  world.model->Write32(0x9c, 1);
  EXPECT_EQ(world.model->Read32(0x9c), 0u);
}

TEST(VtdInvalidationQueueTest, ConsumesInOrderUpToTheTail) {
  World world;
  for (uint32_t i = 0; i < 3; ++i) {
    world.Store(world.ring + i * 32, kWaitWriting | uint64_t{i + 1} << 32);
    world.Store(world.ring + i * 32 + 8, world.status);
  }
  world.model->Write32(0x88, 64);
  EXPECT_EQ(StatusWord(world), 2u);
  EXPECT_EQ(world.model->Read32(0x80), 64u);
  world.model->Write32(0x88, 96);
  EXPECT_EQ(StatusWord(world), 3u);
}

TEST(VtdInvalidationQueueTest, WrapsAtTheEndOfTheRing) {
  World world;
  for (uint64_t i = 1; i <= 300; ++i) {  // 128 descriptors fit.
    world.Submit(kWaitWriting | i << 32, world.status);
    ASSERT_EQ(StatusWord(world), i);
  }
  EXPECT_EQ(world.model->Read32(0x80), 300 % 128 * 32u);
}

TEST(VtdInvalidationQueueTest, UsesTheRingSizeAndTheNarrowFormatItIsToldTo) {
  World world;
  const uint64_t ring = world.Page();
  world.Page();  // Two pages.
  world.model->Write32(0x18, 1u << 31);
  world.model->Write32(0x88, 0);
  world.model->Write64(0x90, ring | 1);
  world.model->Write32(0x18, 1u << 31 | 1u << 26);
  world.Store(ring, kIotlbGlobal);
  for (uint64_t i = 1; i < 512; ++i) {
    world.Store(ring + i * 16, kWaitWriting | i << 32);
    world.Store(ring + i * 16 + 8, world.status);
  }
  world.model->Write32(0x88, 511 * 16);
  EXPECT_EQ(StatusWord(world), 510u);
  world.model->Write32(0x88, 0);
  EXPECT_EQ(StatusWord(world), 511u);
  EXPECT_EQ(world.model->Read32(0x80), 0u);
  EXPECT_FALSE(world.QueueError());
}

TEST(VtdInvalidationQueueTest, DoesNothingUntilEnabledThenCatchesUp) {
  World world;
  world.model->Write32(0x18, 1u << 31);
  EXPECT_EQ(world.model->Read32(0x1c), 1u << 31 | 1u << 30);
  world.Submit(kWaitWriting | 1ull << 32, world.status);
  EXPECT_EQ(StatusWord(world), 0u);
  world.model->Write32(0x18, 1u << 31 | 1u << 26);
  EXPECT_EQ(StatusWord(world), 1u);
  world.model->Write64(0x90, 0);  // Fixed while enabled.
  EXPECT_EQ(world.model->Read64(0x90), world.ring | 1 << 11);
}

TEST(VtdInvalidationQueueTest, CannotBeEnabledWithoutTheCapability) {
  World world(kTestCap, kTestEcap & ~2ull);
  world.Submit(kWaitWriting | 1ull << 32, world.status);
  EXPECT_EQ(StatusWord(world), 0u);
  EXPECT_EQ(world.model->Read32(0x1c), 1u << 31 | 1u << 30);
}

TEST(VtdInvalidationQueueTest, StopsAtABadDescriptorAndGoesOnOnceRepaired) {
  World world;
  world.Submit(kWaitWriting | 1ull << 32, world.status);
  world.Submit(0);  // Type 0 is none.
  EXPECT_TRUE(world.QueueError());
  EXPECT_EQ(world.model->Read32(0x80), 32u);
  EXPECT_EQ(world.model->counters().fault_events, 1u);
  world.Submit(kWaitWriting | 2ull << 32, world.status);
  EXPECT_EQ(StatusWord(world), 1u);
  // Software replaces the culprit and clears IQE.
  world.Store(world.ring + 32, kIotlbGlobal);
  world.model->Write32(0x34, 1 << 4);
  EXPECT_FALSE(world.QueueError());
  EXPECT_EQ(StatusWord(world), 2u);
  EXPECT_EQ(world.model->Read32(0x80), 96u);
}

TEST(VtdInvalidationQueueTest, RefusesEveryReservedBit) {
  const uint64_t all = ~0ull;
  const struct {
    const char* name;
    uint64_t word0, word1;
    uint64_t reserved[4];
  } kCases[] = {
      {"context cache", 1 | 1 << 4, 0, {0xfffc00000000ffc0, all, all, all}},
      {"IOTLB", 2 | 3 << 4, 0x1000, {0xffffffff0000ff00, 0xf80, all, all}},
      {"wait", 5, 0, {0xffffff80, 0x3, all, all}},
      {"PASID IOTLB", 6 | 3 << 4, 0x1000, {0xfff000000000ffc0, 0xf80, all, all}},
      {"PASID cache", 7, 0, {0xfff000000000ffc0, all, all, all}},
      {"device TLB", 3, 0x1000, {0x000f0000ffe00ff0, 0xffe, all, all}},
      {"PASID device TLB", 8, 0x1000, {0xe00, 0x7fe, all, all}},
  };
  for (const auto& c : kCases) {
    for (int bit = 0; bit < 256; ++bit) {
      if (!(c.reserved[bit / 64] & 1ull << bit % 64)) continue;
      World world(kTestCap, kTestEcap | 1ull << 2);
      world.Submit(c.word0, c.word1);
      EXPECT_FALSE(world.QueueError()) << c.name;
      uint64_t word[4] = {c.word0, c.word1};
      word[bit / 64] ^= 1ull << bit % 64;
      world.Submit(word[0], word[1], word[2], word[3]);
      EXPECT_TRUE(world.QueueError()) << c.name << " bit " << bit;
      EXPECT_EQ(world.model->Read32(0x80), 32u) << c.name << " bit " << bit;
    }
  }
}

TEST(VtdInvalidationQueueTest, AcceptsEveryBitThatIsNotReserved) {
  const struct {
    const char* name;
    uint64_t word0, word1;
  } kCases[] = {
      {"context cache", 0x3ffffffff0031, 0},
      {"IOTLB, drains, largest mask", 0xffff00f2, (~0xf80ull & ~0x3full) | 18},
      {"wait", 0xffffffff00000055, ~3ull},
      {"PASID IOTLB", 0xfffffffff0036, ~0xf80ull},
      {"PASID cache", 0xfffffffff0037, 0},
      {"device TLB", 0xfff0ffff001ff003, ~0xffeull},
      {"PASID device TLB", 0xfffffffffffff1f8, ~0x7feull},
      {"wait for page requests", 0xffffffff000000d5, ~3ull},
  };
  for (const auto& c : kCases) {
    World world(kTestCap, kTestEcap | 1ull << 2 | 1ull << 42);
    world.Submit(c.word0, c.word1);
    EXPECT_FALSE(world.QueueError()) << c.name;
  }
}

TEST(VtdInvalidationQueueTest, RefusesWhatItDoesNotKnow) {
  const struct {
    const char* name;
    uint64_t word0, word1;
    uint64_t cap_without;
  } kCases[] = {
      {"context granularity 0", 1, 0, 0},
      {"IOTLB granularity 0", 2, 0, 0},
      {"PASID IOTLB granularity 0", 6, 0, 0},
      {"PASID IOTLB granularity 1", 6 | 1 << 4, 0, 0},
      {"PASID cache granularity 2", 7 | 2 << 4, 0, 0},
      {"device TLB", 3, 0, 0},
      {"interrupt entry cache", 4, 0, 0},
      {"PASID device TLB", 8, 0, 0},
      {"page group response", 9, 0, 0},
      {"type 15", 15, 0, 0},
      {"address mask above MAMV", 2 | 3 << 4, 19, 0},
      {"page-selective without PSI", 2 | 3 << 4, 0, 1ull << 39},
      {"status where no memory is", kWaitWriting, 0x2000000000, 0},
  };
  for (const auto& c : kCases) {
    World world(kTestCap & ~c.cap_without);
    world.Submit(c.word0, c.word1);
    EXPECT_TRUE(world.QueueError()) << c.name;
    EXPECT_EQ(world.model->Read32(0x80), 0u) << c.name;
  }
}

TEST(VtdInvalidationQueueTest, RefusesATailThatIsNoDescriptorOfTheRing) {
  for (const uint32_t tail : {16u, 4096u, 8192u}) {
    World world;
    world.Store(world.ring, kIotlbGlobal);  // Valid, and not to be consumed.
    world.model->Write32(0x88, tail);
    EXPECT_TRUE(world.QueueError()) << tail;
    EXPECT_EQ(world.model->Read32(0x80), 0u);
    world.model->Write32(0x88, 0);
    world.model->Write32(0x34, 1 << 4);
    EXPECT_FALSE(world.QueueError()) << tail;
  }
}

TEST(VtdInvalidationQueueTest, StopsWhereTheRingHasNoMemory) {
  World world;
  world.model->Write32(0x18, 0);
  world.model->Write64(0x90, 0x2000000000 | 1 << 11);
  world.model->Write32(0x18, 1u << 26);
  world.model->Write32(0x88, 32);
  EXPECT_TRUE(world.QueueError());
}

}  // namespace
}  // namespace viommu::hardware
