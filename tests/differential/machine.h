// tests/differential/machine.h -- The hosts on which traces run: a topology, its limits, a backend.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_MACHINE_H_
#define VIOMMU_TESTS_DIFFERENTIAL_MACHINE_H_

#include <cstdint>
#include <memory>

#include "engine/backend/backend.h"
#include "engine/backend/topology.h"
#include "engine/types.h"

namespace viommu::differential {

enum class BackendKind { kFake, kSoft };

// Three units and ten devices: dev0 plain; dev1 and dev2 of one group, dev2 with a RESERVED range;
// dev3 with a DIRECT one; dev4 untrusted and asking for IDENTITY; dev5 may have IDENTITY; dev6 has
// a DIRECT_RELAXABLE range; dev7 may have IDENTITY behind a unit without pass-through; dev8 and
// dev9 of one group that has IDENTITY by default. unit1's tables are as wide as unit0's, unit2's
// are not; it can not defer flushes either. The soft backend takes no topology in which an
// untrusted device asks for IDENTITY.
Topology MachineTopology(BackendKind kind);

// Small, so that they are met; `variant` chooses which are the smallest.
OwnerLimits MachineLimits(uint64_t variant);

// Has a simulation in either case.
std::unique_ptr<Backend> MakeBackend(BackendKind kind, const Topology& topology);

// Small, so that it is filled.
inline constexpr uint32_t kFlushQueueEntries = 4;

// What the reference has to know of a backend, in its own words.
struct Hardware {
  BackendKind kind = BackendKind::kFake;
  Topology topology;

  // Of the IO virtual addresses that a domain made for a device translates.
  int WidthBits(size_t device) const;
  // Whether `device` can use a domain made for `maker`.
  bool Compatible(size_t device, size_t maker) const;
  bool HasPassThrough(size_t device) const;
  bool DefersFlushes(size_t device) const;

 private:
  const IommuSpec& UnitOf(size_t device) const;
};

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_MACHINE_H_
