// engine/backend/backend.h -- The seam below the engine: what makes its decisions real.
//
// The verbs are iommufd's (ioas, domain, attach, map, unmap), never page-table entries, because the
// kernel owns its own tables. Objects are named by the engine's uids, which are never reused. The
// engine has validated and planned every call; a backend refuses only what it alone can know
// (exhausted hardware resources, failing hardware), and then has changed nothing (R2, R5).
//
// Thread-safe. The engine orders calls that touch the same Ioas, Domain or device group; calls on
// different ones run concurrently. No call is made while an engine lock is held, except the pure
// ones, which are marked const.
#ifndef VIOMMU_ENGINE_BACKEND_BACKEND_H_
#define VIOMMU_ENGINE_BACKEND_BACKEND_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "engine/backend/ids.h"
#include "engine/backend/table_view.h"
#include "engine/backend/topology.h"
#include "engine/backend/viommus.h"
#include "engine/base/address.h"
#include "engine/base/dirty_bitmap.h"

namespace viommu {

// What a mapping lets a device do. At least one bit is set.
enum class Permission : uint8_t { kRead = 1, kWrite = 2, kReadWrite = 3 };

inline bool CanRead(Permission p) { return (static_cast<uint8_t>(p) & 1) != 0; }
inline bool CanWrite(Permission p) { return (static_cast<uint8_t>(p) & 2) != 0; }

// One area at its fixed place.
struct BackendMapping {
  Iova iova = 0;
  uint64_t size_bytes = 0;
  Uid region = 0;             // MemoryRegion.
  uint64_t offset_bytes = 0;  // Into the region.
  Permission permission = Permission::kReadWrite;

  IovaRange range() const { return {iova, iova + (size_bytes - 1)}; }
};

// A guest's first stage, as it asks for it (iommufd: struct iommu_hwpt_vtd_s1; VT-d 9.6, the fields
// of a nested PASID-table entry that are the guest's). Validated by the engine.
struct VtdStage1 {
  Iova table_address = 0;       // Of its root table: an address of the nest parent, 4 KiB aligned.
  int address_width_bits = 48;  // 48 (4 levels) or 57 (5 levels).
  bool supervisor_requests = false;  // SRE.
  bool write_protect = false;        // WPE; only with supervisor_requests.
  bool extended_accessed = false;    // EAFE.
};

// How a domain is made; the device fixes format, width and coherency.
struct DomainSpec {
  enum class Kind {
    kPaging,  // Translates what an Ioas maps.
    kNested,  // A guest's first stage on a nest parent.
    kSva,     // A process's address space, which `ioas` maps (IOMMU_DOMAIN_SVA).
  };
  Uid ioas = 0;  // kPaging, kSva.
  DeviceIndex device = 0;
  Kind kind = Kind::kPaging;
  // kPaging (iommufd: IOMMU_HWPT_ALLOC_*).
  bool nest_parent = false;
  bool dirty_tracking = false;
  bool pasid = false;  // May be used for a PASID, and for the RID while PASIDs are attached.
  // kNested.
  Uid parent = 0;
  VtdStage1 stage1 = {};
  // Of kNested on a Viommu, whose nest parent is `parent`; 0: on a nest parent directly. The
  // guest's stage is `vste` then.
  Uid viommu = 0;
  ArmSmmuV3Stage1 vste = {};
};

struct DomainProperties {
  // "vtd-second-stage", "x86-first-stage", "arm-stage1-4k", "-16k", "-64k", "arm-stage2-4k", ...
  std::string format;
  int levels = 0;
  IovaRange aperture;
  uint64_t page_sizes = 0;  // Bit n set: leaves of 2^n bytes.
  bool enforces_cache_coherency = false;
  // What the format can say beside read and write together (iommufd-semantics.md section 20).
  bool read_only = true;   // A mapping that can be read only.
  bool write_only = true;  // A mapping that can be written only.
  bool sva = false;        // Made of a process: cached under its PASID, and an id shared by all.
  bool nest_parent = false;
  bool dirty_tracking = false;  // It can tell which pages are written.
  std::string iommu = {};  // The only unit that can use it; empty: any that can walk its tables.
  // Of a kNested domain, for CheckCompatible: the guest's stage and what it rests on. Null for any
  // other.
  std::shared_ptr<const DomainProperties> parent = nullptr;
  VtdStage1 stage1 = {};
  // Of a kNested one on a Viommu: the guest's stage translates, so that every device on it has to
  // have a Vdevice there.
  bool needs_vdevice = false;
};

// Leaves of one size in a domain's tables.
struct LeafCount {
  uint64_t page_size_bytes = 0;
  uint64_t count = 0;
};

// What the requests of a device group, or those with one PASID, can be put on.
struct DomainTarget {
  enum class Kind { kBlocked, kIdentity, kDomain };
  Kind kind = Kind::kBlocked;
  Uid domain = 0;  // For kDomain.
};

// What a device asks for before it goes on: that a page can be used so (iommufd: struct
// iommu_hwpt_pgfault; PCIe page requests).
struct PageFault {
  DeviceIndex device = 0;
  std::optional<uint32_t> pasid;  // None: of its requests without PASID.
  // Those with one number, device and PASID are answered together; 9 bits, of a stall 16 (STAG).
  uint32_t group = 0;
  bool last = false;  // Of its group: from now on the device waits for the answer.
  Iova address = 0;   // 4 KiB aligned.
  bool read = false;
  bool write = false;
  bool execute = false;
  bool privileged = false;
};

// Faults of one device and PASID that are answered together.
struct PageGroup {
  DeviceIndex device = 0;
  std::optional<uint32_t> pasid;
  uint32_t group = 0;
};

// What a device is told (VT-d: the response code of a page group response).
enum class PageResponse {
  kSuccess,  // It tries again.
  kInvalid,  // The pages can not be had; it gives up what needed them.
  kFailure,  // Its faults can not be dealt with at all.
};

struct PageGroupResponse {
  PageGroup group;
  PageResponse code = PageResponse::kInvalid;
};

// What devices have reported.
struct PageFaultBatch {
  // Devices of whose faults some were lost before these: what is there of their groups that wait
  // for their last fault is not whole.
  std::vector<DeviceIndex> broken;
  std::vector<PageFault> faults;  // Of each device in the order in which it reported them.
};

// Entries of a guest's first stage whose cached translations are to go (iommufd: struct
// iommu_hwpt_vtd_s1_invalidate).
struct VtdStage1Invalidation {
  static constexpr uint64_t kAllPages = ~uint64_t{0};
  Iova address = 0;          // 4 KiB aligned; 0 with kAllPages.
  uint64_t page_count = 0;   // Of 4 KiB from `address`. 0 covers nothing.
  bool leaves_only = false;  // Cached pointers to tables may stay.
};

// What a change of domain did, or would do.
struct Transition {
  bool hitless = true;  // Every DMA meanwhile saw the complete old or the complete new state.
  std::string reason;   // Why not, when not.
};

// Typed hardware information (iommufd-semantics.md section 13, IOMMU_HW_INFO_TYPE_INTEL_VTD).
struct VtdHardware {
  uint64_t capability = 0;           // CAP_REG as software sees it.
  uint64_t extended_capability = 0;  // ECAP_REG.
  // Bit 0: nest parents refuse mappings that can only be read (erratum 772415).
  uint32_t flags = 0;
};

// The same of an SMMUv3 (IOMMU_HW_INFO_TYPE_ARM_SMMUV3): its identification registers as software
// sees them.
struct ArmSmmuV3Hardware {
  std::array<uint32_t, 6> idr = {};  // IDR0..IDR5.
  uint32_t iidr = 0;
  uint32_t aidr = 0;
};

using HardwareRegisters = std::variant<VtdHardware, ArmSmmuV3Hardware>;

// One hardware invalidation queue.
struct QueueState {
  std::string iommu;
  uint32_t size_entries = 0;
  uint32_t head = 0;       // Next descriptor the hardware takes.
  uint32_t tail = 0;       // Next slot software fills.
  uint64_t submitted = 0;  // Descriptors since start.
  uint64_t waits = 0;      // Wait descriptors since start.
  uint64_t errors = 0;     // Descriptors refused by the hardware.
  uint64_t timeouts = 0;   // Batches without an answer: of the queue, or of a device.
};

struct BackendStats {
  uint64_t table_pages = 0;        // 4 KiB pages in use by tables and queues.
  uint64_t table_pages_limit = 0;  // Those that there are for them.
  std::vector<std::pair<std::string, uint64_t>> invalidations;  // By kind; every kind is listed.
  std::vector<std::pair<std::string, uint64_t>> faults;  // By reason; every reason is listed.
};

// Why a simulated DMA stopped.
struct DmaFault {
  uint8_t code = 0;         // The architecture's reason code (VT-d: FR of the fault record).
  std::string reason;       // Its name, e.g. "SPT.2".
  std::string description;  // In words.
  Iova iova = 0;            // The page where it stopped.
};

struct DmaOutcome {
  uint64_t bytes_done = 0;
  std::optional<DmaFault> fault;
};

// Only the soft backend has one: the device's and the guest's side of the machine. Thread-safe.
class Simulation {
 public:
  virtual ~Simulation() = default;

  // DMA as the device would do it; `data` is filled (read) or taken (write). A fault is an answer.
  virtual DmaOutcome Dma(DeviceIndex device, std::optional<uint32_t> pasid, Iova iova, bool write,
                         absl::Span<char> data) = 0;

  // kOutOfRange: the range is not inside the region.
  virtual absl::Status ReadMemory(Uid region, uint64_t offset_bytes, absl::Span<char> data) = 0;
  virtual absl::Status WriteMemory(Uid region, uint64_t offset_bytes,
                                   absl::Span<const char> data) = 0;
  virtual absl::StatusOr<PhysAddr> PhysicalAddress(Uid region, uint64_t offset_bytes) = 0;

  // Maps into, unmaps from the DMA default domain of a group, given one of its members. The IOVA
  // is the engine's choice. kFailedPrecondition: the group is not on a DMA default domain.
  // kInternal: a flush failed; of HostMap, one of deferred unmaps that had to come first.
  virtual absl::Status HostMap(DeviceIndex device, const BackendMapping& mapping) = 0;
  virtual absl::Status HostUnmap(DeviceIndex device, IovaRange range) = 0;
  // As HostUnmap, but leaves caches alone: what they hold of the range, and the tables that nothing
  // leads to any more, stay until HostFlush, and the range is not mapped again before (the sole
  // exception of R4). When to flush is the engine's policy.
  virtual absl::Status HostUnmapDeferred(DeviceIndex device, IovaRange range) = 0;
  // Drops everything that caches hold of the group's DMA default domain; then frees the tables that
  // deferred unmaps set aside. May be called while another call for the group is under way: it
  // covers the unmaps that returned before it began. kInternal: it failed; everything stays.
  virtual absl::Status HostFlush(DeviceIndex device) = 0;

  // Reports a fault as the device would; it waits for an answer with the last one of a group. The
  // device has page requests (topology.h, HasPageFaults).
  // A device whose requests stall makes an access that moves nothing, a group of its own that the
  // unit numbers. So waits a Dma of it that faults, whose caller does not.
  // kFailedPrecondition: PAGE_GROUP_OUTSTANDING, the group waits for its answer already;
  //   NO_PAGE_FAULT, the access passes, or is refused for good.
  virtual absl::Status RaisePageFault(const PageFault& fault) = 0;
  // What groups of the device were answered, oldest first: the last kKeptPageResponses.
  static constexpr size_t kKeptPageResponses = 64;
  virtual std::vector<PageGroupResponse> PageResponses(DeviceIndex device) = 0;

  // The entries that a request of `device` with this PASID, or (none) without, meets at `iova` now,
  // in memory, caches not consulted.
  virtual std::vector<TableEntryDump> DumpTables(DeviceIndex device, std::optional<uint32_t> pasid,
                                                 Iova iova) = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual absl::string_view name() const = 0;  // "soft".
  virtual const Topology& topology() const = 0;
  virtual HardwareRegisters DescribeHardware(DeviceIndex device) const = 0;
  virtual Simulation* simulation() { return nullptr; }
  // Null when no unit has any.
  virtual Viommus* viommus() { return nullptr; }
  // Pure. What the unit of `device` has of that.
  virtual ViommuSupport DescribeViommus(DeviceIndex) const { return {}; }
  virtual TableObserver* tables() { return nullptr; }
  virtual BackendStats Stats() const = 0;
  virtual std::vector<QueueState> Queues() const = 0;

  // Pure. What a domain made so would be.
  // kFailedPrecondition: the device's unit has no table format for it; INCOMPATIBLE_DOMAIN: it can
  //   not walk the guest's stage, or not the nest parent.
  // kUnimplemented: NESTING_UNAVAILABLE or DIRTY_TRACKING_UNAVAILABLE, the unit does not have it.
  // kInvalidArgument INVALID_VSTE, errno EIO: the vSTE has a bit or a value that a guest may not
  //   write (iommufd-semantics.md section 17.3).
  virtual absl::StatusOr<DomainProperties> PlanDomain(const DomainSpec& spec) const = 0;
  // Pure. kFailedPrecondition, reason INCOMPATIBLE_DOMAIN: `device` can not use such a domain.
  virtual absl::Status CheckCompatible(DeviceIndex device,
                                       const DomainProperties& properties) const = 0;
  // Pure. Whether Switch could be made with what the group's other requests are on.
  // kUnimplemented: IDENTITY_UNAVAILABLE, the unit has no pass-through;
  //   PASID_DOMAIN_UNSUPPORTED, it has no such domain for requests with PASID.
  // kFailedPrecondition, PASIDS_IN_USE: requests without PASID can not be on such a domain while
  //   PASIDs are attached.
  virtual absl::Status CheckSwitch(absl::Span<const DeviceIndex> group,
                                   std::optional<uint32_t> pasid,
                                   const DomainTarget& target) const = 0;
  // Pure. What Switch would report.
  virtual Transition PlanSwitch(absl::Span<const DeviceIndex> group, std::optional<uint32_t> pasid,
                                const DomainTarget& target) const = 0;
  // Pure. The same for a domain that is made so on the way.
  virtual Transition PlanSwitchToNew(absl::Span<const DeviceIndex> group,
                                     std::optional<uint32_t> pasid,
                                     const DomainSpec& spec) const = 0;

  // Pure. The leaves that a mapping takes in the tables of a domain with these properties,
  // descending by size; empty where the backend can not tell.
  virtual std::vector<LeafCount> PlanLeaves(const DomainProperties& properties,
                                            const BackendMapping& mapping) const = 0;

  // Memory that may be mapped, zero-filled; `numa_node` is a preference.
  // kResourceExhausted: no physical range for it.
  virtual absl::Status CreateMemoryRegion(Uid uid, uint64_t size_bytes,
                                          std::optional<int32_t> numa_node) = 0;
  virtual absl::Status DestroyMemoryRegion(Uid uid) = 0;

  virtual absl::Status CreateIoas(Uid uid) = 0;
  // Whether tables of its domains use leaves above 4 KiB for what is mapped from now on; at first
  // they do. The engine asks for smaller ones only while nothing is mapped into a domain of it.
  virtual absl::Status SetLargePages(Uid ioas, bool large_pages) = 0;
  // Its areas go with it; no domain refers to it any more.
  virtual absl::Status DestroyIoas(Uid uid) = 0;

  // Makes the domain and fills it with what its Ioas maps already.
  // kResourceExhausted: no table memory.
  virtual absl::Status CreateDomain(Uid uid, const DomainSpec& spec,
                                    absl::Span<const BackendMapping> existing) = 0;
  virtual absl::Status DestroyDomain(Uid uid) = 0;

  // Maps all or nothing, into every domain of the Ioas.
  // kResourceExhausted: no table memory.
  virtual absl::Status Map(Uid ioas, absl::Span<const BackendMapping> mappings) = 0;
  // Unmaps whole areas from every domain of the Ioas, or, while it has no large pages, parts of
  // areas that are multiples of 4 KiB; when it returns no cache of any device holds a translation
  // of them (R4).
  virtual absl::Status Unmap(Uid ioas, absl::Span<const IovaRange> areas) = 0;

  // Maps one page of a kPaging domain, for reading and writing, to an interrupt doorbell of the
  // topology, beside what its Ioas maps and untouched by Map and Unmap; it goes with the domain.
  // One that is mapped there already is no error. kResourceExhausted: no table memory.
  virtual absl::Status MapDoorbell(Uid domain, Iova iova, PhysAddr doorbell) = 0;
  // Takes that back; when it returns no cache of any device holds a translation of it (R4).
  // kInternal: a flush failed: it is not mapped any more, but caches may still hold it until
  //   anything else is unmapped from the domain.
  virtual absl::Status UnmapDoorbell(Uid domain, Iova iova) = 0;

  // Puts what all members of a group send with `pasid`, or (none) without PASID, on `target`, all
  // or none (R2). A PASID on kBlocked is one that is not attached.
  // kResourceExhausted: no hardware domain id left, or no table memory.
  // Page faults that were reported before and not taken are answered kInvalid, if it succeeds.
  // kOutOfRange, PASID_OUT_OF_RANGE: a member can not issue that PASID.
  // As CheckSwitch.
  virtual absl::StatusOr<Transition> Switch(absl::Span<const DeviceIndex> group,
                                            std::optional<uint32_t> pasid,
                                            const DomainTarget& target) = 0;

  // Whether devices that use a domain made with dirty_tracking, directly or through a kNested one
  // on it, mark what they write from now on; at first they do not, but for a first stage, where
  // they always do. Switching it on makes every page clean before. Without effect on what their DMA
  // may do, at any moment. Once more is no error. kInternal: a flush failed; it is as before, but
  // pages may be clean that were not.
  virtual absl::Status SetDirtyTracking(Uid domain, bool enabled) = 0;
  // What was marked in a range that such a domain maps without holes, in pages of `page_bytes` (a
  // power of two of which the range is a multiple). With `clear` those pages are clean then, but
  // for those of a table entry that reaches out of the range, and what is written after the answer
  // is marked anew: caches are flushed once, at the end.
  // kInternal: the flush failed; what was dirty is so still, perhaps in larger pieces.
  virtual absl::StatusOr<DirtyBitmap> ReadDirty(Uid domain, IovaRange range, uint64_t page_bytes,
                                                bool clear) = 0;

  // Drops what caches hold of a kNested domain's first stage, in order; when it returns no cache of
  // any device that the domain serves holds it (R4). All of it, or kInternal.
  virtual absl::Status Invalidate(Uid domain,
                                  absl::Span<const VtdStage1Invalidation> invalidations) = 0;

  // Blocks every request of one device, whatever its group is on, until Unblock; the group may be
  // switched meanwhile, and Unblock puts the device where its group is then (reset, unplug).
  // Neither nests. Its page faults that were not taken are answered kInvalid.
  // kInternal: the device is blocked all the same, but caches may still hold what it had; a second
  //   Block tries again to flush them.
  virtual absl::Status Block(DeviceIndex device) = 0;
  // Ends a quarantine too, with or without Block before.
  // kResourceExhausted, kInternal: the device stays blocked.
  virtual absl::Status Unblock(DeviceIndex device) = 0;

  // The devices in quarantine, ascending. A device whose TLB does not answer an invalidation is
  // blocked as by Block, at once, and what was under way goes on without it: for the others it
  // succeeds, and so it does for the device, which nothing reaches. Until Unblock; the group may be
  // switched meanwhile. May be asked for while an engine lock is held: it waits for no hardware.
  virtual std::vector<DeviceIndex> Quarantined() const { return {}; }

  // Takes what devices have reported since the last time. Unlike other effects it may be asked for
  // while an engine lock is held: it waits for nothing but the backend's short locks.
  virtual PageFaultBatch TakePageFaults() = 0;
  // Answers a group whose last fault was taken. kInternal: the device may not have heard it.
  virtual absl::Status RespondPageGroup(const PageGroupResponse& response) = 0;

  // Takes a group from the host: it leaves its default domain for BLOCKED.
  virtual absl::Status Claim(absl::Span<const DeviceIndex> group) = 0;
  // Gives a group to the host: it enters a default domain, in which its DIRECT regions are mapped
  // one to one. Also changes the type of a group that the host has. kDma and kDmaFq are the same
  // domain: they differ in who decides when an unmap is flushed (Simulation::HostUnmap...).
  virtual absl::StatusOr<Transition> AssignDefault(absl::Span<const DeviceIndex> group,
                                                   DefaultDomainType type) = 0;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_BACKEND_H_
