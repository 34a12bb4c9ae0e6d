// engine/journal/record.h -- The logical operations that a journal keeps.
//
// A record says what was decided, not what was asked for: uids and IOVAs that the engine chose are
// in it, so that replaying gives the same state on any backend. Plain values.
#ifndef VIOMMU_ENGINE_JOURNAL_RECORD_H_
#define VIOMMU_ENGINE_JOURNAL_RECORD_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/base/address.h"

namespace viommu {

namespace record {

struct CreateMemoryRegion {
  uint64_t uid;
  std::string id;
  uint64_t size_bytes;
  std::optional<int32_t> numa_node;
  bool read_only;
};
// What reaches beyond the size is suspended; suspends everything and for good when it is 0.
struct ResizeMemoryRegion {
  uint64_t uid;
  uint64_t size_bytes;
};
struct CreateIoas {
  uint64_t uid;
  std::string id;
  int mode;  // IoasMode.
  bool large_pages;
};
struct SetLargePages {
  uint64_t ioas;
  bool large_pages;
};
struct LoadReservedRegions {
  uint64_t ioas;
  std::string device;
};
struct UnloadReservedRegions {
  uint64_t ioas;
  std::string device;
};
// The groups that wait in it are not kept: after a restart devices are reset and ask again.
struct CreateFaultQueue {
  uint64_t uid;
  std::string id;
  uint32_t depth;
};
struct CreateDomain {
  uint64_t uid;
  std::string id;
  uint64_t ioas;
  std::string device;
  bool nest_parent;
  bool pasid;
  bool dirty_tracking;
  uint64_t fault_queue = 0;  // 0: none.
};
struct CreateNestedDomain {
  uint64_t uid;
  std::string id;
  uint64_t parent;
  std::string device;
  bool pasid;
  // The guest's first stage, of VT-d.
  uint64_t table_address;
  int address_width_bits;
  bool supervisor_requests;
  bool write_protect;
  bool extended_accessed;
  // On a Viommu, of Arm SMMUv3; 0: it is not.
  uint64_t viommu = 0;
  uint64_t ste[2] = {};
  uint64_t fault_queue = 0;  // 0: none.
};
struct CreateSvaDomain {
  uint64_t uid;
  std::string id;
  uint64_t process;  // Its Ioas.
  std::string device;
  uint32_t pasid;  // Of the process, for all its domains.
};
// Pages that were marked before are not restored, as memory is not.
struct SetDirtyTracking {
  uint64_t domain;
  bool enabled;
};
struct CreateViommu {
  uint64_t uid;
  std::string id;
  int type;  // ViommuType.
  std::string device;
  uint64_t parent;
};
// Ids of what belongs to a Viommu are whole: "vm0/vdevices/nic".
struct CreateVdevice {
  uint64_t uid;
  std::string id;
  uint64_t viommu;
  std::string device;
  uint64_t virtual_id;
};
// Empty, and counting from 0: what was in it is not kept.
struct CreateEventQueue {
  uint64_t uid;
  std::string id;
  uint64_t viommu;
  int type;  // ViommuEventType.
  uint32_t depth;
};
struct CreateHardwareQueue {
  uint64_t uid;
  std::string id;
  uint64_t viommu;
  int type;  // HardwareQueueType.
  uint32_t index;
  Iova base;
  uint64_t length_bytes;
};
// Of an object of any kind.
struct Destroy {
  uint64_t uid;
};
struct Area {
  IovaRange range;
  uint64_t region;
  uint64_t offset_bytes;
  uint8_t permission;  // Bit 0 read, bit 1 write.
};
struct Map {
  uint64_t ioas;
  std::vector<Area> areas;
};
struct Unmap {
  uint64_t ioas;
  std::vector<IovaRange> areas;
  std::vector<Area> remnants;  // What stays of those that were cut: areas of their own from now on.
};
struct SetAllowedRanges {
  uint64_t ioas;
  std::vector<IovaRange> ranges;
};
struct Claim {
  std::string device;
  std::string owner;  // Who may be another than the caller.
};
// To another owner. PASIDs that were taken are free from now on.
struct MoveClaim {
  std::string device;
  std::string owner;
  std::vector<uint64_t> vdevices = {};  // Of the group, which go.
};
struct Release {
  std::string device;
  std::vector<uint64_t> vdevices = {};  // Of the group, which go with it.
};
// A page of a domain that leads to an interrupt doorbell from now on, for as long as the domain is.
struct Doorbell {
  uint64_t domain;
  Iova iova;
  uint64_t address;
};
// The domain that the device's requests with a PASID, or (none) without one, meet from now on: a
// uid, or 0 for the static one named. With it comes an auto domain that was made for it, and goes
// (0: none) the auto domain that it left; `doorbells` are those that were not mapped there before.
struct Attach {
  std::string device;
  uint64_t domain;
  std::string static_domain;
  std::optional<uint32_t> pasid;
  std::optional<CreateDomain> made;
  uint64_t destroyed = 0;
  std::vector<Doorbell> doorbells = {};
};
struct Detach {
  std::string device;
  std::optional<uint32_t> pasid = std::nullopt;
  uint64_t destroyed = 0;  // The auto domain that goes with it; 0: none.
};
// A PASID that is kept, its number chosen by the engine or by the caller.
struct TakePasid {
  std::string device;
  uint32_t pasid;
  bool chosen_by_engine;
  std::string label;
};
struct FreePasid {
  std::string device;
  uint32_t pasid;
};
// Orders it among the changes of its group; a finished reset leaves nothing to be restored.
struct Reset {
  std::string device;
};
// The host mapped (or unmapped) a range for itself. Orders it among the changes of its group; it is
// not restored, because the host's mappings die with the host.
struct HostMapping {
  std::string device;
  IovaRange range;
  bool mapped;
};
struct SetHealth {
  std::string device;
  bool healthy;
};
struct SetDefaultDomain {
  std::string device;
  int type;  // DefaultDomainType.
};
struct Unplug {
  std::string device;
  std::vector<uint64_t> vdevices = {};  // Its own, which goes with it.
};
struct Plug {
  std::string device;
};

}  // namespace record

using LogicalOperation =
    std::variant<record::CreateMemoryRegion, record::CreateIoas, record::CreateDomain,
                 record::CreateNestedDomain, record::CreateSvaDomain, record::CreateFaultQueue,
                 record::SetDirtyTracking, record::Destroy, record::Map, record::Unmap,
                 record::SetAllowedRanges, record::ResizeMemoryRegion, record::SetLargePages,
                 record::LoadReservedRegions, record::UnloadReservedRegions, record::Claim,
                 record::Release, record::Attach, record::Detach, record::SetDefaultDomain,
                 record::HostMapping, record::SetHealth, record::Unplug, record::Plug,
                 record::TakePasid, record::FreePasid, record::Reset, record::CreateViommu,
                 record::CreateVdevice, record::CreateEventQueue, record::CreateHardwareQueue,
                 record::MoveClaim>;

struct Record {
  std::string principal;
  std::string request_id;  // Empty: none.
  std::string request_digest;
  LogicalOperation operation;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_JOURNAL_RECORD_H_
