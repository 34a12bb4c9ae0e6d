// tests/differential/machine.h -- The hosts on which traces run: a topology, its limits, a backend.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_MACHINE_H_
#define VIOMMU_TESTS_DIFFERENTIAL_MACHINE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/backend/topology.h"
#include "engine/types.h"

namespace viommu::differential {

enum class BackendKind { kFake, kSoft, kSoftSmmu, kFakeSmmu };  // kFake, kSoft: of VT-d.

// Three units and ten devices: dev0 plain; dev1 and dev2 of one group, dev2 with a RESERVED range;
// dev3 with a DIRECT one; dev4 untrusted and asking for IDENTITY; dev5 may have IDENTITY; dev6 has
// a DIRECT_RELAXABLE range; dev7 may have IDENTITY behind a unit without pass-through; dev8 and
// dev9 of one group that has IDENTITY by default; dev5 and dev9 have a SW_MSI window. unit0 and
// unit1 nest; unit1's first stage may have 5 levels, but no supervisor requests, which unit0 has.
// unit2 has a second stage only, of 3 levels, and can not defer flushes either. PASIDs are few, so
// that they are used up: of dev0, dev5 and dev7 2 bits of them, of the others less or none; dev6's
// are bounded by its unit. dev0, dev1, dev2 and dev8 have page faults. The soft backend takes no
// topology in which an untrusted device asks for IDENTITY.
//
// Of the others the units are SMMUv3s: two have both stages and nest, the second with second stages
// of 44 bits; unit2 has a second stage only, of 40 bits, and no PASIDs. Who has page faults is no
// PCI function: its requests stall. Of kFakeSmmu the first two are called smmu0 and smmu1.
Topology MachineTopology(BackendKind kind);

// Small, so that they are met; `variant` chooses which are the smallest.
OwnerLimits MachineLimits(uint64_t variant);

// Has a simulation in either case.
std::unique_ptr<Backend> MakeBackend(BackendKind kind, const Topology& topology);

// Small, so that it is filled.
inline constexpr uint32_t kFlushQueueEntries = 4;

// How a domain is made, as far as its tables depend on it.
struct Making {
  size_t device = 0;
  bool nest_parent = false;
  bool pasid = false;
  bool guest = false;                    // Of a NESTED one on a Viommu.
  std::optional<VtdStage1> stage1 = {};  // Of a NESTED one.
};

// What the reference has to know of a backend, in its own words.
struct Hardware {
  BackendKind kind = BackendKind::kFake;
  Topology topology;

  bool IsSmmu() const { return kind == BackendKind::kSoftSmmu || kind == BackendKind::kFakeSmmu; }
  bool IsFake() const { return kind == BackendKind::kFake || kind == BackendKind::kFakeSmmu; }
  const IommuSpec& UnitOf(size_t device) const;
  // Of the IO virtual addresses that a domain translates.
  int WidthBits(const Making& making) const;
  // Whether its tables can say that something is only read (1), only written (2).
  bool Holds(const Making& making, uint64_t permission) const;
  // Whether `device` can use a domain that was made so.
  bool Compatible(size_t device, const Making& making) const;
  // The highest that all of these devices issue and their units know; 0: one issues none.
  uint32_t HighestPasid(const std::vector<size_t>& devices) const;
  // PASIDs that the unit of a device takes, as a number of bits.
  int PasidBitsOf(size_t device) const;
  // Whether the unit of `device` has a first stage, or a guest's on a nest parent.
  bool HasFirstStage(size_t device) const;
  bool Nests(size_t device) const;
  // Whether requests with PASID can be passed through behind it.
  bool PassesPasidsThrough() const { return kind != BackendKind::kSoftSmmu; }
  // Whether what the device asks for in vain can wait for an answer.
  bool HasPageFaults(size_t device) const;
  // Whether a fault of a device is a request that stalls: the machine makes it by accessing memory.
  bool Stalls() const { return kind == BackendKind::kSoftSmmu; }
  bool HasPassThrough(size_t device) const;
  bool DefersFlushes(size_t device) const;
};

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_MACHINE_H_
