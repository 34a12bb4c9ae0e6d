// The engine's bars P5 and P9: Engine::Map of a batch, over the soft backend and with nothing to be
// made durable. Each is measured side by side with its reference; only ratios count.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "benchmark/benchmark.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/base/env.h"
#include "engine/base/interval_map.h"
#include "engine/engine.h"
#include "engine/journal/memory_journal.h"
#include "engine/model/area.h"
#include "engine/pagetable/page_table.h"
#include "engine/pagetable/page_table_testing.h"
#include "engine/pagetable/store.h"
#include "tests/benchmarks/samples.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4 * kKiB;
constexpr uint64_t kRegionBytes = 64 * kGiB;
constexpr Iova kBatchAt = 256 * kGiB;

// What cannot be done makes the figures worthless.
template <typename T>
void Require(const T& result) {
  if (!result.ok()) std::abort();
}

Topology OneDevice() {
  Topology topology;
  topology.iommus.resize(1);
  topology.iommus[0].id = "unit0";
  DeviceSpec device;
  device.id = "dev0";
  device.pci_address = "0000:00:01.0";
  device.iommu = "unit0";
  device.group = "group0";
  topology.devices.push_back(std::move(device));
  return topology;
}

// `pages` entries of one page from `at` on. No two neighbours are neighbours in memory, as guests'
// pages are not.
MapBatch PagesAt(Iova at, uint64_t pages) {
  MapBatch batch;
  batch.regions.push_back({"ram", std::nullopt});
  for (uint64_t i = 0; i < pages; ++i) {
    const uint64_t offset = i * 8191 % kMaxBatchEntries * kPage;
    batch.entries.push_back({at + i * kPage, offset, kPage, 0, Permission::kReadWrite});
  }
  return batch;
}

UnmapBatch Whole(Iova at, uint64_t pages) {
  UnmapBatch batch;
  batch.entries.push_back({at, pages * kPage});
  return batch;
}

// One Ioas with a domain, to which a device is attached.
class World {
 public:
  World() {
    // As viommud does.
    absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
    const CallContext& call = call_;
    engine_ = *Engine::Create({"benchmark"}, backend_.get(), &journal_, RealEnv());
    Require(engine_->CreateMemoryRegion(call, "ram", kRegionBytes, std::nullopt));
    Require(engine_->CreateIoas(call, "as"));
    Require(engine_->ClaimDevice(call, "dev0", ""));
    Require(engine_->CreateDomain(call, "d", PagingDomainRequest{ioas_ref_, "dev0"}));
    Require(engine_->AttachDevice(call, "dev0", {"d", std::nullopt}));
  }

  void Map(const MapBatch& batch) { Require(engine_->Map(call_, ioas_ref_, batch)); }
  void Unmap(const UnmapBatch& batch) { Require(engine_->Unmap(call_, ioas_ref_, batch)); }

  // Maps `count` pages, from address 0 on, with a hole behind every 256.
  void Fill(uint64_t count) {
    constexpr uint64_t kRun = 256;
    for (uint64_t i = 0; i < count; i += kRun)
      Map(PagesAt(2 * i * kPage, std::min(kRun, count - i)));
  }

 private:
  const ObjectRef ioas_ref_{"as", std::nullopt};
  const CallContext call_;
  std::unique_ptr<SoftBackend> backend_ = *SoftBackend::Create(OneDevice(), {}, {});
  MemoryJournal journal_;
  std::unique_ptr<Engine> engine_;
};

// The two things without which no map can be: an area, and an entry of the page table.
class Parts {
 public:
  void InsertAreas(const MapBatch& batch) {
    for (const MapEntry& entry : batch.entries) {
      const IovaRange range{*entry.iova, *entry.iova + (entry.length_bytes - 1)};
      if (!areas_.Insert(range, Area(1, entry.offset_bytes, entry.permission, false))) std::abort();
    }
  }
  void MapPages(const MapBatch& batch) {
    for (const MapEntry& entry : batch.entries) {
      Require(table_.Map(*entry.iova, PhysAddr{kMemory + entry.offset_bytes}, entry.length_bytes,
                         kReadWrite));
    }
  }
  void Remove(const MapBatch& batch) {
    PageList freed;
    for (const MapEntry& entry : batch.entries) {
      areas_.Erase(*entry.iova);
      table_.Unmap(*entry.iova, entry.length_bytes, &freed);
    }
    memory_.arena()->Free(&freed);
  }

 private:
  static constexpr uint64_t kMemory = 8 * kGiB;

  IntervalMap<Area> areas_;
  TableMemory memory_{4096};
  PageTable table_ = *PageTable::Create(VtdSecondStageKind<4>::MakeFormat(kPage | 2 * kMiB | kGiB),
                                        PlainStore(), memory_.arena());
};

// Maps about ten thousand pages around the place of the batch: an Ioas that is in use.
template <typename Map>
void Surround(uint64_t pages, const Map& map) {
  constexpr uint64_t kAround = 20, kRun = 256;
  for (uint64_t i = 0; i < kAround; ++i) {
    map(PagesAt(kBatchAt - 2 * (i + 1) * kRun * kPage, kRun));
    map(PagesAt(kBatchAt + (pages + 2 * i * kRun) * kPage, kRun));
  }
}

// P5 <= 1.25 for 256 pages: the whole way of a map against the sum of its parts.
void P5MapAgainstItsParts(benchmark::State& state) {
  const auto pages = static_cast<uint64_t>(state.range(0));
  const MapBatch batch = PagesAt(kBatchAt, pages);
  const UnmapBatch unmap = Whole(kBatchAt, pages);
  World world;
  Parts parts;
  Surround(pages, [&](const MapBatch& around) {
    world.Map(around);
    parts.InsertAreas(around);
    parts.MapPages(around);
  });
  Samples whole, areas, tables;
  for ([[maybe_unused]] auto _ : state) {
    whole.Time([&] { world.Map(batch); });
    world.Unmap(unmap);
    areas.Time([&] { parts.InsertAreas(batch); });
    tables.Time([&] { parts.MapPages(batch); });
    parts.Remove(batch);
  }
  const auto entries = static_cast<double>(pages);
  state.counters["P5_ratio"] = whole.Median() / (areas.Median() + tables.Median());
  state.counters["engine_ns"] = whole.Median() / entries;
  state.counters["area_ns"] = areas.Median() / entries;
  state.counters["table_ns"] = tables.Median() / entries;
}
BENCHMARK(P5MapAgainstItsParts)->ArgName("pages")->Arg(1)->Arg(16)->Arg(256)->Arg(4096);

// Median nanoseconds a page of mapping 256 pages into holes all over an Ioas of `areas` areas.
double MapAmong(uint64_t areas) {
  constexpr uint64_t kPages = 256;
  World world;
  world.Fill(areas);
  Samples map;
  uint64_t random = 1;
  for (int i = 0; i < 2000; ++i) {
    random = random * 6364136223846793005 + 1442695040888963407;
    const Iova hole = ((random >> 32) % (areas / kPages) * 2 + 1) * kPages * kPage;
    const MapBatch batch = PagesAt(hole, kPages);
    map.Time([&] { world.Map(batch); });
    world.Unmap(Whole(hole, kPages));
  }
  return map.Median() / kPages;
}

// P9 <= 2.5: mapping among very many areas, against mapping among few.
void P9MapAmongManyAreas(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    const double few = MapAmong(static_cast<uint64_t>(state.range(1)));
    const double many = MapAmong(static_cast<uint64_t>(state.range(0)));
    state.counters["P9_ratio"] = many / few;
    state.counters["few_ns"] = few;
    state.counters["many_ns"] = many;
  }
}
BENCHMARK(P9MapAmongManyAreas)
    ->ArgNames({"areas", "against"})
    ->Args({10'000'000, 10'000})
    ->Iterations(1)
    ->Unit(benchmark::kSecond);

}  // namespace
}  // namespace viommu
