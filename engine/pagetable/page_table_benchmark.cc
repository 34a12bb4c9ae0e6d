// The page tables' bars P1-P3, each measured side by side with its reference: every iteration times
// both, and the counter `ratio` is the quotient of the medians. Machines differ and are noisy, so
// only ratios count. The pool of table pages is warm: every page was touched before.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "benchmark/benchmark.h"
#include "engine/pagetable/page_table.h"
#include "engine/pagetable/page_table_testing.h"
#include "engine/pagetable/store.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4 * kKiB;
constexpr uint64_t kPagesPerGiB = kGiB / kPage;

// Shifted by a page against any IOVA used here, so that nothing larger than 4 KiB fits.
constexpr PhysAddr kShifted{8 * kGiB + kPage};

// The times of one thing, in nanoseconds.
class Samples {
 public:
  template <typename Work>
  void Time(const Work& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    benchmark::ClobberMemory();
    const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - start;
    samples_.push_back(spent.count());
  }

  double Median() {
    const auto middle = samples_.begin() + static_cast<int64_t>(samples_.size() / 2);
    std::nth_element(samples_.begin(), middle, samples_.end());
    return *middle;
  }

 private:
  std::vector<double> samples_;
};

struct World {
  TableMemory memory{4096};
  PageTable table = *PageTable::Create(VtdSecondStageKind<4>::MakeFormat(kPage | 2 * kMiB | kGiB),
                                       PlainStore(), memory.arena());

  void Map(Iova iova, uint64_t size_bytes, PhysAddr to) {
    if (!table.Map(iova, to, size_bytes, kReadWrite).ok()) std::abort();
  }
  void Unmap(Iova iova, uint64_t size_bytes) {
    PageList freed;
    if (table.Unmap(iova, size_bytes, &freed) != size_bytes) std::abort();
    memory.arena()->Free(&freed);
  }
};

// The bytes of the tables of one GiB, written in the plainest way: one store for each 4 KiB page,
// which the compiler may make into vectors.
class PlainLoop {
 public:
  void Run() {
    uint64_t* words = words_.data();
    for (uint64_t i = 0; i < kPagesPerGiB; ++i) words[i] = (kShifted.value | 3) + i * kPage;
  }
  void Zero() { std::memset(words_.data(), 0, kPagesPerGiB * sizeof(uint64_t)); }

 private:
  std::vector<uint64_t> words_ = std::vector<uint64_t>(kPagesPerGiB);
};

// P1 <= 1.5, P2 <= 2.0: map and unmap one GiB as 4 KiB pages, against the plain loop; P1's stretch
// goal is 1.5 against memset.
void P1P2GiBOfPages(benchmark::State& state) {
  World world;
  PlainLoop loop;
  Samples plain, zero, map, unmap;
  for ([[maybe_unused]] auto _ : state) {
    plain.Time([&] { loop.Run(); });
    zero.Time([&] { loop.Zero(); });
    map.Time([&] { world.Map(kGiB, kGiB, kShifted); });
    unmap.Time([&] { world.Unmap(kGiB, kGiB); });
  }
  state.counters["P1_ratio"] = map.Median() / plain.Median();
  state.counters["P1_to_memset"] = map.Median() / zero.Median();
  state.counters["P2_ratio"] = unmap.Median() / plain.Median();
  state.counters["map_us"] = map.Median() / 1e3;
  state.counters["unmap_us"] = unmap.Median() / 1e3;
}
BENCHMARK(P1P2GiBOfPages)->Unit(benchmark::kMicrosecond);

// P3 <= 60: single operations of one leaf each in tables that are there, against one store of the
// plain loop.
void P3SingleOperations(benchmark::State& state) {
  constexpr uint64_t kOperations = 256;
  const auto size = static_cast<uint64_t>(state.range(0));
  World world;
  world.Map(kOperations * size, size, PhysAddr{0});  // Keeps the tables.
  PlainLoop loop;
  Samples plain, map, unmap;
  for ([[maybe_unused]] auto _ : state) {
    plain.Time([&] { loop.Run(); });
    for (int round = 0; round < 16; ++round) {
      map.Time([&] {
        for (uint64_t i = 0; i < kOperations; ++i) world.Map(i * size, size, PhysAddr{i * size});
      });
      unmap.Time([&] {
        for (uint64_t i = 0; i < kOperations; ++i) world.Unmap(i * size, size);
      });
    }
  }
  const double store_ns = plain.Median() / kPagesPerGiB;
  state.counters["P3_map_ratio"] = map.Median() / kOperations / store_ns;
  state.counters["P3_unmap_ratio"] = unmap.Median() / kOperations / store_ns;
  state.counters["map_ns"] = map.Median() / kOperations;
  state.counters["unmap_ns"] = unmap.Median() / kOperations;
}
BENCHMARK(P3SingleOperations)->Arg(kPage)->Arg(2 * kMiB)->Arg(kGiB)->Unit(benchmark::kMicrosecond);

// 256 pages at once into a table that is there, and out of it again.
void RunOf256Pages(benchmark::State& state) {
  World world;
  world.Map(kGiB + kMiB, kPage, kShifted);  // Keeps the table.
  Samples map, unmap;
  for ([[maybe_unused]] auto _ : state) {
    map.Time([&] { world.Map(kGiB, kMiB, kShifted); });
    unmap.Time([&] { world.Unmap(kGiB, kMiB); });
  }
  state.counters["map_ns"] = map.Median();
  state.counters["unmap_ns"] = unmap.Median();
}
BENCHMARK(RunOf256Pages);

void TranslateWithinGiB(benchmark::State& state) {
  World world;
  world.Map(kGiB, kGiB, kShifted);
  uint64_t random = 1;
  for ([[maybe_unused]] auto _ : state) {
    random = random * 6364136223846793005 + 1442695040888963407;
    benchmark::DoNotOptimize(world.table.Translate(kGiB + (random >> 34)));
  }
}
BENCHMARK(TranslateWithinGiB);

}  // namespace
}  // namespace viommu
