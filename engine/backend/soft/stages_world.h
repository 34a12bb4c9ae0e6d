// engine/backend/soft/stages_world.h -- For tests of the soft backend: a host with a domain of
// every kind, each leading one IOVA to a word of its own.
//
// Guests' tables lie in a MemoryRegion that the nest parents map, and are written as a guest writes
// them: through memory, store by store, without a word to the backend.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_STAGES_WORLD_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_STAGES_WORLD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/soft/soft_backend_inl.h"
#include "engine/backend/soft/test_topology.h"
#include "engine/backend/soft/vtd_registers.h"
#include "engine/base/address.h"
#include "engine/pagetable/store.h"
#include "gtest/gtest.h"

namespace viommu {

class StagesWorld : public testing::Test {
 protected:
  static constexpr uint64_t kPage = 4096;
  static constexpr uint64_t kGuestBytes = 0x4'0000;  // Of each parent's guest, from its address 0.
  static constexpr std::optional<uint32_t> kRid = std::nullopt;

  // Uids. Region and ioases, then domains.
  enum : Uid {
    kRegion = 1,
    kIoasFirstA,
    kIoasFirstB,
    kIoasParentA,
    kIoasParentB,
    kSpareIoas,
    kFirstA,  // First stages that PASIDs may use.
    kFirstB,
    kParentA,  // Second stages, nest parents.
    kParentB,
    kNestedA,  // On kParentA, as kNestedA2.
    kNestedA2,
    kNestedB,  // On kParentB.
    kSpare,
    kSpare2,
  };

  // Where requests can be, and what they read at iova_ there.
  struct Place {
    const char* name;
    DomainTarget target;
    const char* reads;
    uint64_t first_stage = 0;  // What is unlike in entries of unlike first stages; 0: has none.
  };
  static DomainTarget On(Uid domain) { return {DomainTarget::Kind::kDomain, domain}; }
  static std::vector<Place> Places() {
    return {{"blocked", {}, "blocked"},
            {"identity", {DomainTarget::Kind::kIdentity, 0}, "100"},
            {"second stage A", On(kParentA), "103"},
            {"second stage B", On(kParentB), "104"},
            {"first stage A", On(kFirstA), "101", 1},
            {"first stage B", On(kFirstB), "102", 2},
            {"nested on A", On(kNestedA), "200", GuestTables(0)},
            {"another nested on A", On(kNestedA2), "201", GuestTables(1)},
            {"nested on B", On(kNestedB), "300", GuestTables(0)}};
  }

  explicit StagesWorld(Topology topology = StagesTopology()) {
    SoftBackendOptions options;
    options.table_arena_bytes = uint64_t{64} << 20;
    backend_ = *Observed::Create(std::move(topology), options, ObservedStore(&observer_));
    sim_ = backend_->simulation();
    EXPECT_TRUE(backend_->CreateMemoryRegion(kRegion, 0x10'0000, 0).ok());
    iova_ =
        sim_->PhysicalAddress(kRegion, 0)->value;  // What identity makes of it is in the region.
    EXPECT_GT(iova_, kGuestBytes);
    for (Uid ioas = kIoasFirstA; ioas <= kSpareIoas; ++ioas) {
      EXPECT_TRUE(backend_->CreateIoas(ioas).ok());
    }
    Put(0, 100);
    MakePaging(kFirstA, kIoasFirstA, false, 1, 101);
    MakePaging(kFirstB, kIoasFirstB, false, 2, 102);
    MakePaging(kParentA, kIoasParentA, true, 3, 103);
    MakePaging(kParentB, kIoasParentB, true, 4, 104);
    MapGuest(kIoasParentA, GuestOffset(0));
    MapGuest(kIoasParentB, GuestOffset(1));
    MakeNested(kNestedA, kParentA, 0, 200);
    MakeNested(kNestedA2, kParentA, 1, 201);
    MakeNested(kNestedB, kParentB, 0, 300);
  }

  // Where guest `guest` (0: of kParentA) has its memory in the region.
  static uint64_t GuestOffset(int guest) { return 0x4'0000 * (guest + 1); }
  // Of stage `number` of a guest: its tables (root first), its page.
  static uint64_t GuestTables(int number) { return 0x1'0000 + 0x4000 * number; }
  static uint64_t GuestPage(int number) { return 0x8000 + kPage * number; }

  void Put(uint64_t offset_bytes, uint64_t word) {
    ASSERT_TRUE(
        sim_->WriteMemory(kRegion, offset_bytes, {reinterpret_cast<const char*>(&word), 8}).ok());
  }
  void MapPage(Uid ioas, Iova iova, uint64_t page_in_region) {
    ASSERT_TRUE(backend_->Map(ioas, {BackendMapping{iova, kPage, kRegion, page_in_region}}).ok());
  }
  void UnmapPage(Uid ioas, Iova iova) {
    ASSERT_TRUE(backend_->Unmap(ioas, {IovaRange{iova, iova + kPage - 1}}).ok());
  }
  void MapGuest(Uid ioas, uint64_t offset_bytes) {
    for (uint64_t at = 0; at < kGuestBytes; at += kPage) MapPage(ioas, at, offset_bytes + at);
  }
  void MakePaging(Uid uid, Uid ioas, bool nest_parent, uint64_t page, uint64_t word) {
    DomainSpec spec;
    spec.ioas = ioas;
    spec.device = kDiskA;
    spec.nest_parent = nest_parent;
    spec.pasid = true;
    ASSERT_TRUE(backend_->CreateDomain(uid, spec, {}).ok());
    Put(page * kPage, word);
    MapPage(ioas, iova_, page * kPage);
  }
  static DomainSpec NestedSpec(Uid parent, int number) {
    DomainSpec spec;
    spec.device = kDiskA;
    spec.kind = DomainSpec::Kind::kNested;
    spec.parent = parent;
    spec.stage1.table_address = GuestTables(number);
    return spec;
  }
  void MakeNested(Uid uid, Uid parent, int number, uint64_t word) {
    const uint64_t guest = GuestOffset(parent == kParentA ? 0 : 1);
    Put(guest + GuestPage(number), word);
    GuestMaps(guest, number, GuestPage(number));
    ASSERT_TRUE(backend_->CreateDomain(uid, NestedSpec(parent, number), {}).ok());
  }
  // The guest points iova_ to `to` of its addresses; 0: nowhere.
  void GuestMaps(uint64_t guest, int number, uint64_t to) {
    uint64_t table = GuestTables(number);
    for (int level = 4; level >= 1; --level, table += kPage) {
      const uint64_t index = iova_ >> (12 + 9 * (level - 1)) & 511;
      const uint64_t next = level > 1 ? (table + kPage) | 0x27 : to == 0 ? 0 : to | 0x67;
      Put(guest + table + index * 8, next);
    }
  }

  absl::Status Switch(DeviceIndex device, std::optional<uint32_t> pasid,
                      const DomainTarget& target) {
    return backend_->Switch({device}, pasid, target).status();
  }
  void Claim(DeviceIndex device) { ASSERT_TRUE(backend_->Claim({device}).ok()); }

  // What a device reads; "blocked", or the name of another fault.
  std::string Read(DeviceIndex device, std::optional<uint32_t> pasid, Iova iova) {
    uint64_t word = 0;
    const DmaOutcome done = sim_->Dma(device, pasid, iova, false,
                                      absl::MakeSpan(reinterpret_cast<char*>(&word), sizeof(word)));
    if (!done.fault.has_value()) return std::to_string(word);
    return NameOf(done.fault->reason);
  }
  std::string Read(DeviceIndex device, std::optional<uint32_t> pasid) {
    return Read(device, pasid, iova_);
  }
  // The same by the tables as they stand in memory.
  std::string ReadCold(DeviceIndex device, std::optional<uint32_t> pasid) const {
    hardware::Request request;
    request.source_id = backend_->machine().source_id_of(device);
    request.pasid = pasid;
    request.address = iova_;
    const auto seen = backend_->machine().unit_of(device).hardware().Probe(request);
    if (!seen.ok()) return seen.fault_reason == 0x51 || seen.fault_reason == 0x59 ? "blocked" : "?";
    uint64_t word = 0;
    sim_->ReadMemory(kRegion, seen.physical.value - iova_,
                     absl::MakeSpan(reinterpret_cast<char*>(&word), sizeof(word)))
        .IgnoreError();
    return std::to_string(word);
  }
  // Neither a table nor an entry is there.
  static std::string NameOf(const std::string& reason) {
    return reason == "SPT.2" || reason == "SPD.2" ? "blocked" : reason;
  }

  hardware::VtdModel& HardwareOf(DeviceIndex device) {
    return backend_->machine().unit_of(device).hardware();
  }
  void StopQueue(DeviceIndex device) {
    HardwareOf(device).Write32(vtd::kGlobalCommandRegister, vtd::kTranslationEnable);
  }
  // With what was submitted meanwhile forgotten: nothing but a new flush helps.
  void StartEmptyQueue(DeviceIndex device) {
    hardware::VtdModel& unit = HardwareOf(device);
    const uint64_t ring = unit.Read64(vtd::kQueueAddressRegister) & ~uint64_t{kPage - 1};
    PhysicalMemory& memory = backend_->machine().memory().physical();
    for (uint64_t word = 0; word < 2 * kPage / 8; ++word) {
      memory.Store64(PhysAddr{ring + word * 8}, word % 4 == 0 ? 0x45 : 0);  // Waits of no effect.
    }
    unit.Write32(vtd::kGlobalCommandRegister, vtd::kTranslationEnable | vtd::kQueueEnable);
  }
  uint64_t Invalidations(const std::string& kind) const {
    for (const auto& [name, count] : backend_->Stats().invalidations) {
      if (name == kind) return count;
    }
    ADD_FAILURE() << "no kind " << kind;
    return 0;
  }

  using Observed = SoftBackendT<ObservedStore>;
  uint64_t stores_ = 0;
  std::function<void()> look_;  // After every store, while there is one.
  StoreObserver observer_ = [this](const uint64_t*, size_t) {
    if (!look_) return;
    ++stores_;
    look_();
  };
  std::unique_ptr<Observed> backend_;
  Simulation* sim_ = nullptr;
  Iova iova_ = 0;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_STAGES_WORLD_H_
