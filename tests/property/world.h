// tests/property/world.h -- A small host under random use, watched after every store.
//
// Engine over the soft backend with observed stores, beside the Reference. Every step is one random
// verb or one DMA. Before a verb the caches are filled with what it is about to change; during it
// every store is followed by cold looks that must see the old or the new state; after it DMA
// through the caches must see the new state only (R3, R4), and the answers must agree.
#ifndef VIOMMU_TESTS_PROPERTY_WORLD_H_
#define VIOMMU_TESTS_PROPERTY_WORLD_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/base/env.h"
#include "engine/engine.h"
#include "engine/journal/memory_journal.h"
#include "engine/pagetable/store.h"
#include "tests/property/reference.h"

namespace viommu::property {

// What happened in a run.
struct Tally {
  uint64_t steps = 0;
  uint64_t verbs_done = 0;
  uint64_t verbs_refused = 0;
  uint64_t stores_watched = 0;
  uint64_t looks = 0;       // Cold, after a store.
  uint64_t dma_checks = 0;  // Through the caches.
};

class World {
 public:
  explicit World(uint64_t seed);

  // One step; false when something was wrong: see trouble().
  bool Step();
  // Compares every listing of the engine with the reference.
  bool CompareAll();

  const Tally& tally() const { return tally_; }
  const std::string& trouble() const { return trouble_; }

 private:
  struct Eye {
    int device;
    Iova iova;
    bool write;
    View before, after;
  };

  absl::Status SetUp();
  uint64_t Random(uint64_t below) { return random_() % below; }
  Iova RandomIova();
  ObjectRef Target(int number) const;

  // The verbs; `Judge` compares what the engine and the reference said.
  void RandomVerb();
  void MapVerb();
  void UnmapVerb();
  void AttachVerb();
  void DomainVerb();
  void ClaimVerb();
  void DmaStep();

  // Runs a verb on both sides with open eyes on `pages`.
  template <typename OnReference, typename OnEngine>
  void Both(const std::string& what, const std::vector<Iova>& pages, OnReference&& expected,
            OnEngine&& got);
  void OpenEyes(const std::vector<Iova>& pages);
  void LookOut();
  void CheckThroughCaches();
  hardware::Request RequestOf(int device, Iova iova, bool write) const;
  void Trouble(const std::string& what);
  // A view as an address: the reference names regions, the hardware physical addresses.
  uint64_t Physical(const View& view) const;
  bool Same(const View& expected, const hardware::Translation& seen) const;

  std::mt19937_64 random_;
  StoreObserver observer_;
  std::unique_ptr<SoftBackendT<ObservedStore>> backend_;
  MemoryJournal journal_;
  std::unique_ptr<Engine> engine_;
  CallContext me_;
  std::unique_ptr<Reference> reference_;
  std::vector<uint64_t> region_base_;
  std::vector<Eye> eyes_;
  bool watching_ = false;
  std::string doing_;
  Tally tally_;
  std::string trouble_;
};

}  // namespace viommu::property

#endif  // VIOMMU_TESTS_PROPERTY_WORLD_H_
