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
#include "engine/fault_views.h"
#include "engine/limits.h"
#include "engine/object_views.h"

namespace viommu {

// ---- Who calls, and how ----

struct CallContext {
  std::string principal = "local";  // Owner of what the call creates.
  bool is_operator = false;         // May see and address every owner's objects.
  bool may_claim = true;            // Else operators alone give devices to it, and take them.
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

// Whom a device is claimed for, and from. Others than the caller are for operators alone.
struct ClaimOptions {
  std::string owner = {};       // Empty: the caller.
  std::string from_owner = {};  // Who has it and loses it; empty: the host.
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
  std::vector<std::pair<std::string, uint64_t>> unhealthy_devices;  // By cause; all are listed.
  uint64_t quarantined_devices = 0;  // Blocked for the hardware until a reset of them succeeds.
  // What its memory was taken from: it is there, and not in force. By kind; all are listed.
  std::vector<std::pair<std::string, uint64_t>> suspended;
  struct Transitions {
    std::string kind;  // "blocked_to_paging", ...
    uint64_t hitless = 0;
    uint64_t not_hitless = 0;
  };
  std::vector<Transitions> transitions;  // Every kind is listed.
  uint64_t quarantines = 0;              // Times that a device was put into quarantine.
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
  // Of guests' virtual IOMMUs.
  struct Events {
    uint64_t waiting = 0;  // In all event queues.
    uint64_t lost = 0;     // Of those that the guests were to be told.
  };
  Events events;
  BackendStats backend;
  std::vector<QueueState> queues;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_TYPES_H_
