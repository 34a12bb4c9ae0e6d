// engine/types.h -- The plain values that cross the engine's face.
//
// Nothing here points into the engine: every value may be copied, kept and sent to another process.
// Sizes and lengths are bytes; times are wall-clock.
#ifndef VIOMMU_ENGINE_TYPES_H_
#define VIOMMU_ENGINE_TYPES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/backend/backend.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"

namespace viommu {

// ---- Limits (named here because clients can read them in GetHost) ----

inline constexpr size_t kMaxBatchEntries = 16384;  // Entries of one Map or Unmap.
inline constexpr size_t kMaxPageSize = 1000;       // Items of one listing page.
inline constexpr size_t kDefaultPageSize = 100;
inline constexpr size_t kMaxInFlightBatches = 32;    // Per mapping stream.
inline constexpr size_t kMaxAllowedRanges = 1024;    // Of one Ioas.
inline constexpr size_t kRememberedRequests = 1024;  // request_ids kept per principal.
inline constexpr uint64_t kMaxRegionBytes = uint64_t{1} << 44;
inline constexpr uint64_t kMaxAccessBytes = uint64_t{1} << 20;  // One Dma, ReadMemory, WriteMemory.

// What one owner (principal) may have at a time, so that no tenant can take the host's memory, ids
// or attention from the others. The same for every owner; fixed when the engine is made. An owner
// is charged for its objects and what they hold, whoever acts on them; a caller for what it has
// under way.
struct OwnerLimits {
  // Objects of a kind. Some hundred bytes each; and 4096 domains are a sixteenth of the 65536
  // domain ids that a VT-d unit has at most.
  uint64_t max_memory_regions = 4096;
  uint64_t max_ioas = 4096;
  uint64_t max_domains = 4096;
  // Areas of all IO address spaces: 64 GiB in single pages, at 40 to 60 bytes each about a GiB.
  uint64_t max_mappings = uint64_t{1} << 24;
  // Bytes that they map together: four of the largest regions. It bounds what tables can cover.
  uint64_t max_mapped_bytes = uint64_t{1} << 46;
  // Bytes of all memory regions together.
  uint64_t max_region_bytes_total = uint64_t{1} << 46;
  // Grants (what gives or makes something) of one caller between their start and their answer. Each
  // holds a batch of up to 4 MiB, so this is a GiB; and a revoke waits behind no more than these.
  uint64_t max_operations_in_flight = 256;
  // Open mapping streams of one caller; each has threads of its own.
  uint64_t max_streams = 64;
};

// ---- Who calls, and how ----

struct CallContext {
  std::string principal = "local";  // Owner of what the call creates.
  bool is_operator = false;         // May see and address every owner's objects.
  // Client-chosen name of this request (R7); empty: none. With it a repeated call gets the first
  // answer; with another digest under the same id the call is refused.
  std::string request_id;
  // Equal for equal requests, different for different ones (request_id itself left out).
  std::string request_digest;
  // Validate and plan for real, then change nothing.
  bool validate_only = false;
  absl::Time deadline = absl::InfiniteFuture();
};

// Names an object: by id, and by owner when an operator addresses somebody else's.
struct ObjectRef {
  std::string id;
  std::optional<std::string> owner;
};

// A page of a listing. `cursor` is what the previous page returned; empty: from the start.
struct PageRequest {
  size_t page_size = kDefaultPageSize;  // 1..kMaxPageSize.
  std::string cursor;
};

template <typename T>
struct Page {
  std::vector<T> items;
  std::string next_cursor;  // Empty: nothing follows.
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
};

struct IoasView {
  ObjectView object;
  uint64_t mapping_count = 0;
  uint64_t mapped_bytes = 0;
  uint64_t mapping_revision = 0;  // Bumped by every map or unmap batch.
  uint64_t alignment_bytes = 1;   // What IOVA, length and source offset must be multiples of.
  std::vector<IovaRange> allowed_ranges;
  std::vector<std::string> domains;  // Resource names.
};

enum class DomainKind { kPaging, kNested, kIdentity, kBlocked };

struct DomainView {
  ObjectView object;  // The static domains have uid 0 and no owner.
  DomainKind kind = DomainKind::kPaging;
  std::string ioas;    // Resource names; empty for the static ones. Of kNested: its parent's.
  std::string device;  // The device it was made for.
  bool pasid = false;  // May be used for PASIDs.
  DomainProperties properties;
  std::vector<std::string> children;  // The kNested ones on it.
  std::string parent;                 // Of kNested.
  VtdStage1 stage1;                   // Of kNested.
  std::vector<std::string> attached_devices;
};

enum class DeviceOwnership { kHost, kClaimed };
enum class DeviceHealth { kHealthy, kUnhealthy };

struct DeviceView {
  DeviceSpec spec;
  Uid uid = 0;
  std::string etag;
  uint64_t revision = 0;
  DeviceOwnership ownership = DeviceOwnership::kHost;
  std::string claimed_by;  // Principal; shown to it and to operators only.
  std::string domain;      // Resource name of what requests without PASID meet now.
  bool attached = false;
  DefaultDomainType default_domain = DefaultDomainType::kDma;  // In force while kHost.
  std::string default_domain_fallback;  // Why it is not what was asked for; empty: it is.
  DeviceHealth health = DeviceHealth::kHealthy;
  std::string health_reason;
  std::vector<std::string> group_members;  // Other devices of its group.
};

struct AttachmentView {
  std::string device;  // Resource names.
  std::string domain;
  std::string owner;
  uint64_t revision = 0;
  absl::Time create_time;
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
  VtdHardware vtd;
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
};

// ---- Domains to be made ----

// Over an Ioas (iommufd: IOMMU_HWPT_ALLOC on an IOAS).
struct PagingDomainRequest {
  ObjectRef ioas;
  std::string device;
  bool nest_parent = false;                   // NESTED domains may be made on it.
  bool dirty_tracking = false;                // Refused as long as no backend has it.
  bool pasid = false;                         // May be used for PASIDs.
  std::optional<ObjectRef> fault_queue = {};  // Refused as long as there are none.
};

// A guest's first stage on SMMUv3: the guest's half of a stream table entry
// (iommufd: struct iommu_hwpt_arm_smmuv3).
struct ArmSmmuV3Stage1 {
  uint64_t ste[2] = {};
};

// A guest's first stage on a nest parent (iommufd: IOMMU_HWPT_ALLOC on an HWPT).
struct NestedDomainRequest {
  ObjectRef parent;
  std::string device;
  std::variant<VtdStage1, ArmSmmuV3Stage1> stage1 = {};
  bool pasid = false;
  std::optional<ObjectRef> fault_queue = {};
};

using DomainRequest = std::variant<PagingDomainRequest, NestedDomainRequest>;

// ---- Invalidation of a guest's first stage ----

// A command of a guest to its virtual SMMUv3. No backend takes one yet.
struct ArmSmmuV3Invalidation {
  uint8_t opcode = 0;
};

// Commands of one architecture, in order. The default is a probe: nothing to invalidate.
using InvalidationBatch =
    std::variant<std::vector<VtdStage1Invalidation>, std::vector<ArmSmmuV3Invalidation>>;

struct InvalidateAnswer {
  uint64_t handled = 0;      // Commands of the batch that are done: the first ones.
  absl::Status first_error;  // Why the next one is not; OK when all are done.
  Uid domain = 0;            // Which domain the name meant.
};

// ---- Batches ----

struct MapEntry {
  std::optional<Iova> iova;  // None: the engine chooses.
  uint64_t offset_bytes = 0;
  uint64_t length_bytes = 0;
  uint32_t region = 0;  // Index into MapBatch::regions.
  Permission permission = Permission::kReadWrite;
};

struct MapBatch {
  std::vector<ObjectRef> regions;
  std::vector<MapEntry> entries;
};

struct MapAnswer {
  std::vector<Iova> iovas;  // One an entry, in order.
  uint64_t mapping_revision = 0;
};

struct UnmapEntry {
  Iova iova = 0;
  uint64_t length_bytes = 0;
};

struct UnmapBatch {
  bool all = false;  // Everything; `entries` is empty then.
  std::vector<UnmapEntry> entries;
};

struct UnmapAnswer {
  uint64_t unmapped_bytes = 0;
  uint64_t unmapped_areas = 0;
  uint64_t mapping_revision = 0;
};

struct CopyRequest {
  ObjectRef source;
  Iova source_iova = 0;
  uint64_t length_bytes = 0;
  std::optional<Iova> iova;  // In the destination; none: the engine chooses.
  Permission permission = Permission::kReadWrite;
};

// ---- Answers of device verbs ----

struct AttachAnswer {
  AttachmentView attachment;
  Transition transition;
};

struct DetachAnswer {
  Transition transition;
};

// ---- Fast path ----

enum class OnError { kStop, kContinue };

struct StreamOptions {
  ObjectRef ioas;
  OnError on_error = OnError::kStop;
};

struct StreamBatch {
  uint64_t sequence = 0;  // Strictly ascending within a stream.
  std::optional<MapBatch> map;
  std::optional<UnmapBatch> unmap;  // Exactly one of the two.
};

struct StreamReply {
  uint64_t sequence = 0;
  absl::Status status;
  MapAnswer map;      // For a map batch that succeeded.
  UnmapAnswer unmap;  // For an unmap batch that succeeded.
};

// ---- Numbers for metrics ----

struct EngineStats {
  std::vector<std::pair<std::string, uint64_t>> objects;  // Live objects by kind.
  uint64_t mappings = 0;
  uint64_t mapped_bytes = 0;
  uint64_t claimed_devices = 0;
  uint64_t attached_devices = 0;
  struct Transitions {
    std::string kind;  // "blocked_to_paging", ...
    uint64_t hitless = 0;
    uint64_t not_hitless = 0;
  };
  std::vector<Transitions> transitions;  // Every kind is listed.
  uint64_t remembered_requests = 0;
  // Calls and batches that a limit of OwnerLimits refused; every limit is listed.
  std::vector<std::pair<std::string, uint64_t>> limit_refusals;
  BackendStats backend;
  std::vector<QueueState> queues;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_TYPES_H_
