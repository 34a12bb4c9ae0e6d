// Random operations on an IntervalMap against a std::map, and FindGap against a naive scan. The
// seed is printed on failure; --test_env=VIOMMU_TEST_SEED=N repeats a run.

#include <cstdlib>
#include <map>
#include <optional>
#include <random>
#include <string>

#include "engine/base/address.h"
#include "engine/base/interval_map.h"
#include "engine/base/interval_map_invariants.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

uint64_t Seed() {
  const char* text = std::getenv("VIOMMU_TEST_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 0) : std::random_device()();
}

struct World {
  const char* name;
  IovaRange addresses;       // Where entries and questions lie.
  uint64_t max_entry_bytes;  // Entries have 1 to this many bytes.
  uint64_t granule_bytes;    // Entries begin at multiples of it.
  uint64_t clusters;         // Entries begin near one of so many places; 0: anywhere.
  unsigned target_entries;   // Where inserting and erasing balance.
  uint64_t max_fit_bytes;    // Asked of FindGap.
  unsigned operations;
};

constexpr World kWorlds[] = {
    {"small and crowded", {0, 4000}, 12, 1, 0, 300, 24, 60000},
    {"small at the upper end", {kMaxAddress - 4000, kMaxAddress}, 12, 1, 0, 300, 24, 60000},
    {"single bytes", {0, 20000}, 1, 1, 0, 8000, 6, 60000},
    {"pages, clustered", {0, kMaxAddress}, 0x1000, 0x1000, 12, 4000, 0x40000, 60000},
    {"anywhere", {0, kMaxAddress}, uint64_t{1} << 40, 1, 0, 4000, uint64_t{1} << 60, 60000},
};

class RandomRun {
 public:
  RandomRun(const World& world, uint64_t seed) : world_(world), random_(seed) {
    for (uint64_t i = 0; i < world.clusters; ++i) clusters_.push_back(AnyAddress());
  }

  void Step() {
    // Swinging between filling and draining takes the tree through all its heights.
    const bool filling = (step_++ / (2 * world_.target_entries)) % 2 == 0;
    const uint64_t dice = Below(100);
    if (dice < (filling ? 45 : 10)) {
      Insert();
    } else if (dice < 60) {
      Erase();
    } else if (dice < 75) {
      Look();
    } else {
      Fit();
    }
  }

  std::string Broken() const { return IntervalMapInvariants<uint64_t>::FirstBroken(map_); }
  size_t entries() const { return model_.size(); }

 private:
  struct Entry {
    uint64_t last;
    uint64_t value;
  };

  uint64_t Below(uint64_t bound) {
    return std::uniform_int_distribution<uint64_t>(0, bound - 1)(random_);
  }

  uint64_t AnyAddress() {
    const uint64_t dice = Below(50);
    if (dice == 0) return world_.addresses.first;
    if (dice == 1) return world_.addresses.last;
    return std::uniform_int_distribution<uint64_t>(world_.addresses.first,
                                                   world_.addresses.last)(random_);
  }

  uint64_t Address() {
    if (clusters_.empty()) return AnyAddress() / world_.granule_bytes * world_.granule_bytes;
    const uint64_t near = clusters_[Below(clusters_.size())] + Below(800) * world_.granule_bytes;
    return near / world_.granule_bytes * world_.granule_bytes;
  }

  IovaRange Range(uint64_t max_bytes) {
    const uint64_t first = Address();
    const uint64_t extra = Below(max_bytes);
    return {first, first > world_.addresses.last - std::min(extra, world_.addresses.last)
                       ? world_.addresses.last
                       : first + extra};
  }

  // The first entry of the model that ends at or after `address`.
  std::map<uint64_t, Entry>::const_iterator ModelLowerBound(uint64_t address) const {
    auto it = model_.upper_bound(address);
    if (it != model_.begin() && std::prev(it)->second.last >= address) --it;
    return it;
  }

  bool ModelOverlaps(const IovaRange& range) const {
    const auto it = ModelLowerBound(range.first);
    return it != model_.end() && it->first <= range.last;
  }

  void Insert() {
    const IovaRange range = Range(world_.max_entry_bytes);
    const bool fits = !ModelOverlaps(range);
    ASSERT_EQ(map_.Overlaps(range), !fits) << ToString(range);
    ASSERT_EQ(map_.Insert(range, step_), fits) << ToString(range);
    if (fits) model_[range.first] = {range.last, step_};
  }

  void Erase() {
    // From an end now and then: those nodes have rules of their own.
    const uint64_t dice = Below(8);
    auto it = ModelLowerBound(dice == 0 ? world_.addresses.first : Address());
    if ((it == model_.end() || dice == 1) && !model_.empty()) it = std::prev(model_.end());
    if (it == model_.end()) return;
    const uint64_t first = it->first;
    ASSERT_EQ(map_.Erase(first + 1), model_.erase(first + 1) == 1) << Hex(first);
    ASSERT_TRUE(map_.Erase(first)) << Hex(first);
    model_.erase(first);
    ASSERT_EQ(map_.size(), model_.size());
  }

  void Look() {
    const uint64_t address = Below(2) ? Address() : AnyAddress();
    const auto want = ModelLowerBound(address);
    const auto got = map_.LowerBound(address);
    ASSERT_EQ(got == map_.end(), want == model_.end()) << Hex(address);
    const auto found = map_.Find(address);
    const bool contains = want != model_.end() && want->first <= address;
    ASSERT_EQ(found != map_.end(), contains) << Hex(address);
    if (contains) {
      ASSERT_EQ(found, got);
    }
    if (want == model_.end()) return;
    ASSERT_EQ(got.range(), (IovaRange{want->first, want->second.last}));
    ASSERT_EQ(got.value(), want->second.value);
  }

  // The lowest fit by looking at every gap; counts the gaps that failed by their alignment alone.
  std::optional<uint64_t> NaiveFit(const IovaRange& window, uint64_t size, uint64_t alignment,
                                   uint64_t remainder, unsigned* misfits) const {
    uint64_t from = window.first;
    for (auto it = ModelLowerBound(from);; ++it) {
      const bool end = it == model_.end() || it->first > window.last;
      if (end || it->first > from) {
        const uint64_t last = end ? window.last : it->first - 1;
        const uint64_t skip = (remainder - from) & (alignment - 1);
        if (last - from >= size - 1) {
          if (skip <= last - from && last - from - skip >= size - 1) return from + skip;
          ++*misfits;
        }
      }
      if (end || it->second.last >= window.last) return std::nullopt;
      from = it->second.last + 1;
    }
  }

  void Fit() {
    const uint64_t a = Below(3) ? world_.addresses.first : AnyAddress();
    const uint64_t b = Below(3) ? world_.addresses.last : AnyAddress();
    const IovaRange window{std::min(a, b), std::max(a, b)};
    const uint64_t size = Below(world_.max_fit_bytes) + 1;
    const uint64_t alignment = uint64_t{1} << Below(Below(4) ? 6 : 64);
    const uint64_t remainder = Below(2) ? 0 : Below(alignment);
    unsigned misfits = 0;
    const auto want = NaiveFit(window, size, alignment, remainder, &misfits);
    const auto got = map_.FindGap(window, size, alignment, remainder);
    ASSERT_EQ(got.has_value(), want.has_value())
        << ToString(window) << " " << size << " " << alignment << " " << remainder;
    if (!want.has_value()) return;
    if (misfits < IntervalMap<uint64_t>::kTightProbes) {
      ASSERT_EQ(*got, *want);
      return;
    }
    ASSERT_GE(*got, *want);
    ASSERT_EQ(*got & (alignment - 1), remainder);
    ASSERT_TRUE(window.Contains(IovaRange{*got, *got + (size - 1)}));
    ASSERT_FALSE(ModelOverlaps({*got, *got + (size - 1)}));
  }

  const World& world_;
  std::mt19937_64 random_;
  std::vector<uint64_t> clusters_;
  uint64_t step_ = 0;
  IntervalMap<uint64_t> map_;
  std::map<uint64_t, Entry> model_;
};

class IntervalMapRandomTest : public ::testing::TestWithParam<World> {};

TEST_P(IntervalMapRandomTest, AgreesWithANaiveModel) {
  const World& world = GetParam();
  const uint64_t seed = Seed();
  SCOPED_TRACE(::testing::Message() << world.name << ", VIOMMU_TEST_SEED=" << seed);
  RandomRun run(world, seed);
  size_t most_entries = 0;
  for (unsigned i = 0; i < world.operations; ++i) {
    run.Step();
    if (HasFatalFailure()) FAIL() << "at operation " << i;
    most_entries = std::max(most_entries, run.entries());
    if (i % 500 == 0) {
      ASSERT_EQ(run.Broken(), "") << "at operation " << i;
    }
  }
  ASSERT_EQ(run.Broken(), "");
  // The tree was deep enough to matter.
  EXPECT_GT(most_entries, 3 * interval_map_internal::kFanout);
}

INSTANTIATE_TEST_SUITE_P(Worlds, IntervalMapRandomTest, ::testing::ValuesIn(kWorlds));

}  // namespace
}  // namespace viommu
