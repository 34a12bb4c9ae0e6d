// Bars P1-P3 of the page tables, each beside its reference in the same run: quote ratios only.
// The pool of table pages is warm (every page was touched before). `items` are 4 KiB pages or
// single operations.
#include <cstdint>
#include <vector>

#include "benchmark/benchmark.h"
#include "engine/pagetable/page_table.h"
#include "engine/pagetable/page_table_testing.h"
#include "engine/pagetable/store.h"

namespace viommu {
namespace {

constexpr uint64_t kPages = kGiB / (4 * kKiB);
constexpr uint64_t kAllSizes = 4 * kKiB | 2 * kMiB | kGiB;

// Shifted by a page against the IOVA, so that nothing larger than 4 KiB fits.
constexpr PhysAddr kTo{8 * kGiB + 4 * kKiB};

struct World {
  TableMemory memory{4096};
  PageTable table = *PageTable::Create(VtdSecondStageKind<4>::MakeFormat(kAllSizes), PlainStore(),
                                       memory.arena());
  PageList freed;

  void Map(Iova iova, uint64_t size_bytes, PhysAddr to) {
    if (!table.Map(iova, to, size_bytes, kReadWrite).ok()) std::abort();
  }
  void Unmap(Iova iova, uint64_t size_bytes) {
    if (table.Unmap(iova, size_bytes, &freed) != size_bytes) std::abort();
    memory.arena()->Free(&freed);
  }
};

// The reference of P1 and P2: one 8-byte store for every page of the GiB, into the same 2 MiB of
// memory again and again.
void StoreLoop(benchmark::State& state) {
  TableMemory memory(512);
  PageList pages;
  memory.arena()->TakeUninitialized(512, &pages);
  uint64_t* words = memory.arena()->WordsAt(TableMemory::kBase);
  for (auto _ : state) {
    uint64_t entry = kTo.value | 3;
    for (uint64_t i = 0; i < kPages; ++i, entry += 4 * kKiB) {
      words[i] = entry;
      // Keeps the loop one of stores, as any writer of live entries has it, not of vectors.
      asm volatile("" : : : "memory");
    }
  }
  state.SetItemsProcessed(state.iterations() * kPages);
}
BENCHMARK(StoreLoop)->Unit(benchmark::kMicrosecond);

// The same loop as the compiler likes it best.
void StoreLoopVectorized(benchmark::State& state) {
  TableMemory memory(512);
  uint64_t* words = memory.arena()->WordsAt(TableMemory::kBase);
  for (auto _ : state) {
    for (uint64_t i = 0; i < kPages; ++i) words[i] = (kTo.value | 3) + i * 4 * kKiB;
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kPages);
}
BENCHMARK(StoreLoopVectorized)->Unit(benchmark::kMicrosecond);

void P1MapGiBAs4K(benchmark::State& state) {
  World world;
  for (auto _ : state) {
    world.Map(kGiB, kGiB, kTo);
    state.PauseTiming();
    world.Unmap(kGiB, kGiB);
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * kPages);
}
BENCHMARK(P1MapGiBAs4K)->Unit(benchmark::kMicrosecond);

void P2UnmapGiBAs4K(benchmark::State& state) {
  World world;
  for (auto _ : state) {
    state.PauseTiming();
    world.Map(kGiB, kGiB, kTo);
    state.ResumeTiming();
    world.Unmap(kGiB, kGiB);
  }
  state.SetItemsProcessed(state.iterations() * kPages);
}
BENCHMARK(P2UnmapGiBAs4K)->Unit(benchmark::kMicrosecond);

// Both directions in one, without the timer's own cost in between.
void MapAndUnmapGiBAs4K(benchmark::State& state) {
  World world;
  for (auto _ : state) {
    world.Map(kGiB, kGiB, kTo);
    world.Unmap(kGiB, kGiB);
  }
  state.SetItemsProcessed(state.iterations() * kPages);
}
BENCHMARK(MapAndUnmapGiBAs4K)->Unit(benchmark::kMicrosecond);

// One operation of `size`, in tables that its neighbour keeps alive. Times map and unmap together:
// divide by two.
void P3MapAndUnmapOne(benchmark::State& state) {
  const auto size = static_cast<uint64_t>(state.range(0));
  World world;
  world.Map(4 * kGiB + size, size, PhysAddr{0});
  for (auto _ : state) {
    world.Map(4 * kGiB, size, PhysAddr{8 * kGiB});
    world.Unmap(4 * kGiB, size);
  }
  state.SetItemsProcessed(2 * state.iterations());
}
BENCHMARK(P3MapAndUnmapOne)->Arg(4 * kKiB)->Arg(2 * kMiB)->Arg(kGiB);

// Maps (or unmaps) the single pages of a table one by one.
void P3MapOne(benchmark::State& state) {
  const auto size = static_cast<uint64_t>(state.range(0));
  constexpr uint64_t kOperations = 256;
  World world;
  for (auto _ : state) {
    for (uint64_t i = 0; i < kOperations; ++i) world.Map(i * size, size, PhysAddr{i * size});
    state.PauseTiming();
    world.Unmap(0, kOperations * size);
    world.Map(kOperations * size, size, PhysAddr{0});
    world.Unmap(kOperations * size, size);
    state.ResumeTiming();
  }
  state.SetItemsProcessed(kOperations * state.iterations());
}
BENCHMARK(P3MapOne)->Arg(4 * kKiB)->Arg(2 * kMiB)->Arg(kGiB);

void Map256Of4KWarm(benchmark::State& state) {
  World world;
  world.Map(kGiB + kMiB, 4 * kKiB, kTo);
  for (auto _ : state) {
    world.Map(kGiB, kMiB, kTo);
    world.Unmap(kGiB, kMiB);
  }
  state.SetItemsProcessed(2 * 256 * state.iterations());
}
BENCHMARK(Map256Of4KWarm);

void TranslateWithinGiB(benchmark::State& state) {
  World world;
  world.Map(kGiB, kGiB, kTo);
  uint64_t random = 1;
  for (auto _ : state) {
    random = random * 6364136223846793005 + 1442695040888963407;
    benchmark::DoNotOptimize(world.table.Translate(kGiB + (random >> 34)));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(TranslateWithinGiB);

}  // namespace
}  // namespace viommu
