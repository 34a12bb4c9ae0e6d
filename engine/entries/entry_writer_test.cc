#include "engine/entries/entry_writer.h"

#include <array>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/pagetable/store.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

// The units stored between flushes, as "{1,2} {0}".
template <typename A>
std::string Phases(const EntryPlan<A>& plan) {
  std::string text;
  bool open = false;
  for (const auto& step : plan) {
    text += open ? "," : text.empty() ? "{" : " {";
    text += std::to_string(step.unit);
    open = !step.flush_after;
    if (!open) text += "}";
  }
  return text;
}

// A toy: unit 0 holds V (bit 0) and one bit per further word that says whether it is used; flag 63
// of word 0 is safe.
template <size_t kUnit>
struct Toy {
  static constexpr size_t kWords = 4;
  static constexpr size_t kUnitWords = kUnit;
  using Entry = std::array<uint64_t, 4>;
  static constexpr uint64_t kSafe = uint64_t{1} << 63;

  static Entry UsedBits(const Entry& e) {
    if ((e[0] & 1) == 0) return {1};
    Entry used = {0xf | kSafe};
    for (size_t i = 1; i < 4; ++i) used[i] = (e[0] >> i & 1) != 0 ? ~uint64_t{0} : 0;
    return used;
  }
  static Entry SafeBits(const Entry&, const Entry&) { return {kSafe}; }
  static Entry Blocked() { return {}; }
};

// What the hardware makes of an entry: its used bits, without the safe ones.
template <typename A>
typename A::Entry Meaning(const typename A::Entry& e) {
  auto used = A::UsedBits(e);
  for (size_t i = 0; i < A::kWords; ++i) {
    used[i] &= e[i];
    used[i] &= ~A::SafeBits(e, e)[i];
  }
  return used;
}

template <typename A>
class EntryWriterToyTest : public testing::Test {};
using Toys = testing::Types<Toy<1>, Toy<2>>;
TYPED_TEST_SUITE(EntryWriterToyTest, Toys);

// Between any two stores the hardware may hold any mixture of the units that it read since the
// last flush, so each unit of a mixture is taken from any state since then.
TYPED_TEST(EntryWriterToyTest, EveryMixtureMeansOldOrNewOrBlocked) {
  using A = TypeParam;
  using Entry = typename A::Entry;
  constexpr size_t kUnits = EntryPlan<A>::kUnits;
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  int hitless = 0;
  for (int round = 0; round < 5000; ++round) {
    const auto make = [&] {
      Entry e = {random() % 16 | (random() % 2 ? A::kSafe : 0), random() % 3, random() % 3,
                 random() % 3};
      const Entry used = A::UsedBits(e);
      for (size_t i = 0; i < 4; ++i) e[i] &= used[i];
      return e;
    };
    const Entry from = make(), to = make();
    const auto plan = PlanEntry<A>(from, to);
    hitless += plan.hitless();
    std::vector<Entry> since_flush = {from};
    Entry state = from;
    for (const auto& step : plan) {
      for (size_t i = 0; i < A::kUnitWords; ++i)
        state[step.unit * A::kUnitWords + i] = step.words[i];
      since_flush.push_back(state);
      size_t mixtures = 1;
      for (size_t u = 0; u < kUnits; ++u) mixtures *= since_flush.size();
      for (size_t m = 0; m < mixtures; ++m) {
        Entry mixture;
        size_t rest = m;
        for (size_t u = 0; u < kUnits; ++u, rest /= since_flush.size()) {
          for (size_t i = u * A::kUnitWords; i < (u + 1) * A::kUnitWords; ++i) {
            mixture[i] = since_flush[rest % since_flush.size()][i];
          }
        }
        const Entry seen = Meaning<A>(mixture);
        const bool blocked = !plan.hitless() && (seen[0] & 1) == 0;
        ASSERT_TRUE(seen == Meaning<A>(from) || seen == Meaning<A>(to) || blocked) << Phases(plan);
      }
      if (step.flush_after) since_flush = {state};
    }
    ASSERT_EQ(state, to);
    ASSERT_EQ(since_flush.size(), 1u) << "the last store is not followed by a flush";
  }
  EXPECT_GT(hitless, 500);
  EXPECT_LT(hitless, 5000);
}

TEST(EntryWriterTest, StoresWholeUnitsAndFlushesWhereThePlanSays) {
  alignas(16) uint64_t words[4] = {3, 5, 0, 0};
  std::string log;
  const StoreObserver observer = [&](const uint64_t* place, size_t width) {
    log += std::to_string(place - words) + "/" + std::to_string(width) + " ";
  };
  const auto plan = PlanEntry<Toy<2>>({3, 5, 0, 0}, {13, 0, 6, 7});
  ASSERT_TRUE(WriteEntry(plan, words, ObservedStore(&observer), [&] {
                log += "flush ";
                return absl::OkStatus();
              }).ok());
  EXPECT_EQ(log, "2/16 flush 0/16 flush ");
  EXPECT_EQ(words[0], 13u);
  EXPECT_EQ(words[3], 7u);
}

TEST(EntryWriterTest, StopsWhereAFlushFails) {
  alignas(16) uint64_t words[4] = {3, 5, 0, 0};
  const auto plan = PlanEntry<Toy<2>>({3, 5, 0, 0}, {13, 0, 6, 7});
  const absl::Status status = WriteEntry(plan, words, PlainStore(),
                                         [] { return absl::InternalError("the queue stopped"); });
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(words[0], 3u);  // Still the old entry: only its unused words were touched.
}

}  // namespace
}  // namespace viommu
