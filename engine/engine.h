// engine/engine.h -- The engine's only public face: every verb of the API over plain values.
//
// One Engine owns all state of the host. It knows neither protobuf nor gRPC; any number of
// frontends may call one Engine. Thread-safe: every method may be called from any thread. Calls
// block until their answer is final; the deadline of the CallContext is honoured until the change
// has been planned, after that the change finishes.
//
// Every mutation goes one way: validate -> plan -> journal -> apply -> commit (pipeline.h). Errors
// carry an ErrorDetail (engine/base/errors.h). Common to all methods:
//   kInvalidArgument    MALFORMED_NAME, INVALID_PAGE_SIZE, UNKNOWN_PAGE_TOKEN; REQUEST_ID_REUSED:
//   the
//                       request_id was used with another body
//   kNotFound           <KIND>_NOT_FOUND: no such object, or it is another owner's
//   kPermissionDenied   NOT_OPERATOR: `owners/...` addressed by somebody who is no operator
//   kAborted            ETAG_MISMATCH
//   kDeadlineExceeded   the deadline passed before the change was planned
//   kResourceExhausted  OBJECT_LIMIT, MAPPING_LIMIT, MAPPED_BYTES_LIMIT, REGION_BYTES_LIMIT,
//                       PASID_LIMIT, FAULT_GROUP_LIMIT, EVENT_LIMIT: the owner would pass a limit
//                       of OwnerLimits; IN_FLIGHT_LIMIT: the caller has too many grants under way
//                       (never for what only revokes).
//   kUnavailable        JOURNAL_FAILED: the change could not be made durable; nothing changed
//
// Lock order (outermost first; a lock is never taken while one further down is held):
//   0. EventDelivery::order_: the order in which the backend's events come into their queues; the
//      backend is asked for them under it, and under no other.
//   1. MappingStream's own: the order of one stream's batches; not held while one is driven.
//   2. Pipeline::mutex_: the whole model, that is objects, areas, attachments and lanes.
//   3. The journal's own: Append is called under 2 and never blocks on storage.
//   4. Completion::mutex_: the journal's answer to one operation.
//   5. The backend's own, for its pure calls (const, and PhysicalAddress), which plans may make,
//      and for TakePageFaults.
// RequestTable::mutex_ is taken alone. The flusher (host_flusher.h) has no lock of its own: it
// waits with 2, and flushes without it. No engine lock is held while the backend changes something.
#ifndef VIOMMU_ENGINE_ENGINE_H_
#define VIOMMU_ENGINE_ENGINE_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/base/env.h"
#include "engine/event_stream.h"
#include "engine/fault_stream.h"
#include "engine/journal/journal.h"
#include "engine/types.h"
#include "engine/watch.h"

namespace viommu {

// One client's ordered, pipelined sequence of map and unmap batches on one Ioas. Batches are
// applied in the order of Submit; several may be in flight. Thread-safe: one thread may submit
// while another takes replies.
class MappingStream {
 public:
  ~MappingStream();  // Finishes what was submitted.

  // Plans a batch and hands it to the journal; waits while kMaxInFlightBatches replies are not
  // taken. Never fails itself: what is wrong with the batch is in its reply.
  void Submit(StreamBatch batch);

  // The client has seen the failure: batches submitted from now on are looked at again. (After a
  // failure under OnError::kStop, batches are answered kAborted, reason STREAM_STOPPED, until
  // then.)
  void Acknowledge();

  // No further Submit will come.
  void CloseSubmissions();

  // The next reply, in order of submission; waits for it. False: submissions are closed and every
  // reply was taken.
  bool NextReply(StreamReply* reply);

 private:
  friend class Engine;
  class Conveyor;
  explicit MappingStream(std::unique_ptr<Conveyor> conveyor);
  const std::unique_ptr<Conveyor> conveyor_;
};

class Engine {
 public:
  struct Options {
    std::string version;
    OwnerLimits owner_limits = {};
    FlushQueueOptions flush_queue = {};
  };

  // `backend`, `journal` and `env` must outlive the engine. Puts every group on its default domain.
  // Whatever the backend answers when that fails; kResourceExhausted TOO_MANY_THREADS.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(Options options, Backend* backend,
                                                        Journal* journal, Env* env);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // ---- Host ----
  HostView GetHost();
  // What the caller uses of its limits; for an operator what everybody does, and the host itself
  // (an empty owner). Ascending by owner; what is not used is left out.
  std::vector<UsageView> ListUsage(const CallContext&);
  absl::StatusOr<IommuView> GetIommu(const CallContext&, const std::string& id);
  absl::StatusOr<Page<IommuView>> ListIommus(const CallContext&, const PageRequest&);
  absl::StatusOr<QueueState> GetInvalidationQueue(const CallContext&, const std::string& iommu);
  absl::StatusOr<Page<QueueState>> ListInvalidationQueues(const CallContext&, const PageRequest&);

  // ---- Memory regions ----
  // kInvalidArgument  INVALID_SIZE: 0, no multiple of 4 KiB, or above kMaxRegionBytes;
  // INVALID_NUMA_NODE kAlreadyExists    MEMORY_REGION_EXISTS kResourceExhausted
  // PHYSICAL_MEMORY_EXHAUSTED
  absl::StatusOr<MemoryRegionView> CreateMemoryRegion(const CallContext&, const std::string& id,
                                                      uint64_t size_bytes,
                                                      std::optional<int32_t> numa_node,
                                                      bool read_only = false);
  absl::StatusOr<MemoryRegionView> GetMemoryRegion(const CallContext&, const ObjectRef&);
  absl::StatusOr<Page<MemoryRegionView>> ListMemoryRegions(const CallContext&, const PageRequest&);
  // kFailedPrecondition IN_USE: mapped; the referrers are listed.
  absl::Status DeleteMemoryRegion(const CallContext&, const ObjectRef&, const std::string& etag);

  // ---- IO address spaces ----
  // kAlreadyExists IOAS_EXISTS; kInvalidArgument LARGE_PAGES_NOT_ALLOWED: in the mode kVfioType1
  absl::StatusOr<IoasView> CreateIoas(const CallContext&, const std::string& id,
                                      const IoasOptions& options = {});
  absl::StatusOr<IoasView> GetIoas(const CallContext&, const ObjectRef&);
  absl::StatusOr<Page<IoasView>> ListIoas(const CallContext&, const PageRequest&);
  // Areas go with it. kFailedPrecondition IN_USE: domains refer to it; they are listed.
  absl::Status DeleteIoas(const CallContext&, const ObjectRef&, const std::string& etag);

  // All or nothing; the index of the failing entry is in the error.
  // kInvalidArgument    EMPTY_BATCH, BATCH_TOO_LARGE, INVALID_LENGTH (0), INVALID_PERMISSION
  // kInvalidArgument    MISALIGNED: IOVA, length or offset against the Ioas alignment
  // kInvalidArgument    IOVA_RESERVED, REGION_INDEX_OUT_OF_RANGE
  // kFailedPrecondition PERMISSION_UNAVAILABLE: a domain of the Ioas can not hold the permission
  // kOutOfRange         IOVA_OVERFLOW (the range passes 2^64 - 1), SOURCE_OUT_OF_BOUNDS
  // kPermissionDenied   REGION_READ_ONLY: writing is asked for
  // kFailedPrecondition REGION_SUSPENDED
  // kAlreadyExists      IOVA_OCCUPIED: an area is there, or an earlier entry of the batch
  // kResourceExhausted  IOVA_EXHAUSTED (nothing free for a chosen IOVA), TABLE_MEMORY_EXHAUSTED
  absl::StatusOr<MapAnswer> Map(const CallContext&, const ObjectRef& ioas, const MapBatch& batch);
  // Every area in every range goes, or none. Holes are allowed. In the modes of VFIO a range
  // without areas is done; kVfioType1 cuts areas at its ends, which may take their number past the
  // limit. kInvalidArgument    EMPTY_BATCH, BATCH_TOO_LARGE, CONFLICTING_FIELDS kInvalidArgument
  // INVALID_LENGTH: 0, and the magic range (0, 2^64-1) kOutOfRange         IOVA_OVERFLOW
  // kInvalidArgument    MISALIGNED: an area would be cut where the alignment does not allow it
  // kNotFound           IOVA_NOT_COVERED: no area in the range, or one that lies only partly in it
  // kFailedPrecondition IN_USE: a hardware queue pins an area, and is named
  // kInternal           QUEUE_ERROR, QUEUE_TIMEOUT: the flush failed; try again (engine/DESIGN.md)
  absl::StatusOr<UnmapAnswer> Unmap(const CallContext&, const ObjectRef& ioas,
                                    const UnmapBatch& batch);
  // As Map, one new area for each source area; further kNotFound IOVA_NOT_COVERED: the source range
  // is not completely mapped; kFailedPrecondition MAPPING_SUSPENDED: a part of it is not in force.
  absl::StatusOr<MapAnswer> CopyMappings(const CallContext&, const ObjectRef& ioas,
                                         const CopyRequest&);
  // Ascending by IOVA, only what intersects `window`.
  absl::StatusOr<Page<MappingView>> ListMappings(const CallContext&, const ObjectRef& ioas,
                                                 const IovaRange& window, const PageRequest&);
  // kNotFound IOVA_NOT_COVERED; kFailedPrecondition MAPPING_SUSPENDED
  absl::StatusOr<TranslationView> Translate(const CallContext&, const ObjectRef& ioas, Iova iova);
  // What is not reserved, ascending (iommufd IOAS_IOVA_RANGES).
  absl::StatusOr<std::vector<IovaRange>> ListIovaRanges(const CallContext&, const ObjectRef& ioas);
  // Replaces the list of ranges that must stay usable (iommufd IOAS_ALLOW_IOVAS).
  // kInvalidArgument    RANGE_INVALID (first >= last), RANGE_OVERLAP, TOO_MANY_RANGES
  // kFailedPrecondition IOVA_CONFLICT: a range meets a reserved one
  absl::StatusOr<IoasView> SetAllowedIovaRanges(const CallContext&, const ObjectRef& ioas,
                                                const std::vector<IovaRange>& ranges,
                                                const std::string& etag);
  // Leaves above 4 KiB, or not, for what is mapped from now on (iommufd HUGE_PAGES).
  // kFailedPrecondition LARGE_PAGES_IN_USE: to go without, while there are areas and domains;
  //   LARGE_PAGES_NOT_ALLOWED: in the mode kVfioType1; IOVA_CONFLICT: an area is not aligned to
  //   4 KiB
  absl::StatusOr<IoasView> SetLargePages(const CallContext&, const ObjectRef& ioas,
                                         bool large_pages, const std::string& etag);
  // Keeps what `device` reserves free of areas, independently of its attachments; Unload ends that.
  // kFailedPrecondition IOVA_CONFLICT: an area or an allowed range lies in a reserved region
  absl::StatusOr<IoasView> LoadReservedRegions(const CallContext&, const ObjectRef& ioas,
                                               const std::string& device, const std::string& etag);
  absl::StatusOr<IoasView> UnloadReservedRegions(const CallContext&, const ObjectRef& ioas,
                                                 const std::string& device,
                                                 const std::string& etag);
  // Null on an error only: kNotFound as above; kResourceExhausted STREAM_LIMIT, TOO_MANY_THREADS.
  // The engine outlives its streams.
  absl::StatusOr<std::unique_ptr<MappingStream>> OpenMappingStream(const CallContext&,
                                                                   const StreamOptions&);

  // ---- Domains ----
  // PAGING over an Ioas, filled at once with what the Ioas maps; or NESTED on a nest parent, whose
  // owner it gets; or SVA of a process's address space, which it then shows under the one PASID
  // that the process has on all devices.
  // kNotFound           also of the Ioas and the parent
  // kAlreadyExists      DOMAIN_EXISTS; the ids "identity" and "blocked" are the static domains'
  // kFailedPrecondition DEVICE_NOT_CLAIMED; of PAGING IOVA_CONFLICT: an area or allowed range lies
  //                     outside the aperture, or is not aligned to its pages;
  //                     PERMISSION_UNAVAILABLE: its tables can not hold the permission of an area
  // kFailedPrecondition of NESTED NOT_NEST_PARENT; INCOMPATIBLE_DOMAIN: the device can not use the
  //                     parent; on a Viommu IOMMU_MISMATCH: the device is behind another unit
  // kInvalidArgument    of NESTED on a Viommu INVALID_VSTE
  // kUnimplemented      of NESTED on a Viommu PASID_UNAVAILABLE: its guest has all PASIDs
  // kInvalidArgument    of NESTED MISALIGNED: the table address; INVALID_ADDRESS_WIDTH: neither 48
  //                     nor 57; WRITE_PROTECT_WITHOUT_SUPERVISOR
  // kOutOfRange         of NESTED TABLE_OUT_OF_RANGE: the table is beyond the parent's aperture
  // kFailedPrecondition PROCESS_ADDRESS_SPACE: PAGING over a process; of SVA NOT_A_PROCESS
  // kOutOfRange         of SVA PASID_OUT_OF_RANGE: the device can not issue the process's PASID
  // kResourceExhausted  of SVA PASIDS_EXHAUSTED
  // kUnimplemented      of SVA SVA_UNAVAILABLE, PASID_UNAVAILABLE: the unit or the device can not
  // kNotFound           FAULT_QUEUE_NOT_FOUND; kFailedPrecondition FAULT_QUEUE_OWNER: it is another
  //                     owner's than the domain
  // kUnimplemented      DIRTY_TRACKING_UNAVAILABLE; FAULT_QUEUE_ON_NEST_PARENT;
  //                     FAULT_QUEUE_UNAVAILABLE: the device, or its unit, has no page requests;
  //                     NESTING_UNAVAILABLE, and of NESTED
  //                     STAGE1_UNAVAILABLE: the device's unit has no such first stage
  // kResourceExhausted  TABLE_MEMORY_EXHAUSTED
  absl::StatusOr<DomainView> CreateDomain(const CallContext&, const std::string& id,
                                          const DomainRequest&);
  absl::StatusOr<DomainView> GetDomain(const CallContext&, const ObjectRef&);
  // The static domains come first.
  absl::StatusOr<Page<DomainView>> ListDomains(const CallContext&, const PageRequest&);
  // kFailedPrecondition IN_USE: attached devices and NESTED domains on it are listed.
  // kInvalidArgument    STATIC_DOMAIN
  absl::Status DeleteDomain(const CallContext&, const ObjectRef&, const std::string& etag);
  // Drops what caches hold of a NESTED domain's first stage: the commands up to the first that is
  // wrong, which is named in the answer:
  //   kInvalidArgument MISALIGNED: the address; ALL_PAGES_WITH_ADDRESS: all pages, but not from 0
  //   kOutOfRange      ADDRESS_OVERFLOW: the range passes 2^64 - 1
  // An empty batch asks whether it would be taken. Nothing is journalled, no revision changes.
  // `only`: the uid that the name must still mean; 0: whichever has the name.
  // kInvalidArgument    BATCH_TOO_LARGE
  // kFailedPrecondition NOT_NESTED
  // kUnimplemented      COMMANDS_UNAVAILABLE: commands of an architecture that is not the domain's;
  //                     or it is on a Viommu, which takes them
  // kInternal           QUEUE_ERROR, QUEUE_TIMEOUT: nothing counts as done; try again
  absl::StatusOr<InvalidateAnswer> Invalidate(const CallContext&, const ObjectRef& domain,
                                              const InvalidationBatch& batch, Uid only = 0);

  // Has the devices of a PAGING domain that was made with dirty_tracking, and of the NESTED ones on
  // it, mark what they write, or no longer. Switched on, every page is clean first; to set what is
  // set changes nothing.
  // kFailedPrecondition NOT_PAGING
  // kUnimplemented      DIRTY_TRACKING_UNAVAILABLE: it was made without
  // kInternal           QUEUE_ERROR, QUEUE_TIMEOUT: it is as before, but pages may be clean that
  //                     were dirty
  absl::StatusOr<DomainView> SetDirtyTracking(const CallContext&, const ObjectRef& domain,
                                              bool enabled, const std::string& etag);
  // Which pages of a range were written since they were last clean; they are clean then, unless
  // `keep` is set or they belong to a page of the tables that reaches out of the range. Tracking
  // may be off. What was unmapped is not told. Nothing is journalled, no revision changes.
  // kInvalidArgument    INVALID_LENGTH: 0; MISALIGNED: to the Ioas or to page_bytes;
  //                     INVALID_PAGE_SIZE: no power of two; BITMAP_TOO_LARGE: kMaxBitmapPages
  // kOutOfRange         IOVA_OVERFLOW
  // kFailedPrecondition NOT_PAGING; MAPPING_SUSPENDED: a part of the range is not in force
  // kUnimplemented      DIRTY_TRACKING_UNAVAILABLE: the domain was made without
  // kNotFound           IOVA_NOT_COVERED: a part of the range is not mapped; nothing was cleared
  // kInternal           QUEUE_ERROR, QUEUE_TIMEOUT: what was dirty is so still
  absl::StatusOr<DirtyBitmap> ReadDirtyBitmap(const CallContext&, const ObjectRef& domain,
                                              const DirtyRequest& request);

  // ---- Viommus ----
  // A guest's slice of the unit of a device, over a nest parent whose owner it gets.
  // kUnimplemented      VIOMMU_UNAVAILABLE: the unit has none; VIOMMU_TYPE_UNAVAILABLE
  // kNotFound           also of the parent
  // kAlreadyExists      VIOMMU_EXISTS: the id is taken
  // kFailedPrecondition DEVICE_NOT_CLAIMED; NOT_NEST_PARENT; INCOMPATIBLE_DOMAIN: the unit can not
  //                     use the parent; VIOMMU_EXISTS: the parent has one there
  absl::StatusOr<ViommuView> CreateViommu(const CallContext&, const std::string& id,
                                          const ViommuRequest&);
  absl::StatusOr<ViommuView> GetViommu(const CallContext&, const ObjectRef&);
  absl::StatusOr<Page<ViommuView>> ListViommus(const CallContext&, const PageRequest&);
  // kFailedPrecondition IN_USE: NESTED domains, vdevices and queues are listed.
  absl::Status DeleteViommu(const CallContext&, const ObjectRef&, const std::string& etag);
  // What the guest calls a device. A reference to what belongs to a Viommu has an id of the form
  // "vm0/vdevices/nic"; a new one's is "nic".
  // kInvalidArgument    INVALID_VIRTUAL_ID: above 2^32 - 1, as stream ids have 32 bits
  // kAlreadyExists      VDEVICE_EXISTS: the id is taken; DEVICE_HAS_VDEVICE; VIRTUAL_ID_TAKEN
  // kFailedPrecondition DEVICE_NOT_CLAIMED; IOMMU_MISMATCH
  // kUnimplemented      STREAMS_UNAVAILABLE: the device is not one stream
  absl::StatusOr<VdeviceView> CreateVdevice(const CallContext&, const ObjectRef& viommu,
                                            const std::string& id, const std::string& device,
                                            uint64_t virtual_id);
  absl::StatusOr<VdeviceView> GetVdevice(const CallContext&, const ObjectRef&);
  absl::StatusOr<Page<VdeviceView>> ListVdevices(const CallContext&, const ObjectRef& viommu,
                                                 const PageRequest&);
  // kFailedPrecondition IN_USE: the device, or another of its group, is attached to domains of the
  //   Viommu that translate.
  absl::Status DeleteVdevice(const CallContext&, const ObjectRef&, const std::string& etag);
  // A guest's commands: those up to the first that is wrong, which is named in the answer:
  //   kInvalidArgument INVALID_COMMAND, UNKNOWN_STREAM_ID
  //   kInternal        the hardware did not take it
  // As Invalidate otherwise. kUnimplemented COMMANDS_UNAVAILABLE: those of VT-d
  absl::StatusOr<InvalidateAnswer> InvalidateViommu(const CallContext&, const ObjectRef& viommu,
                                                    const InvalidationBatch& batch, Uid only = 0);
  // kInvalidArgument    INVALID_DEPTH: not from 1 to kMaxEventQueueDepth
  // kAlreadyExists      EVENT_QUEUE_EXISTS: the id is taken, or there is one of the type
  // kUnimplemented      EVENT_TYPE_UNAVAILABLE
  absl::StatusOr<EventQueueView> CreateEventQueue(const CallContext&, const ObjectRef& viommu,
                                                  const std::string& id, ViommuEventType type,
                                                  uint32_t depth);
  absl::StatusOr<EventQueueView> GetEventQueue(const CallContext&, const ObjectRef&);
  absl::StatusOr<Page<EventQueueView>> ListEventQueues(const CallContext&, const ObjectRef& viommu,
                                                       const PageRequest&);
  absl::Status DeleteEventQueue(const CallContext&, const ObjectRef&, const std::string& etag);
  // Oldest first; they stay.
  absl::StatusOr<Page<EventView>> ListEvents(const CallContext&, const ObjectRef& queue,
                                             const PageRequest&);
  // Null on an error only. The engine outlives its streams. kResourceExhausted STREAM_LIMIT
  absl::StatusOr<std::unique_ptr<EventStream>> OpenEventStream(const CallContext&,
                                                               const ObjectRef& queue);
  // Pins the pages below it in the Ioas of the nest parent.
  // kInvalidArgument    INVALID_LENGTH, MISALIGNED, INDEX_OUT_OF_RANGE
  // kOutOfRange         IOVA_OVERFLOW
  // kUnimplemented      HARDWARE_QUEUES_UNAVAILABLE
  // kNotFound           IOVA_NOT_COVERED
  // kPermissionDenied   PERMISSION_MISSING: a part can not be read
  // kFailedPrecondition MAPPING_SUSPENDED; MEMORY_UNAVAILABLE: not contiguous; QUEUE_ORDER
  // kAlreadyExists      HARDWARE_QUEUE_EXISTS: the id or the index is taken
  absl::StatusOr<HardwareQueueView> CreateHardwareQueue(const CallContext&, const ObjectRef& viommu,
                                                        const std::string& id,
                                                        const HardwareQueueRequest&);
  absl::StatusOr<HardwareQueueView> GetHardwareQueue(const CallContext&, const ObjectRef&);
  absl::StatusOr<Page<HardwareQueueView>> ListHardwareQueues(const CallContext&,
                                                             const ObjectRef& viommu,
                                                             const PageRequest&);
  // kFailedPrecondition IN_USE: the one with the next index
  absl::Status DeleteHardwareQueue(const CallContext&, const ObjectRef&, const std::string& etag);

  // ---- Devices ----
  absl::StatusOr<DeviceView> GetDevice(const CallContext&, const std::string& id);
  absl::StatusOr<Page<DeviceView>> ListDevices(const CallContext&, const PageRequest&);
  // Takes the device's whole group from the host, or from another owner; it is BLOCKED then, and
  // stays so when it moves from owner to owner, which frees PASIDs and vdevices as a release does.
  // Claiming what its owner-to-be holds changes nothing.
  // kPermissionDenied   NOT_OPERATOR: for, or from, somebody else; or the caller may not claim
  // kFailedPrecondition DEVICE_CLAIMED: by another than it is claimed from
  // kFailedPrecondition from the host: DIRECT_REGION: a member must stay mapped one to one;
  //                     HOST_MAPPINGS: the host still maps memory for it; DEVICE_UNHEALTHY
  // kFailedPrecondition from an owner: DEVICE_NOT_CLAIMED: the host has it; IN_USE: what is
  // attached
  //                     of its group is listed; DEVICE_UNHEALTHY: not when the caller gets it
  absl::StatusOr<DeviceView> ClaimDevice(const CallContext&, const std::string& id,
                                         const std::string& etag, const ClaimOptions& = {});
  // `owner`, here and below: who must hold the device; empty: the caller, for an operator anybody.
  // kPermissionDenied   NOT_OPERATOR: `owner` is somebody else; or the caller may not claim
  // kFailedPrecondition DEVICE_NOT_CLAIMED; DEVICE_CLAIMED: by another than `owner`;
  // STILL_ATTACHED: what is attached of its group, RIDs and PASIDs, is listed. Domains made for it
  // stay; PASIDs that are taken are freed, vdevices go.
  absl::StatusOr<DeviceView> ReleaseDevice(const CallContext&, const std::string& id,
                                           const std::string& etag, const std::string& owner = "");
  // Puts what the device sends with `pasid`, or (none) without PASID, on a domain. Members of a
  // group share their PASIDs. Given an Ioas, takes the first of its auto domains that fits, or
  // makes one, charged to the Ioas's owner, that goes with its last attachment. A PASID that is not
  // taken is taken for as long as it is attached. The RID takes reserved regions into the Ioas, a
  // PASID none (operations/reserved_regions.h). kFailedPrecondition DEVICE_NOT_CLAIMED,
  // ALREADY_ATTACHED, GROUP_MISMATCH (a group member is on
  //   another domain), INCOMPATIBLE_DOMAIN, IOVA_CONFLICT (an area lies in a reserved region of the
  //   device; for an auto domain that is made, as CreateDomain); DEVICE_UNHEALTHY: a reset of a
  //   member failed
  // kFailedPrecondition VDEVICE_MISSING: the domain translates for the guest of a Viommu, in which
  // a
  //   member of the group has no vdevice
  // kFailedPrecondition PASID_TAKEN: it is another principal's; PASID_INCOMPATIBLE: the domain was
  //   not made for PASIDs, and it is for one, or for the RID beside one; or the RID's was not. An
  //   auto domain never is. PASIDS_IN_USE: the unit has no second stage beside PASIDs
  // kFailedPrecondition PAGE_REQUESTS_UNAVAILABLE: the domain has a fault queue, and one of the
  //   group no page requests
  // kInvalidArgument    INVALID_PASID: 0
  // kOutOfRange         PASID_OUT_OF_RANGE: beyond the smallest width of the group and its unit
  // kPermissionDenied   IDENTITY_NOT_ALLOWED
  // kUnimplemented      IDENTITY_UNAVAILABLE: a unit of the group has no pass-through;
  //   PASID_UNAVAILABLE: a member of the group issues no PASIDs; PASID_DOMAIN_UNSUPPORTED: the unit
  //   has no such domain for PASIDs
  // kResourceExhausted  DOMAIN_IDS_EXHAUSTED, TABLE_MEMORY_EXHAUSTED
  // kAborted            DEVICE_IN_RESET: a member of the group is being reset; try again
  absl::StatusOr<AttachAnswer> AttachDevice(const CallContext&, const std::string& device,
                                            const AttachTarget& target,
                                            std::optional<uint32_t> pasid = std::nullopt);
  // Moves all members of the group that are attached there. kFailedPrecondition NOT_ATTACHED, and
  // as AttachDevice
  absl::StatusOr<AttachAnswer> ReplaceAttachment(const CallContext&, const std::string& device,
                                                 const AttachTarget& target,
                                                 std::optional<uint32_t> pasid = std::nullopt);
  // Detaching what is not attached changes nothing and succeeds (iommufd). The RID may go while
  // PASIDs stay. During a reset it waits for its turn: who takes away is not refused.
  // kFailedPrecondition DEVICE_NOT_CLAIMED; DEVICE_CLAIMED, kPermissionDenied as ReleaseDevice
  absl::StatusOr<DetachAnswer> DetachDevice(const CallContext&, const std::string& device,
                                            std::optional<uint32_t> pasid = std::nullopt,
                                            const std::string& owner = "");
  // Takes the lowest free PASID of a range in the device's group, until it is freed or the device
  // is released. Nothing is attached. kFailedPrecondition DEVICE_NOT_CLAIMED kInvalidArgument
  // INVALID_PASID, RANGE_INVALID (min above max), LABEL_TOO_LONG kOutOfRange PASID_OUT_OF_RANGE
  // kUnimplemented      PASID_UNAVAILABLE
  // kResourceExhausted  PASIDS_EXHAUSTED: all of the range are taken
  absl::StatusOr<PasidView> AllocatePasid(const CallContext&, const std::string& device,
                                          const PasidRequest& request);
  // Takes this PASID. kAlreadyExists PASID_EXISTS: it is taken; else as AllocatePasid
  absl::StatusOr<PasidView> ReservePasid(const CallContext&, const std::string& device,
                                         uint32_t pasid, const std::string& label);
  // kNotFound           PASID_NOT_FOUND: it is not taken
  // kFailedPrecondition DEVICE_NOT_CLAIMED; PASID_TAKEN: another principal's; IN_USE: attached;
  //                     DEVICE_CLAIMED, kPermissionDenied as ReleaseDevice
  absl::Status FreePasid(const CallContext&, const std::string& device, uint32_t pasid,
                         const std::string& owner = "");
  // Those of the device's group, ascending; shown to who has the device, and to operators.
  absl::StatusOr<Page<PasidView>> ListPasids(const CallContext&, const std::string& device,
                                             const PageRequest&);
  // Blocks the device, RID and PASIDs, for the time of its reset; what its group is on stays as it
  // is. Mends a device that an earlier reset left blocked. Operators may reset what the host has.
  // kFailedPrecondition DEVICE_NOT_CLAIMED
  // kInternal           RESET_FAILED: the device stays blocked, and is unhealthy for that reason
  absl::StatusOr<DeviceView> ResetDevice(const CallContext&, const std::string& device);
  // Of one device, or of all when `device` is empty; of a device the RID's comes first.
  absl::StatusOr<Page<AttachmentView>> ListAttachments(const CallContext&,
                                                       const std::string& device,
                                                       const PageRequest&);
  absl::StatusOr<std::vector<ReservedRegionView>> ListReservedRegions(const CallContext&,
                                                                      const std::string& device);
  absl::StatusOr<HardwareView> GetHardwareInfo(const CallContext&, const std::string& device);
  // Operators only, for a group that the host has. What it can not have, and all for an untrusted
  // device, becomes kDma and the answer says why. Between kDma and kDmaFq the change is live: the
  // domain and what the host maps stay; kDma begins with a flush.
  // kPermissionDenied NOT_OPERATOR, IDENTITY_NOT_ALLOWED; kInternal: the flush failed;
  // kFailedPrecondition DEVICE_CLAIMED; HOST_MAPPINGS: from or to kIdentity
  absl::StatusOr<DeviceView> SetDefaultDomain(const CallContext&, const std::string& device,
                                              DefaultDomainType type);

  // ---- Page faults (iommufd-semantics.md section 11) ----
  // A queue for the page faults of domains that are made with it. `depth`: groups that it keeps; 0:
  // kDefaultFaultQueueDepth. kInvalidArgument INVALID_DEPTH: above kMaxFaultQueueDepth;
  // kAlreadyExists FAULT_QUEUE_EXISTS
  absl::StatusOr<FaultQueueView> CreateFaultQueue(const CallContext&, const std::string& id,
                                                  uint32_t depth);
  absl::StatusOr<FaultQueueView> GetFaultQueue(const CallContext&, const ObjectRef&);
  absl::StatusOr<Page<FaultQueueView>> ListFaultQueues(const CallContext&, const PageRequest&);
  // kFailedPrecondition IN_USE: domains refer to it, which are listed, or a stream of it is open
  absl::Status DeleteFaultQueue(const CallContext&, const ObjectRef&, const std::string& etag);
  // The groups that wait for an answer, the oldest first; they stay.
  absl::StatusOr<Page<FaultView>> ListFaults(const CallContext&, const ObjectRef& queue,
                                             const PageRequest&);
  // Answers groups; all of them are known, or none is answered. `only`: as for Invalidate. Nothing
  // is journalled, no revision changes:
  //   kInvalidArgument EMPTY_BATCH, BATCH_TOO_LARGE; INVALID_RESPONSE: neither success nor invalid;
  //                    DUPLICATE_COOKIE
  //   kNotFound        FAULT_NOT_FOUND: no group that waits has the cookie
  //   kInternal        QUEUE_ERROR, QUEUE_TIMEOUT: those before the one named are answered, what
  //                    is behind them waits as before
  absl::Status RespondFault(const CallContext&, const ObjectRef& queue,
                            std::vector<FaultResponse> responses, Uid only = 0);
  // Null on an error only. The engine outlives its streams. kResourceExhausted STREAM_LIMIT
  absl::StatusOr<std::unique_ptr<FaultStream>> OpenFaultStream(const CallContext&,
                                                               const ObjectRef& queue);

  // ---- Watching ----
  // Null on an error only. The engine outlives its watches.
  // kOutOfRange REVISION_COMPACTED: to resume there what changed since is not known any more, or
  //   it was another boot; REVISION_IN_FUTURE
  // kResourceExhausted STREAM_LIMIT
  absl::StatusOr<std::unique_ptr<Watch>> OpenWatch(const CallContext&, const WatchOptions&);

  // ---- Simulation (kUnimplemented SIMULATION_NOT_AVAILABLE on other backends) ----
  // A fault is an answer, not an error. kInvalidArgument INVALID_LENGTH: 0 or above
  // kMaxAccessBytes; kOutOfRange IOVA_OVERFLOW; PASID_OUT_OF_RANGE: wider than the device issues.
  // The caller must hold the device, or be an operator. `pasid`: none is a request without PASID.
  absl::StatusOr<DmaOutcome> Dma(const CallContext&, const std::string& device, Iova iova,
                                 bool write, absl::Span<char> data,
                                 std::optional<uint32_t> pasid = std::nullopt);
  // Memory that shrinks, or grows back up to the size it was made with, and memory that is taken
  // away. Areas that reach beyond the new end are suspended as a whole: no device can use them.
  // kInvalidArgument    INVALID_SIZE: 0, no multiple of 4 KiB, above the size it was made with
  // kFailedPrecondition REGION_SUSPENDED; HOST_MAPPINGS: what goes is mapped by the host; IN_USE: a
  //                     hardware queue pins it
  // kInternal           as Unmap
  absl::StatusOr<MemoryRegionView> ResizeMemoryRegion(const CallContext&, const ObjectRef&,
                                                      uint64_t size_bytes, const std::string& etag);
  absl::StatusOr<MemoryRegionView> RevokeMemoryRegion(const CallContext&, const ObjectRef&,
                                                      const std::string& etag);
  // kOutOfRange SOURCE_OUT_OF_BOUNDS; kFailedPrecondition REGION_SUSPENDED
  absl::Status ReadMemory(const CallContext&, const ObjectRef& region, uint64_t offset_bytes,
                          absl::Span<char> data);
  absl::Status WriteMemory(const CallContext&, const ObjectRef& region, uint64_t offset_bytes,
                           absl::Span<const char> data);
  // The host's DMA API for a device that the host has: maps for the device, answers the IOVA.
  // kFailedPrecondition DEVICE_CLAIMED; operators only. kInternal: a deferred flush that had to
  // come first failed.
  absl::StatusOr<Iova> HostMap(const CallContext&, const std::string& device,
                               const ObjectRef& region, uint64_t offset_bytes,
                               uint64_t length_bytes, Permission);
  // In a kDmaFq domain the device may go on using the range until the flush queue is flushed; until
  // then neither its addresses nor its memory are used again.
  // kNotFound IOVA_NOT_COVERED: not exactly a range that HostMap answered. kInternal: a flush
  // failed.
  absl::Status HostUnmap(const CallContext&, const std::string& device, Iova iova,
                         uint64_t length_bytes);
  // Operators only. An unhealthy device whose cause is not said has kInjected.
  absl::StatusOr<DeviceView> SetDeviceHealth(const CallContext&, const std::string& device,
                                             DeviceHealth health, const std::string& reason,
                                             HealthReason cause = HealthReason::kNone);
  // Takes a device out of the host, whatever it is doing: it is blocked first, then its attachments
  // go, and the claim of its group with its last member. Operators only.
  // kNotFound           DEVICE_NOT_FOUND: also when it is out already
  // kFailedPrecondition HOST_MAPPINGS: the host maps memory for its group, which has no other
  // member kInternal, kResourceExhausted: nothing changed; or, when that could not be, the device
  // stays
  //   blocked and is unhealthy (kUnplugFailed).
  absl::Status UnplugDevice(const CallContext&, const std::string& device);
  // Puts it in again, with a new uid, on what its group is on; it is not attached. Operators only.
  // kNotFound      DEVICE_NOT_FOUND: the topology has no such device
  // kAlreadyExists DEVICE_PRESENT
  // kFailedPrecondition VDEVICE_MISSING: its group is on a domain that translates for a guest
  // kInternal, kResourceExhausted: it is still out.
  absl::StatusOr<DeviceView> PlugDevice(const CallContext&, const std::string& device);
  // An event as the hardware would report it about the device's stream, whose id is put in.
  // The caller must hold the device, or be an operator.
  // kInvalidArgument INVALID_EVENT: one that no guest gets, or a field above its range
  // kFailedPrecondition VDEVICE_MISSING
  absl::StatusOr<RaiseAnswer> RaiseEvent(const CallContext&, const std::string& device,
                                         const ArmSmmuV3Event& event);
  // Asks for a page as the device would; with the last fault of a group it waits for the answer,
  // which ListPageResponses shows. `fault.device` is not looked at. The caller must hold the
  // device, or be an operator:
  //   kInvalidArgument    MISALIGNED: the address; INVALID_ACCESS: neither reading nor writing
  //   kOutOfRange         PASID_OUT_OF_RANGE: as Dma; GROUP_OUT_OF_RANGE: above kMaxPageGroup
  //   kFailedPrecondition PAGE_GROUP_OUTSTANDING: the group waits for its answer already;
  //                       NO_PAGE_FAULT: a device whose requests stall would not wait for that page
  //   kUnimplemented      PAGE_REQUESTS_UNAVAILABLE: the device, or its unit, has none
  absl::Status RaisePageFault(const CallContext&, const std::string& device, PageFault fault);
  // What groups of the device were answered, the oldest first, as far as it remembers.
  absl::StatusOr<std::vector<PageGroupResponse>> ListPageResponses(const CallContext&,
                                                                   const std::string& device);
  absl::StatusOr<std::vector<TableEntryDump>> DumpTables(
      const CallContext&, const std::string& device, Iova iova,
      std::optional<uint32_t> pasid = std::nullopt);
  // What becomes of an access to one byte, and why, caches neither consulted nor filled. As Dma.
  absl::StatusOr<TranslationExplanation> ExplainTranslation(
      const CallContext&, const std::string& device, Iova iova, bool write,
      std::optional<uint32_t> pasid = std::nullopt);
  // All tables that hardware can reach, and the queues, as they are between two changes: everything
  // that would be applied meanwhile waits. Operators only.
  // kPermissionDenied   NOT_OPERATOR
  // kDeadlineExceeded   the changes under way were not done in time
  // kResourceExhausted  IMAGE_TOO_LARGE: above kMaxImagePages
  absl::StatusOr<TableImage> ExportTables(const CallContext&);

  // ---- Principals ----
  // A principal, none of whose calls is under way, will not come back: whoever is called so next
  // gets no answers of its requests, and nothing is kept for it but what it owns.
  void ForgetRequests(const std::string& principal);

  // ---- Metrics ----
  EngineStats Stats();

 private:
  struct Core;
  explicit Engine(std::unique_ptr<Core> core);
  const std::unique_ptr<Core> core_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_ENGINE_H_
