// How long an operation on a million areas works under the engine's lock, step by step: `plan` and
// `record` in one go, `commit` in another; `unplan` is what a failure costs. Of an Unmap half of
// the areas is the worst: of those that go and those that stay the fewer are moved one by one.
//
//   bazel run -c opt //engine:unmap_all_benchmark

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "benchmark/benchmark.h"
#include "engine/backend/fake/fake_backend.h"
#include "engine/base/env.h"
#include "engine/model/model.h"
#include "engine/operations/domain_operations.h"
#include "engine/operations/ioas_operations.h"
#include "engine/operations/mapping_operations.h"
#include "engine/operations/unmap_operation.h"
#include "engine/types.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kAreas = 1000000;

// memoryRegions/ram, ioas/as that maps a million single pages of it with gaps between them, and
// dev0 claimed.
class World {
 public:
  World() {
    region_ = *model_.Reserve(std::make_unique<MemoryRegion>(
        "local", "ram", model_.objects.NextUid(), kAreas * kPage, std::nullopt));
    ioas_ = *model_.Reserve(std::make_unique<Ioas>("local", "as", model_.objects.NextUid()));
    model_.Publish(*region_);
    model_.Publish(*ioas_);
    for (uint64_t i = 0; i < kAreas; ++i) {
      const Ioas::Addition addition{2 * i * kPage, kPage, i * kPage, Permission::kReadWrite,
                                    region_};
      ioas_->CommitAdd({ioas_->PlanAdd(addition)->ToBackend()});
    }
    region_->AddReferences(ioas_->uid(), kAreas);
    model_.ledger.Charge(*ioas_->account, Usage::OfMappings(kAreas, kAreas * kPage));
    model_.GroupOf(model_.devices[0]).claimed_by = "local";
  }
  Model& model() { return model_; }

 private:
  FakeBackend backend_{SmallTopology()};
  Model model_{&backend_, RealEnv(), OwnerLimits()};
  MemoryRegion* region_ = nullptr;
  Ioas* ioas_ = nullptr;
};

double Milliseconds(const std::function<void()>& step) {
  const auto start = std::chrono::steady_clock::now();
  step();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

// `make` makes the operation.
template <typename Make>
void Run(benchmark::State& state, const Make& make) {
  double plan = 0, unplan = 0, record = 0, commit = 0;
  for (auto _ : state) {  // NOLINT(clang-analyzer-deadcode.DeadStores): unused on purpose.
    state.PauseTiming();
    auto world = std::make_unique<World>();
    auto operation = make();
    Model& model = world->model();
    if (!operation.Plan(model).ok()) state.SkipWithError("refused");
    state.ResumeTiming();
    unplan += Milliseconds([&] { operation.Unplan(model); });
    plan += Milliseconds([&] { operation.Plan(model).IgnoreError(); });
    record += Milliseconds([&] { benchmark::DoNotOptimize(operation.Logical()); });
    commit += Milliseconds([&] { operation.Commit(model); });
    state.PauseTiming();
    world.reset();
    state.ResumeTiming();
  }
  const auto average = benchmark::Counter::kAvgIterations;
  state.counters["plan_ms"] = benchmark::Counter(plan, average);
  state.counters["record_ms"] = benchmark::Counter(record, average);
  state.counters["commit_ms"] = benchmark::Counter(commit, average);
  state.counters["unplan_ms"] = benchmark::Counter(unplan, average);
}

void BM_UnmapEverything(benchmark::State& state) {
  UnmapBatch batch;
  batch.all = true;
  Run(state, [&] { return UnmapOperation(CallContext(), {"as", std::nullopt}, batch); });
}
BENCHMARK(BM_UnmapEverything)->Unit(benchmark::kMillisecond)->Iterations(5);

void BM_UnmapHalf(benchmark::State& state) {
  UnmapBatch batch;
  batch.entries = {{0, kAreas * kPage}};
  Run(state, [&] { return UnmapOperation(CallContext(), {"as", std::nullopt}, batch); });
}
BENCHMARK(BM_UnmapHalf)->Unit(benchmark::kMillisecond)->Iterations(5);

void BM_DeleteIoas(benchmark::State& state) {
  Run(state, [] { return DeleteIoasOperation(CallContext(), {"as", std::nullopt}, ""); });
}
BENCHMARK(BM_DeleteIoas)->Unit(benchmark::kMillisecond)->Iterations(5);

void BM_CreateDomain(benchmark::State& state) {
  Run(state, [] {
    return CreateDomainOperation(CallContext(), "d",
                                 PagingDomainRequest{{"as", std::nullopt}, "dev0"});
  });
}
BENCHMARK(BM_CreateDomain)->Unit(benchmark::kMillisecond)->Iterations(5);

}  // namespace
}  // namespace viommu
