// IntervalMap against absl::btree_map, as bars P4 and P9 ask: both run in turn within one
// benchmark, and `ratio` is our time (or bytes) over the tree's. The tree inserts and erases
// without checking for overlaps.
//
//   bazel run -c opt //engine/base:interval_map_benchmark

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iterator>
#include <random>
#include <vector>

#include "absl/container/btree_map.h"
#include "benchmark/benchmark.h"
#include "engine/base/address.h"
#include "engine/base/interval_map.h"

namespace viommu {
namespace {

constexpr uint64_t kPageBytes = 0x1000;
constexpr int64_t kMillion = 1000000;

// What an Ioas keeps of an area beside its range.
struct Payload {
  uint64_t offset;
  uint32_t region;
  uint8_t permission;
  uint8_t state;
};

class OurMap {
 public:
  void Insert(const IovaRange& range) { map_.Insert(range, Payload{range.first, 1, 3, 0}); }
  uint64_t Lookup(uint64_t address) { return map_.Find(address).value().offset; }
  bool Overlaps(const IovaRange& range) { return map_.Overlaps(range); }
  void Erase(uint64_t first) { map_.Erase(first); }
  uint64_t Place(uint64_t size) { return *map_.FindGap({0, kMaxAddress}, size, kPageBytes); }

 private:
  IntervalMap<Payload> map_;
};

class BtreeMap {
 public:
  void Insert(const IovaRange& range) {
    map_.emplace(range.first, Area{range.last, {range.first, 1, 3, 0}});
  }
  uint64_t Lookup(uint64_t address) {
    return std::prev(map_.upper_bound(address))->second.payload.offset;
  }
  bool Overlaps(const IovaRange& range) {
    const auto after = map_.upper_bound(range.last);
    return after != map_.begin() && std::prev(after)->second.last >= range.first;
  }
  void Erase(uint64_t first) { map_.erase(first); }

 private:
  struct Area {
    uint64_t last;
    Payload payload;
  };
  absl::btree_map<uint64_t, Area> map_;
};

// Areas of one page with a free page after every fourth.
std::vector<IovaRange> Areas(int64_t count, bool shuffled) {
  std::vector<IovaRange> areas;
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t first = (i + i / 4) * kPageBytes;
    areas.push_back({first, first + kPageBytes - 1});
  }
  if (shuffled) std::shuffle(areas.begin(), areas.end(), std::mt19937_64(1));
  return areas;
}

template <typename Map>
Map MapOf(const std::vector<IovaRange>& areas) {
  Map map;
  for (const IovaRange& area : areas) map.Insert(area);
  return map;
}

template <typename Work>
double NanosecondsPer(const std::vector<IovaRange>& areas, Work work) {
  const auto start = std::chrono::steady_clock::now();
  for (const IovaRange& area : areas) work(area);
  const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - start;
  return taken.count() / static_cast<double>(areas.size());
}

// Each answers nanoseconds per area.
struct Insert {
  template <typename Map>
  static double Measure(const std::vector<IovaRange>& areas) {
    Map map;
    return NanosecondsPer(areas, [&map](const IovaRange& area) { map.Insert(area); });
  }
};

struct Erase {
  template <typename Map>
  static double Measure(const std::vector<IovaRange>& areas) {
    Map map = MapOf<Map>(areas);
    return NanosecondsPer(areas, [&map](const IovaRange& area) { map.Erase(area.first); });
  }
};

struct Lookup {
  template <typename Map>
  static double Measure(const std::vector<IovaRange>& areas) {
    Map map = MapOf<Map>(areas);
    return NanosecondsPer(areas, [&map](const IovaRange& area) {
      benchmark::DoNotOptimize(map.Lookup(area.first + 0x123));
    });
  }
};

struct OverlapCheck {
  template <typename Map>
  static double Measure(const std::vector<IovaRange>& areas) {
    Map map = MapOf<Map>(areas);
    return NanosecondsPer(
        areas, [&map](const IovaRange& area) { benchmark::DoNotOptimize(map.Overlaps(area)); });
  }
};

// Bytes per area instead of time.
struct Memory {
  template <typename Map>
  static double Measure(const std::vector<IovaRange>& areas) {
    const size_t before = mallinfo2().uordblks;
    Map map = MapOf<Map>(areas);
    benchmark::DoNotOptimize(map);
    return static_cast<double>(mallinfo2().uordblks - before) / static_cast<double>(areas.size());
  }
};

// P4.
template <typename Operation>
void BM_AgainstBtree(benchmark::State& state) {
  const std::vector<IovaRange> areas = Areas(state.range(0), state.range(1) != 0);
  for ([[maybe_unused]] auto _ : state) {
    const double btree = Operation::template Measure<BtreeMap>(areas);
    const double ours = Operation::template Measure<OurMap>(areas);
    state.counters["btree"] = btree;
    state.counters["ours"] = ours;
    state.counters["ratio"] = ours / btree;
  }
}

// Nanoseconds to find the lowest free page, take it, and give it back, in a map of `count` areas.
double PlacingIn(int64_t count) {
  OurMap map = MapOf<OurMap>(Areas(count, true));
  const std::vector<IovaRange> rounds(100000);
  return NanosecondsPer(rounds, [&map](const IovaRange&) {
    const uint64_t first = map.Place(kPageBytes);
    map.Insert({first, first + kPageBytes - 1});
    map.Erase(first);
  });
}

// P9: our map alone, with range(0) areas against range(1).
void BM_Growth(benchmark::State& state) {
  const bool shuffled = state.range(2) != 0;
  for ([[maybe_unused]] auto _ : state) {
    const double few = Insert::Measure<OurMap>(Areas(state.range(1), shuffled));
    const double many = Insert::Measure<OurMap>(Areas(state.range(0), shuffled));
    const double btree_many = Insert::Measure<BtreeMap>(Areas(state.range(0), shuffled));
    state.counters["insert_few"] = few;
    state.counters["insert_many"] = many;
    state.counters["btree_many"] = btree_many;
    state.counters["ratio"] = many / few;
  }
}

void BM_GrowthOfPlacing(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    const double few = PlacingIn(state.range(1));
    const double many = PlacingIn(state.range(0));
    state.counters["place_few"] = few;
    state.counters["place_many"] = many;
    state.counters["ratio"] = many / few;
  }
}

void InAnyOrder(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"areas", "shuffled"})->Args({kMillion, 0})->Args({kMillion, 1});
  benchmark->Iterations(1)->Repetitions(5)->ReportAggregatesOnly();
}

void TenMillionAgainstTenThousand(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"areas", "against", "shuffled"});
  benchmark->Args({10 * kMillion, 10000, 0})->Args({10 * kMillion, 10000, 1})->Iterations(1);
}

BENCHMARK_TEMPLATE(BM_AgainstBtree, Insert)->Apply(InAnyOrder);
BENCHMARK_TEMPLATE(BM_AgainstBtree, Lookup)->Apply(InAnyOrder);
BENCHMARK_TEMPLATE(BM_AgainstBtree, OverlapCheck)->Apply(InAnyOrder);
BENCHMARK_TEMPLATE(BM_AgainstBtree, Erase)->Apply(InAnyOrder);
BENCHMARK_TEMPLATE(BM_AgainstBtree, Memory)->Apply(InAnyOrder);
BENCHMARK(BM_Growth)->Apply(TenMillionAgainstTenThousand);
BENCHMARK(BM_GrowthOfPlacing)->Args({10 * kMillion, 10000})->Iterations(1);

}  // namespace
}  // namespace viommu
