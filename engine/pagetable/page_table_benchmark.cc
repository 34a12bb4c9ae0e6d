// The page tables' bars P1-P3 for every format, each measured side by side with its reference:
// every iteration times both, and the counter `ratio` is the quotient of the medians. Machines
// differ and are noisy, so only ratios count. The pool of table pages is warm: every page was
// touched before.
//
// Every format is measured over the same 2 MiB of tables: 262,144 pages, which are one GiB of 4 KiB
// pages, 4 GiB of 16 KiB or 16 GiB of 64 KiB.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "engine/pagetable/page_table.h"
#include "engine/pagetable/page_table_testing.h"
#include "engine/pagetable/store.h"

namespace viommu {
namespace {

constexpr uint64_t kPages = 1 << 18;

// Where runs of pages are mapped: tables begin here.
template <typename Kind>
constexpr Iova kPlace = kPages* kPageOf<Kind>;

// Shifted by a page against any IOVA used here, so that nothing larger than a page fits.
template <typename Kind>
constexpr PhysAddr kShifted{64 * kGiB + kPageOf<Kind>};

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

template <typename Kind>
struct World {
  TableMemory memory{4096};
  PageTable table =
      *PageTable::Create(Kind::MakeFormat(kAllSizesOf<Kind>), PlainStore(), memory.arena());

  void Map(Iova iova, uint64_t size_bytes, PhysAddr to) {
    if (!table.Map(iova, to, size_bytes, kReadWrite).ok()) std::abort();
  }
  void Unmap(Iova iova, uint64_t size_bytes) {
    PageList freed;
    if (table.Unmap(iova, size_bytes, &freed) != size_bytes) std::abort();
    memory.arena()->Free(&freed);
  }
};

// The bytes of the tables of all pages, written in the plainest way: one store of 8 bytes for each
// page, as the bars have it. Volatile, so that no compiler leaves stores out or makes vectors of
// them, as some do and some do not; what vectors could reach is memset's row.
class PlainLoop {
 public:
  void Run(uint64_t page_bytes) {
    volatile uint64_t* const words = words_.data();
    for (uint64_t i = 0; i < kPages; ++i) words[i] = (64 * kGiB | 3) + i * page_bytes;
  }
  void Zero() {
    uint64_t* words = words_.data();
    benchmark::DoNotOptimize(words);  // It is read, for all that the compiler knows.
    std::memset(words, 0, kPages * sizeof(uint64_t));
  }

 private:
  std::vector<uint64_t> words_ = std::vector<uint64_t>(kPages);
};

// P1 <= 1.5, P2 <= 2.0: map and unmap all pages, against the plain loop; P1's stretch goal is 1.5
// against memset.
template <typename Kind>
void P1P2GiBOfPages(benchmark::State& state) {
  constexpr uint64_t kBytes = kPages * kPageOf<Kind>;
  World<Kind> world;
  PlainLoop loop;
  Samples plain, zero, map, unmap;
  for ([[maybe_unused]] auto _ : state) {
    plain.Time([&] { loop.Run(kPageOf<Kind>); });
    zero.Time([&] { loop.Zero(); });
    map.Time([&] { world.Map(kPlace<Kind>, kBytes, kShifted<Kind>); });
    unmap.Time([&] { world.Unmap(kPlace<Kind>, kBytes); });
  }
  state.counters["P1_ratio"] = map.Median() / plain.Median();
  state.counters["P1_to_memset"] = map.Median() / zero.Median();
  state.counters["P2_ratio"] = unmap.Median() / plain.Median();
  state.counters["map_us"] = map.Median() / 1e3;
  state.counters["unmap_us"] = unmap.Median() / 1e3;
}

// P3 <= 60: single operations of one leaf each in tables that are there, against one store of the
// plain loop.
template <typename Kind>
void P3SingleOperations(benchmark::State& state) {
  constexpr uint64_t kOperations = 256;
  const auto size = static_cast<uint64_t>(state.range(0));
  World<Kind> world;
  world.Map(kOperations * size, size, PhysAddr{0});  // Keeps the tables.
  PlainLoop loop;
  Samples plain, map, unmap;
  for ([[maybe_unused]] auto _ : state) {
    plain.Time([&] { loop.Run(kPageOf<Kind>); });
    for (int round = 0; round < 16; ++round) {
      map.Time([&] {
        for (uint64_t i = 0; i < kOperations; ++i) world.Map(i * size, size, PhysAddr{i * size});
      });
      unmap.Time([&] {
        for (uint64_t i = 0; i < kOperations; ++i) world.Unmap(i * size, size);
      });
    }
  }
  const double store_ns = plain.Median() / kPages;
  state.counters["P3_map_ratio"] = map.Median() / kOperations / store_ns;
  state.counters["P3_unmap_ratio"] = unmap.Median() / kOperations / store_ns;
  state.counters["map_ns"] = map.Median() / kOperations;
  state.counters["unmap_ns"] = unmap.Median() / kOperations;
}

// 256 pages at once into a table that is there, and out of it again.
template <typename Kind>
void RunOf256Pages(benchmark::State& state) {
  constexpr uint64_t kBytes = 256 * kPageOf<Kind>;
  World<Kind> world;
  world.Map(kPlace<Kind> + kBytes, kPageOf<Kind>, kShifted<Kind>);  // Keeps the table.
  Samples map, unmap;
  for ([[maybe_unused]] auto _ : state) {
    map.Time([&] { world.Map(kPlace<Kind>, kBytes, kShifted<Kind>); });
    unmap.Time([&] { world.Unmap(kPlace<Kind>, kBytes); });
  }
  state.counters["map_ns"] = map.Median();
  state.counters["unmap_ns"] = unmap.Median();
}

template <typename Kind>
void TranslateWithinGiB(benchmark::State& state) {
  World<Kind> world;
  world.Map(kPlace<Kind>, kPages * kPageOf<Kind>, kShifted<Kind>);
  uint64_t random = 1;
  for ([[maybe_unused]] auto _ : state) {
    random = random * 6364136223846793005 + 1442695040888963407;
    benchmark::DoNotOptimize(world.table.Translate(kPlace<Kind> + (random >> 34)));
  }
}

// The measurements of one format; `suffix` ends their names ("" for the format measured first).
template <typename Kind>
void Register(const std::string& suffix) {
  const auto add = [&](const char* name, void (*run)(benchmark::State&)) {
    return benchmark::RegisterBenchmark((name + suffix).c_str(), run)
        ->Unit(benchmark::kMicrosecond);
  };
  add("P1P2GiBOfPages", P1P2GiBOfPages<Kind>);
  auto* single = add("P3SingleOperations", P3SingleOperations<Kind>);
  for (int level = 0; level < Kind::kLeafLevels; ++level) {
    single->Arg(static_cast<int64_t>(SpanOf<Kind>(level)));
  }
  add("RunOf256Pages", RunOf256Pages<Kind>)->Unit(benchmark::kNanosecond);
  add("TranslateWithinGiB", TranslateWithinGiB<Kind>)->Unit(benchmark::kNanosecond);
}

void RegisterAll() {
  Register<VtdSecondStageKind<4>>("");
  Register<X86FirstStageKind<4>>("_x86_first_stage");
  Register<VtdSecondStageKind<5>>("_5_levels");
  Register<X86FirstStageKind<5>>("_x86_first_stage_5_levels");
  Register<ArmStage1Kind<12, 48, 4>>("_arm_stage1_4k");
  Register<ArmStage1Kind<14, 48, 4>>("_arm_stage1_16k");
  Register<ArmStage1Kind<16, 48, 3>>("_arm_stage1_64k");
  Register<ArmStage2Kind<12, 48, 4, 0>>("_arm_stage2_4k");
  Register<ArmStage2Kind<14, 48, 3, 1>>("_arm_stage2_16k");
  Register<ArmStage2Kind<16, 48, 3, 0>>("_arm_stage2_64k");
  Register<ArmStage2Kind<12, 43, 3, 4>>("_arm_stage2_4k_side_by_side");
}

}  // namespace
}  // namespace viommu

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  viommu::RegisterAll();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
