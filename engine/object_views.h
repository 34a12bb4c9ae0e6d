// engine/object_views.h -- Objects as the engine shows them, and the options that they have.
#ifndef VIOMMU_ENGINE_OBJECT_VIEWS_H_
#define VIOMMU_ENGINE_OBJECT_VIEWS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "engine/backend/backend.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/limits.h"

namespace viommu {

// ---- Options of objects ----

// How an IO address space treats Unmap. The two others do as VFIO's containers do, for programs
// written for those.
enum class IoasMode {
  kNative,       // Whole mappings go; a range in which nothing is mapped is refused.
  kVfioType1,    // Mappings are cut at the ends of the range; there are no large pages.
  kVfioType1v2,  // Whole mappings go.
  // In the last two a range in which nothing is mapped is done with no bytes.
  // The address space of a simulated process: Map and Unmap are what it maps for itself. Only SVA
  // domains show it.
  kProcess,
};

struct IoasOptions {
  IoasMode mode = IoasMode::kNative;
  std::optional<bool> large_pages;  // None: as the mode has it.
};

// ---- Objects as they are shown ----

// What every object has.
struct ObjectView {
  std::string id;
  std::string owner;
  Uid uid = 0;
  std::string etag;       // Changes with every change of the object (not with its mappings).
  uint64_t revision = 0;  // Host-wide revision of its last change.
  absl::Time create_time;
};

struct MemoryRegionView {
  ObjectView object;
  uint64_t size_bytes = 0;
  std::optional<int32_t> numa_node;
  uint64_t mapping_count = 0;  // Areas that map it.
  bool read_only = false;
  bool suspended = false;      // Revoked: nothing can be mapped from it.
  std::string suspend_reason;  // Empty unless suspended.
};

struct IoasView {
  ObjectView object;
  uint64_t mapping_count = 0;
  uint64_t mapped_bytes = 0;
  uint64_t mapping_revision = 0;  // Bumped by every map or unmap batch.
  uint64_t alignment_bytes = 1;   // What IOVA, length and source offset must be multiples of.
  std::vector<IovaRange> allowed_ranges;
  std::vector<std::string> domains;  // Resource names.
  IoasMode mode = IoasMode::kNative;
  bool large_pages = true;
  uint64_t suspended_mapping_count = 0;     // Of the mappings, those that are not in force.
  std::vector<std::string> loaded_devices;  // Whose reserved regions were loaded explicitly.
};

enum class DomainKind { kPaging, kNested, kSva, kIdentity, kBlocked };

struct DomainView {
  ObjectView object;  // The static domains have uid 0 and no owner.
  DomainKind kind = DomainKind::kPaging;
  std::string ioas;    // Resource names; empty for the static ones. Of kNested: its parent's.
  std::string device;  // The device it was made for.
  bool pasid = false;  // May be used for PASIDs.
  DomainProperties properties;
  std::vector<std::string> children;    // The kNested ones on it.
  std::string parent;                   // Of kNested.
  VtdStage1 stage1;                     // Of kNested, without `viommu`.
  std::string viommu;                   // Of kNested on one; else empty.
  ArmSmmuV3Stage1 vste;                 // With `viommu`.
  std::optional<uint32_t> sva_pasid;    // Of kSva: the one of its process.
  bool dirty_tracking_enabled = false;  // Devices mark what they write.
  std::string fault_queue;              // Resource name; empty: its page faults are refused.
  std::vector<std::string> attached_devices;
  bool automatic = false;  // Made by an attachment to `ioas`; goes with the last one.
};

enum class DeviceOwnership { kHost, kClaimed };
enum class DeviceHealth { kHealthy, kUnhealthy };
// What made a device unhealthy.
enum class HealthReason {
  kNone,                // It is healthy.
  kInjected,            // An operator said so.
  kResetFailed,         // It did not come back from a reset.
  kInvalidationFailed,  // Its TLB did not answer an invalidation; it is in quarantine.
  kUnplugFailed,        // It is blocked, but could not be taken out.
  kStateLost,           // What it was attached to could not be brought back.
};

struct DeviceView {
  DeviceSpec spec;
  Uid uid = 0;
  std::string etag;
  uint64_t revision = 0;
  DeviceOwnership ownership = DeviceOwnership::kHost;
  std::string claimed_by;  // Principal; shown to it and to operators only.
  std::string domain;      // Resource name of what requests without PASID meet now.
  bool attached = false;   // Its requests without PASID.
  DefaultDomainType default_domain = DefaultDomainType::kDma;  // In force while kHost.
  std::string default_domain_fallback;  // Why it is not what was asked for; empty: it is.
  std::vector<DefaultDomainType> default_domain_types;  // What its group can have.
  DeviceHealth health = DeviceHealth::kHealthy;
  HealthReason health_cause = HealthReason::kNone;
  std::string health_reason;               // In words.
  std::vector<std::string> group_members;  // Other devices of its group.
};

struct AttachmentView {
  std::string device;  // Resource names.
  std::string domain;
  std::string owner;
  uint64_t revision = 0;
  absl::Time create_time;
  std::optional<uint32_t> pasid;  // None: of requests without PASID.
  // Where the device writes its interrupts; none: they are not mapped there.
  std::optional<Iova> msi_iova = {};
};

enum class PasidState {
  kReserved,   // Its number was asked for.
  kAllocated,  // The engine chose it.
  kAttached,
};

// A PASID that is taken, of a device and of the whole group that shares its PASID entries.
struct PasidView {
  std::string device;  // Resource name.
  uint32_t pasid = 0;
  PasidState state = PasidState::kReserved;
  std::string domain;  // Resource name; empty: not attached.
  std::string owner;   // Principal.
  std::string label;   // What the owner keeps it for, in its own words.
  uint64_t revision = 0;
};

struct IommuView {
  IommuSpec spec;
  std::vector<std::string> devices;
};

struct HostView {
  std::string version;
  std::string backend;
  std::string boot_id;  // New at every start without state.
  uint64_t revision = 0;
  absl::Time start_time;
  OwnerLimits owner_limits;
  FlushQueueOptions flush_queue;
};

// What an owner uses of one of its limits.
struct UsageView {
  std::string owner;
  std::string limit;  // As in OwnerLimits: "max_mappings".
  uint64_t in_use = 0;
};

struct MappingView {
  IovaRange range;
  std::string memory_region;  // Resource name.
  uint64_t offset_bytes = 0;
  Permission permission = Permission::kReadWrite;
  bool suspended = false;  // Listed, its place taken, but no device can use it.
};

struct TranslationView {
  Iova iova = 0;
  MappingView mapping;            // The area that covers it.
  uint64_t offset_bytes = 0;      // Of `iova` in the memory region.
  uint64_t contiguous_bytes = 0;  // From `iova` to the end of the area.
};

struct ReservedRegionView {
  ReservedRegion region;
  std::string source;  // The device that brings it.
};

// What the IOMMU of a device says about itself, and what of it can be used.
struct HardwareView {
  HardwareRegisters registers;
  // Nest parents can not hold mappings that are read only (IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17).
  bool nest_parent_refuses_read_only = false;
  bool nesting = false;
  bool first_stage = false;
  bool first_stage_5_level = false;
  uint64_t first_stage_page_sizes = 0;  // Bit n set: leaves of 2^n bytes.
  uint64_t second_stage_page_sizes = 0;
  int pasid_bits = 0;  // Of what the device can issue and the unit knows.
  bool ats = false;
  bool supervisor_requests = false;
  bool extended_accessed = false;
  bool snoop_control = false;
  bool pass_through = false;
  bool dirty_tracking = false;
  ViommuSupport viommus;
  bool page_requests = false;  // Of the device, too: its page faults can be answered.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OBJECT_VIEWS_H_
