#include "engine/pagetable/store.h"

#include <atomic>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace viommu {
namespace {

struct Place {
  const uint64_t* at;
  size_t width_bytes;
  bool operator==(const Place& o) const { return at == o.at && width_bytes == o.width_bytes; }
};

template <typename Store>
void CheckValues(const Store& store) {
  alignas(16) uint64_t words[6] = {1, 2, 3, 4, 5, 6};
  store.Store64(&words[1], ~uint64_t{0});
  store.Store128(&words[2], 0x1122334455667788, 0x99aabbccddeeff00);
  store.Fill64(&words[4], 2, 0x1003, 0x1000);
  const std::vector<uint64_t> want = {1,      ~uint64_t{0}, 0x1122334455667788, 0x99aabbccddeeff00,
                                      0x1003, 0x2003};
  EXPECT_EQ(std::vector<uint64_t>(words, words + 6), want);
}

TEST(StoreTest, BothPoliciesStoreTheSameWords) {
  CheckValues(PlainStore());
  const StoreObserver ignore = [](const uint64_t*, size_t) {};
  CheckValues(ObservedStore(&ignore));
}

TEST(StoreTest, ObservesEveryStoreOnceAndAfterIt) {
  alignas(16) uint64_t words[6] = {};
  std::vector<Place> places;
  std::vector<uint64_t> seen;
  const StoreObserver record = [&](const uint64_t* at, size_t width_bytes) {
    places.push_back({at, width_bytes});
    seen.push_back(*at);
  };
  const ObservedStore store(&record);
  store.Store64(&words[0], 7);
  store.Store128(&words[2], 8, 9);
  store.Fill64(&words[4], 2, 10, 1);
  EXPECT_EQ(places,
            (std::vector<Place>{{&words[0], 8}, {&words[2], 16}, {&words[4], 8}, {&words[5], 8}}));
  EXPECT_EQ(seen, (std::vector<uint64_t>{7, 8, 10, 11}));
}

TEST(StoreTest, ExchangesOnlyWhatHasNotChanged) {
  uint64_t word = 5;
  int stores = 0;
  const StoreObserver count = [&](const uint64_t*, size_t) { ++stores; };
  EXPECT_FALSE(ObservedStore(&count).Exchange64(&word, 4, 9));
  EXPECT_EQ(word, 5u);
  EXPECT_EQ(stores, 0) << "nothing was stored";
  EXPECT_TRUE(ObservedStore(&count).Exchange64(&word, 5, 9));
  EXPECT_EQ(word, 9u);
  EXPECT_EQ(stores, 1);
  EXPECT_TRUE(PlainStore().Exchange64(&word, 9, 1));
  EXPECT_FALSE(PlainStore().Exchange64(&word, 9, 2));
  EXPECT_EQ(word, 1u);
}

TEST(StoreTest, APairIsNeverSeenTorn) {
  alignas(16) static unsigned __int128 pair;
  pair = 0;
  std::atomic<bool> stop = false;
  std::thread device([&] {
    while (!stop) {
      const unsigned __int128 seen = __sync_val_compare_and_swap(&pair, 0, 0);
      ASSERT_EQ(static_cast<uint64_t>(seen), static_cast<uint64_t>(seen >> 64));
    }
  });
  for (uint64_t i = 1; i < 20000; ++i) {
    PlainStore().Store128(reinterpret_cast<uint64_t*>(&pair), i, i);
  }
  stop = true;
  device.join();
}

// What a device finds behind a word must have been written before that word.
TEST(StoreTest, AWordIsSeenOnlyAfterWhatItPointsTo) {
  static uint64_t target, pointer;
  target = pointer = 0;
  std::thread device([&] {
    uint64_t link = 0;
    while (link == 0) link = __atomic_load_n(&pointer, __ATOMIC_ACQUIRE);
    ASSERT_EQ(target, 42u);
  });
  target = 42;  // A plain store: under TSAN only the release below makes it safe to read.
  PlainStore().Store64(&pointer, 1);
  device.join();
}

}  // namespace
}  // namespace viommu
