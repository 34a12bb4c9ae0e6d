// tests/faults/sight.h -- All that a client can see of a host, and all that its hardware does.
#ifndef VIOMMU_TESTS_FAULTS_SIGHT_H_
#define VIOMMU_TESTS_FAULTS_SIGHT_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/backend/soft/soft_backend.h"
#include "engine/engine.h"

namespace viommu::faults {

// Where the hardware is looked at.
struct Places {
  std::vector<Iova> iovas;
  std::vector<std::optional<uint32_t>> pasids;
};

// What a request meets, by what is in memory and by what is cached.
struct Ways {
  uint16_t cold_fault = 0;
  uint64_t cold_address = 0;
  uint16_t warm_fault = 0;
  uint64_t warm_address = 0;

  bool operator==(const Ways& other) const {
    return cold_fault == other.cold_fault && cold_address == other.cold_address &&
           warm_fault == other.warm_fault && warm_address == other.warm_address;
  }
  bool blocked() const { return cold_fault != 0 && warm_fault != 0; }
};

struct DeviceSight {
  std::string shown;  // By clients: place, attachments, PASIDs, health; its etag.
  HealthReason health = HealthReason::kNone;
  std::string group;
  std::vector<Ways> hardware;  // For each PASID at each place.
};

struct Sight {
  uint64_t revision = 0;
  uint64_t table_pages = 0;
  std::string objects;   // Memory regions, IO address spaces, domains, usage; with their etags.
  std::string mappings;  // Of every IO address space.
  std::vector<DeviceSight> devices;  // Also those that are out.
  std::set<std::string> idle_auto_domains;
  std::set<std::string> vdevices;
};

// Looking fills caches, and changes nothing else. `kept_pages` are not counted.
Sight LookAt(Engine* engine, SoftBackend* backend, const CallContext& as, const Places& places,
             uint64_t kept_pages);

// What may be different after a failure; as it is made, nothing.
struct Allowance {
  bool fewer_table_pages = false;  // A flush that got through has let tables go.
  // An auto domain that the backend does not destroy is left, without attachments.
  bool auto_domain_left = false;
  // Some areas, still listed, are not in the tables any more: what was unmapped goes on to be.
  bool areas_unmapped = false;
  // A flush failed: what it was to remove may be cached still, and tables wait for the next one.
  bool flush_owed = false;
  // A device is blocked, unhealthy for this cause; its group may be off the hardware.
  std::optional<size_t> device;
  HealthReason cause = HealthReason::kNone;
};

// What differs though it may not, in words; and where something has to be left, that it is. Empty:
// nothing.
std::string Difference(const Sight& before, const Sight& after, const Allowance& allowance);

}  // namespace viommu::faults

#endif  // VIOMMU_TESTS_FAULTS_SIGHT_H_
