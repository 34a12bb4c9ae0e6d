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
inline constexpr size_t kMaxPasidLabelBytes = 63;
inline constexpr size_t kMaxDoorbellPages = 64;                     // Of one owner's domains.
inline constexpr uint32_t kMaxEventQueueDepth = uint32_t{1} << 19;  // iommufd: veventq_depth.
inline constexpr uint32_t kMaxFaultQueueDepth = 4096;  // Groups that one fault queue keeps.
inline constexpr uint32_t kDefaultFaultQueueDepth = 256;
inline constexpr uint32_t kMaxPageGroup = 511;  // Index by which a device names a group.
inline constexpr size_t kMaxFaultsPerGroup = 64;
inline constexpr size_t kMaxPartialFaults = 1024;  // Of one device, before the last of a group.
inline constexpr size_t kMaxFaultResponses = kMaxFaultQueueDepth;  // Of one RespondFault.
inline constexpr uint64_t kMaxRegionBytes = uint64_t{1} << 44;
inline constexpr uint64_t kMaxAccessBytes = uint64_t{1} << 20;  // One Dma, ReadMemory, WriteMemory.
// Of one ReadDirtyBitmap: half a MiB, 16 GiB of pages of 4 KiB.
inline constexpr uint64_t kMaxBitmapPages = uint64_t{1} << 22;

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
  // PASIDs of all devices that are reserved, allocated or attached: some hundred bytes each.
  uint64_t max_pasids = uint64_t{1} << 16;
  // Vdevices and hardware queues are bounded by the devices and the hardware that there are.
  uint64_t max_viommus = 4096;
  // Depths of the event queues of all Viommus: two of the deepest, at some 60 bytes an event.
  uint64_t max_queued_events = uint64_t{1} << 20;
  // Fault queues, and the groups of page faults that all of them together may keep: each up to some
  // kilobytes.
  uint64_t max_fault_queues = 1024;
  uint64_t max_fault_groups = uint64_t{1} << 16;
  // Grants (what gives or makes something) of one caller between their start and their answer. Each
  // holds a batch of up to 4 MiB, so this is a GiB; and a revoke waits behind no more than these.
  uint64_t max_operations_in_flight = 256;
  // Open mapping streams, fault streams and watches of one caller; each holds at least one thread.
  uint64_t max_streams = 64;
};

// When translations that the host has unmapped in a DMA_FQ default domain are flushed: when the
// ring is full, or when one has waited for as long as it may.
struct FlushQueueOptions {
  uint32_t ring_entries = 256;  // 2 and more; one of them stays free.
  absl::Duration timeout = absl::Milliseconds(10);
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

// What a device is to be attached to: a domain, or an IO address space, of which the engine takes
// or makes an auto domain.
struct AttachTarget {
  enum class Kind { kDomain, kIoas };

  AttachTarget(ObjectRef domain) : ref(std::move(domain)) {}  // NOLINT: meant to be implicit.
  AttachTarget(std::string id, std::optional<std::string> owner)
      : ref{std::move(id), std::move(owner)} {}
  static AttachTarget OfIoas(ObjectRef ioas) {
    AttachTarget target(std::move(ioas));
    target.kind = Kind::kIoas;
    return target;
  }

  ObjectRef ref;
  Kind kind = Kind::kDomain;
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

struct FaultQueueView {
  ObjectView object;
  uint32_t depth = 0;                // Groups that it keeps; more are lost.
  std::vector<std::string> domains;  // Resource names of those whose faults it takes.
  // The rest changes without a revision.
  uint32_t waiting = 0;   // Groups that wait for an answer.
  uint64_t lost = 0;      // Groups that found it full, since it was made.
  bool streamed = false;  // Somebody has a stream of it open.
};

// One page that a device asks for.
struct FaultedPage {
  Iova address = 0;
  bool read = false;
  bool write = false;
  bool execute = false;
  bool privileged = false;
};

// A group of page faults that waits in a queue. One response answers all of it.
struct FaultView {
  uint32_t cookie = 0;    // Names it in its queue, from 1, until it is answered.
  uint64_t sequence = 0;  // From 1; what is lost has a number too.
  std::string device;     // Resource names.
  std::string domain;
  std::optional<uint32_t> pasid;
  uint32_t group = 0;  // By which the device names it.
  std::vector<FaultedPage> pages;
  absl::Time time;  // When its last fault came.
};

struct FaultResponse {
  uint32_t cookie = 0;
  PageResponse code = PageResponse::kSuccess;  // Not kFailure.
};

// Groups that a queue had no room for, since it was made.
struct FaultsLost {
  uint64_t total = 0;
};

using FaultStreamEvent = std::variant<FaultView, FaultsLost>;

enum class DeviceOwnership { kHost, kClaimed };
enum class DeviceHealth { kHealthy, kUnhealthy };
// What made a device unhealthy.
enum class HealthReason {
  kNone,                // It is healthy.
  kInjected,            // An operator said so.
  kResetFailed,         // It did not come back from a reset.
  kInvalidationFailed,  // Its IOMMU did not take an invalidation for it.
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

// ---- Domains to be made ----

// Over an Ioas (iommufd: IOMMU_HWPT_ALLOC on an IOAS).
struct PagingDomainRequest {
  ObjectRef ioas;
  std::string device;
  bool nest_parent = false;                   // NESTED domains may be made on it.
  bool dirty_tracking = false;                // It can tell which pages are written.
  bool pasid = false;                         // May be used for PASIDs.
  std::optional<ObjectRef> fault_queue = {};  // For its page faults; the device has page requests.
};

// A guest's first stage on a nest parent (iommufd: IOMMU_HWPT_ALLOC on an HWPT), or on a Viommu
// (the same on a vIOMMU).
struct NestedDomainRequest {
  ObjectRef parent;  // Not looked at with `viommu`.
  std::string device;
  std::variant<VtdStage1, ArmSmmuV3Stage1> stage1 = {};
  bool pasid = false;
  std::optional<ObjectRef> fault_queue = {};
  std::optional<ObjectRef> viommu = {};
};

// Of a process's address space (kernel: IOMMU_DOMAIN_SVA, iommu_sva_domain_alloc).
struct SvaDomainRequest {
  ObjectRef process;  // An Ioas of mode kProcess.
  std::string device;
};

using DomainRequest = std::variant<PagingDomainRequest, NestedDomainRequest, SvaDomainRequest>;

// ---- Invalidation of a guest's first stage ----

// Commands of one architecture, in order. The default is a probe: nothing to invalidate.
using InvalidationBatch =
    std::variant<std::vector<VtdStage1Invalidation>, std::vector<ArmSmmuV3Invalidation>>;

struct InvalidateAnswer {
  uint64_t handled = 0;      // Commands of the batch that are done: the first ones.
  absl::Status first_error;  // Why the next one is not; OK when all are done.
  Uid target = 0;            // Which domain, or Viommu, the name meant.
};

// ---- Viommus ----

// iommufd: enum iommu_viommu_type.
enum class ViommuType { kArmSmmuV3, kTegra241Cmdqv };

struct ViommuRequest {
  std::string device;  // Its unit is the one that the Viommu is a slice of.
  ViommuType type = ViommuType::kArmSmmuV3;
  ObjectRef parent;
};

struct ViommuView {
  ObjectView object;
  ViommuType type = ViommuType::kArmSmmuV3;
  std::string iommu;  // Resource names.
  std::string parent;
  std::string ioas;  // Below the parent.
  std::vector<std::string> domains;
  std::vector<std::string> vdevices;
  std::vector<std::string> event_queues;
  std::vector<std::string> hardware_queues;  // Ascending by index.
};

// What belongs to a Viommu has an id of the form "{viommu}/{collection}/{id}".
struct VdeviceView {
  ObjectView object;
  std::string viommu;
  std::string device;
  uint64_t virtual_id = 0;
};

struct EventQueueView {
  ObjectView object;
  std::string viommu;
  ViommuEventType type = ViommuEventType::kArmSmmuV3;
  uint32_t depth = 0;
  uint32_t queued = 0;         // Events that wait; a marker of lost ones is none.
  uint64_t reported = 0;       // Since it was made, lost ones too.
  uint64_t lost = 0;           // Of them.
  uint32_t next_sequence = 0;  // Of what is reported next.
};

// What a queue holds. In the order of their sequence numbers, which count 0..2^31-1 and begin anew.
struct EventView {
  uint32_t sequence = 0;
  // A marker: this one, and what is missing before it, did not fit. It has no event.
  bool lost = false;
  ArmSmmuV3Event event;
};

enum class HardwareQueueType { kTegra241Cmdqv };

struct HardwareQueueRequest {
  HardwareQueueType type = HardwareQueueType::kTegra241Cmdqv;
  HardwareQueueSpec spec;
};

struct HardwareQueueView {
  ObjectView object;
  std::string viommu;
  HardwareQueueType type = HardwareQueueType::kTegra241Cmdqv;
  HardwareQueueSpec spec;
};

// What became of a simulated event.
struct RaiseAnswer {
  enum class Outcome {
    kQueued,
    kLost,     // The queue is full.
    kDropped,  // There is no queue for such events.
  };
  Outcome outcome = Outcome::kQueued;
  uint32_t sequence = 0;  // Unless dropped.
};

// ---- Dirty tracking ----

// What to tell of a domain (iommufd: struct iommu_hwpt_get_dirty_bitmap).
struct DirtyRequest {
  Iova iova = 0;
  uint64_t length_bytes = 0;
  uint64_t page_bytes = 0;  // That one bit stands for: a power of two.
  bool keep = false;        // What is told stays dirty (IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR).
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

// What a batch takes in the tables of one domain.
struct DomainLeaves {
  std::string domain;             // Resource name.
  std::vector<LeafCount> leaves;  // Descending by size.
};

struct MapAnswer {
  std::vector<Iova> iovas;  // One an entry, in order.
  uint64_t mapping_revision = 0;
  // Of a dry run: for each domain of the Ioas that has tables for its mappings.
  std::vector<DomainLeaves> planned_leaves;
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

// What a change of an attachment does, or of a dry run would do, beside itself.
struct AttachmentEffects {
  // Reserved regions of the devices whose attachment changes, for whose sake the Ioas that is
  // entered, or left, is closed from now on, or not any more; something else may close it as well.
  std::vector<ReservedRegionView> regions_gained;
  std::vector<ReservedRegionView> regions_lost;
  // Resource names of the other members of the group that the hardware moves, too.
  std::vector<std::string> siblings_moved;
};

struct AttachAnswer {
  AttachmentView attachment;
  Transition transition;
  AttachmentEffects effects;
};

struct DetachAnswer {
  Transition transition;
  AttachmentEffects effects;
};

// ---- Watching ----

inline constexpr size_t kKeptChanges = 16384;     // Of the whole host, for those who resume.
inline constexpr size_t kMaxWatchBacklog = 4096;  // Changes that one who watches may be behind.

enum class WatchKind {
  kMemoryRegion,
  kIoas,
  kDomain,
  kDevice,
  kFaultQueue,
  kViommu,
  kVdevice,
  kEventQueue,
  kHardwareQueue,
};

struct WatchOptions {
  struct Resume {
    std::string boot_id;
    uint64_t revision = 0;  // All that came later is wanted.
  };
  std::vector<WatchKind> kinds;  // None: all.
  std::optional<Resume> resume;  // None: from a snapshot.
};

// Everything up to this revision has been shown.
struct SyncMark {
  std::string boot_id;
};

// An object that is gone.
struct DeletedObject {
  WatchKind kind = WatchKind::kDevice;
  std::string id;
  std::string owner;  // Empty for devices.
  Uid uid = 0;
  std::string reason;  // Of a device: why it is gone; empty otherwise.
};

// What an Ioas maps, after so many batches as there may have been since it was shown last.
struct MappingSummary {
  std::string id;
  std::string owner;
  Uid uid = 0;
  uint64_t mapping_revision = 0;
  uint64_t mapping_count = 0;
  uint64_t mapped_bytes = 0;
};

struct WatchEvent {
  enum class Type { kSnapshot, kSync, kAdded, kModified, kDeleted, kMappings };
  Type type = Type::kSync;
  // Whoever has seen this event and those before it resumes here. 0 of a snapshot: that is done
  // when the sync mark comes.
  uint64_t revision = 0;
  std::variant<SyncMark, MemoryRegionView, IoasView, DomainView, DeviceView, DeletedObject,
               MappingSummary, FaultQueueView, ViommuView, VdeviceView, EventQueueView,
               HardwareQueueView>
      body;
};

// Which PASID to allocate, and what for.
struct PasidRequest {
  std::optional<uint32_t> min;  // None: 1.
  std::optional<uint32_t> max;  // None: the highest that the group can use.
  std::string label;            // At most kMaxPasidLabelBytes.
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
  // Of the flush queues of all groups.
  struct FlushQueues {
    uint64_t waiting = 0;                                   // Ranges that wait.
    uint64_t deepest = 0;                                   // Of them in the fullest queue.
    std::vector<std::pair<std::string, uint64_t>> flushes;  // By cause; every cause is listed.
    uint64_t failures = 0;                                  // Flushes that failed.
  };
  FlushQueues flush_queues;
  // Of page faults.
  struct PageFaults {
    uint64_t waiting = 0;  // Groups in all queues.
    uint64_t partial = 0;  // Faults that wait for the last one of their group.
    uint64_t lost = 0;     // Groups that found their queue full.
    uint64_t dropped = 0;  // Faults left out of a group, or of one whose rest was lost.
    std::vector<std::pair<std::string, uint64_t>> answered;  // Groups, by code; all are listed.
  };
  PageFaults page_faults;
  BackendStats backend;
  std::vector<QueueState> queues;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_TYPES_H_
