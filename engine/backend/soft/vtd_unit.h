// engine/backend/soft/vtd_unit.h -- The driver of one VT-d remapping unit in scalable mode.
//
// Owns the unit's root, context and PASID tables, its domain ids and its invalidation queue. Each
// requester (source id) has one PASID directory, whose entry 0 serves requests without PASID: what
// the requester is attached to is that entry. All tables above it are made before translation is
// enabled and never change afterwards; PASID tables are made when needed and go with their last
// entry.
//
// A requester whose ATS is on keeps translations of its own (device TLB): every flush of the unit's
// caches reaches those too, after the unit's own, since they are filled from there. One that does
// not answer costs its requester all access, by quarantine, and the others nothing: the requester's
// context entry is not present and its ATS off until it is readmitted. Entries below go on being
// written as if it were not so.
//
// Where not even the flush of everything behind a failed change got through, it is owed: until the
// hardware has done it, nothing that rests on a flush succeeds.
//
// Thread-safe. Lock order: the unit's lock, then that of page requests, then the queue's, then the
// hardware's.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_VTD_UNIT_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_VTD_UNIT_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/domain_ids.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/invalidation_queue.h"
#include "engine/backend/soft/pasid_tables.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/soft/quarantine_list.h"
#include "engine/backend/soft/vtd_page_request_queue.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/base/status_macros.h"
#include "engine/entries/entry_writer.h"
#include "engine/entries/vtd_descriptors.h"
#include "engine/entries/vtd_entries.h"
#include "engine/pagetable/table_arena.h"

namespace viommu {

class VtdUnit {
 public:
  static constexpr uint32_t kRidPasid = 0;  // The PASID that stands for requests without one.

  struct Requester {
    uint16_t source_id = 0;
    int pasid_bits = 0;          // 0: issues no PASIDs, and requests with one are refused.
    bool device_tlb = false;     // Its ATS is to be switched on; the unit has ECAP.DT.
    bool page_requests = false;  // So is its PRI; it has a device TLB, and the unit ECAP.PRS.
  };

  // A unit whose requesters are all blocked, with translation not yet enabled. `memory` and `arena`
  // outlive it; the arena lies in the memory.
  // kResourceExhausted: no table memory.
  static absl::StatusOr<std::unique_ptr<VtdUnit>> Create(const IommuSpec& spec,
                                                         absl::Span<const Requester> requesters,
                                                         PhysicalMemory* memory, TableArena* arena);
  ~VtdUnit();

  const IommuSpec& spec() const { return spec_; }
  hardware::VtdModel& hardware() { return *hardware_; }
  const hardware::VtdModel& hardware() const { return *hardware_; }
  const InvalidationQueue& queue() const { return *queue_; }
  // Null: the unit has none (ECAP.PRS).
  VtdPageRequestQueue* page_requests() { return page_requests_.get(); }

  // From here on every request is translated.
  // kInternal: the hardware does not follow.
  absl::Status EnableTranslation();

  // What a requester's entry for a PASID, or for requests without one, holds now. A PASID that the
  // requester can not issue is blocked.
  vtd::PasidEntry EntryOf(uint16_t source_id, uint32_t pasid) const ABSL_LOCKS_EXCLUDED(mutex_);
  vtd::PasidEntry RequesterEntry(uint16_t source_id) const { return EntryOf(source_id, kRidPasid); }

  // kOutOfRange, PASID_OUT_OF_RANGE: the requester can not issue that PASID.
  absl::Status CheckPasid(uint16_t source_id, uint32_t pasid) const ABSL_LOCKS_EXCLUDED(mutex_);

  // Makes room for an entry, so that a later SetEntry can not fail for lack of memory.
  // As CheckPasid.
  // kResourceExhausted: no table memory.
  absl::Status PrepareEntry(uint16_t source_id, uint32_t pasid) ABSL_LOCKS_EXCLUDED(mutex_);

  // Changes an entry and flushes what the hardware may have cached under the old one, in the order
  // PASID cache, IOTLB, device TLB (iommufd-semantics.md 18.3; formats-amd-riscv.md A.5), so that
  // when it returns no request uses the old entry. Whether the entry is blocked meanwhile, the
  // EntryPlan from EntryOf to `target` says.
  // As PrepareEntry, unless the entry was prepared or `target` is blocked.
  // kInternal: a flush failed, this one or the one that is owed. The old entry is back, but both
  //   may be cached: the target's domain id and tables must not be reused before FlushDomain
  //   succeeds.
  template <typename Store>
  absl::Status SetEntry(const Store& store, uint16_t source_id, uint32_t pasid,
                        const vtd::PasidEntry& target) ABSL_LOCKS_EXCLUDED(mutex_);
  template <typename Store>
  absl::Status SetRequesterEntry(const Store& store, uint16_t source_id,
                                 const vtd::PasidEntry& target) {
    return SetEntry(store, source_id, kRidPasid, target);
  }

  // Writes a prepared entry whether or not the hardware answers, and asks it to flush everything,
  // which is owed when it does not: how a change that failed half way is taken back.
  template <typename Store>
  void ForceEntry(const Store& store, uint16_t source_id, uint32_t pasid,
                  const vtd::PasidEntry& entry) ABSL_LOCKS_EXCLUDED(mutex_);
  template <typename Store>
  void ForceRequesterEntry(const Store& store, uint16_t source_id, const vtd::PasidEntry& entry) {
    ForceEntry(store, source_id, kRidPasid, entry);
  }

  // Blocks an entry for good: whether or not the hardware answers it is blocked in memory, and what
  // could not be flushed is owed. Never allocates (R1).
  // kInternal: the flush is owed.
  template <typename Store>
  absl::Status BlockEntry(const Store& store, uint16_t source_id, uint32_t pasid)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Gives the table of a PASID's entry back, unless one of its entries is in use or it is that of
  // PASID 0. Where the hardware does not answer, it stays set aside until it has.
  void ReleaseTable(uint16_t source_id, uint32_t pasid) ABSL_LOCKS_EXCLUDED(mutex_);

  // Does what is owed.
  // kInternal: the hardware still does not.
  absl::Status Settle() ABSL_LOCKS_EXCLUDED(mutex_);

  // The source ids in quarantine, ascending. Waits for nothing.
  std::vector<uint32_t> Quarantined() const { return quarantined_.All(); }
  // Ends a quarantine, if there is one and the device TLB answers again.
  // kInternal: it does not, or the queue failed.
  absl::Status Readmit(uint16_t source_id) ABSL_LOCKS_EXCLUDED(mutex_);

  // An id for the entries and cached translations of one paging domain.
  // kResourceExhausted, DOMAIN_IDS_EXHAUSTED: none is left.
  absl::StatusOr<uint16_t> TakeDomainId() ABSL_LOCKS_EXCLUDED(mutex_);
  // No entry holds the id, and whatever it tagged is flushed.
  void ReturnDomainId(uint16_t id) ABSL_LOCKS_EXCLUDED(mutex_);

  // Drops all cached translations of the ranges under the domain id of a second stage, in the unit
  // and in device TLBs. With `leaves_only` cached pointers to tables may stay: no table was
  // unlinked. What nested entries make of the same second stage has other domain ids: FlushDomain.
  // kInternal: the queue failed, or still does not do what is owed; what is cached is unknown.
  absl::Status Flush(uint16_t domain_id, absl::Span<const IovaRange> ranges, bool leaves_only)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // The same for the first stage, or a guest's nested one, of entries with these PASIDs, which are
  // all that the domain id has.
  // As Flush.
  absl::Status FlushFirstStage(uint16_t domain_id, absl::Span<const uint32_t> pasids,
                               absl::Span<const IovaRange> ranges, bool leaves_only)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Drops everything under a domain id: what nested entries need when their second stage changes,
  // whose addresses are not those that caches and devices know (invariant I9).
  // As Flush.
  absl::Status FlushDomain(uint16_t domain_id) ABSL_LOCKS_EXCLUDED(mutex_);

  // Keeps tables that the hardware may still walk, because a flush failed, until everything is
  // flushed (which is owed from now on) or the unit goes.
  void KeepUntilFlushed(std::shared_ptr<const void> tables) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  VtdUnit(const IommuSpec& spec, PhysicalMemory* memory, TableArena* arena);

  // One requester's tables and device TLB.
  struct Seat {
    PasidTables tables;
    bool pasids = false;  // It issues requests with PASID, 0 among them, which entry 0 serves too.
    bool device_tlb = false;
    bool page_requests = false;
    vtd::ContextEntry context = {};     // As it is written,
    uint64_t* context_words = nullptr;  // and where.
  };
  using EntryKey = std::pair<uint16_t, uint32_t>;  // Source id, PASID.

  // Makes the tables that lead to a requester's PASID table, and switches its ATS on.
  absl::Status AddRequester(const Requester& requester);
  absl::StatusOr<PhysAddr> ContextTableFor(uint16_t source_id);
  absl::StatusOr<PhysAddr> NewTablePage();
  absl::Status SetRootTable();
  absl::Status Command(uint32_t command);
  absl::Status CheckLocked(uint16_t source_id, uint32_t pasid) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status PrepareLocked(uint16_t source_id, uint32_t pasid)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  template <typename Store>
  void ForceLocked(const Store& store, uint16_t source_id, uint32_t pasid,
                   const vtd::PasidEntry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Drops what the hardware may hold because of `old`, the entry until now.
  absl::Status FlushEntry(uint16_t source_id, uint32_t pasid, const vtd::PasidEntry& old)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The last resort after a failed flush. It is owed until it succeeds.
  absl::Status FlushEverything() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status FlushWhatIsOwed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Hands a batch to the hardware. Goes on without the requesters whose TLBs do not answer.
  // kInternal: as InvalidationQueue::Submit.
  absl::Status Submit(std::vector<vtd::Descriptor> batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // kInternal: it is blocked in memory, but the flush is owed.
  absl::Status Quarantine(uint16_t source_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Notes what an entry of a requester with a device TLB holds.
  void NoteUse(uint16_t source_id, uint32_t pasid, const vtd::PasidEntry& entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether requests meet the same by both, but that their writes are marked by one of them.
  static bool DifferInTracking(vtd::PasidEntry one, const vtd::PasidEntry& other);
  // The requester does not meet what its page requests of until now were for.
  void DropPageRequests(uint16_t source_id, uint32_t pasid) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Appends what makes a requester's device TLB drop everything.
  static void AppendWholeDeviceTlb(uint16_t source_id, std::vector<vtd::Descriptor>* batch);
  // Appends what a requester's device TLB must drop of the block, as far as an entry has filled it.
  void AppendDeviceTlb(const EntryKey& key, const vtd::PageBlock& block,
                       std::vector<vtd::Descriptor>* batch) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Appends what device TLBs must drop of the blocks, or of everything where there are too many.
  void AppendDeviceTlbs(uint16_t domain_id, absl::Span<const IovaRange> ranges,
                        std::vector<vtd::Descriptor>* batch) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Submits the unit's own flushes, and behind them those of device TLBs.
  absl::Status SubmitFlush(uint16_t domain_id, absl::Span<const IovaRange> ranges,
                           std::vector<vtd::Descriptor> batch) ABSL_LOCKS_EXCLUDED(mutex_);

  const IommuSpec spec_;
  TableArena& arena_;
  std::unique_ptr<hardware::VtdModel> hardware_;
  std::unique_ptr<InvalidationQueue> queue_;
  std::unique_ptr<VtdPageRequestQueue> page_requests_;  // Goes before the queue.

  // Constant once Create has returned.
  PhysAddr root_table_;
  std::vector<PhysAddr> table_pages_;  // The root and the context tables.

  mutable absl::Mutex mutex_;  // Also held by the only writer of an entry.
  absl::flat_hash_map<uint16_t, Seat> seats_ ABSL_GUARDED_BY(mutex_);  // By source id.
  // The domain ids of present entries whose translations a device TLB may hold.
  absl::flat_hash_map<EntryKey, uint16_t> device_tlb_uses_ ABSL_GUARDED_BY(mutex_);
  DomainIds domain_ids_ ABSL_GUARDED_BY(mutex_);
  bool flush_owed_ ABSL_GUARDED_BY(mutex_) = false;  // The last FlushEverything failed.
  QuarantineList quarantined_;                       // Changed under mutex_.
  std::vector<std::shared_ptr<const void>> kept_ ABSL_GUARDED_BY(mutex_);  // KeepUntilFlushed.
};

template <typename Store>
absl::Status VtdUnit::SetEntry(const Store& store, uint16_t source_id, uint32_t pasid,
                               const vtd::PasidEntry& target) {
  absl::MutexLock lock(&mutex_);
  const PasidTables& tables = seats_.at(source_id).tables;
  if (!tables.Covers(pasid) || tables.Words(pasid) == nullptr) {
    if (!vtd::IsPresent(target)) return absl::OkStatus();
    RETURN_IF_ERROR(PrepareLocked(source_id, pasid));
  }
  const vtd::PasidEntry old = tables.Read(pasid);
  const auto plan = PlanEntry<vtd::PasidArchitecture>(old, target);
  const auto flush = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return FlushEntry(source_id, pasid, old);
  };
  absl::Status status = WriteEntry(plan, tables.Words(pasid), store, flush);
  if (status.ok()) {
    NoteUse(source_id, pasid, target);
    if (!DifferInTracking(old, target)) DropPageRequests(source_id, pasid);
  } else {
    ForceLocked(store, source_id, pasid, old);
  }
  return status;
}

template <typename Store>
absl::Status VtdUnit::BlockEntry(const Store& store, uint16_t source_id, uint32_t pasid) {
  absl::MutexLock lock(&mutex_);
  const PasidTables& tables = seats_.at(source_id).tables;
  if (!tables.Covers(pasid) || tables.Words(pasid) == nullptr) return FlushWhatIsOwed();
  const vtd::PasidEntry old = tables.Read(pasid);
  const auto plan = PlanEntry<vtd::PasidArchitecture>(old, vtd::MakeBlockedEntry());
  const auto flush = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return FlushEntry(source_id, pasid, old);
  };
  if (WriteEntry(plan, tables.Words(pasid), store, flush).ok()) {
    NoteUse(source_id, pasid, vtd::MakeBlockedEntry());
    DropPageRequests(source_id, pasid);
    return FlushWhatIsOwed();  // The entry may have been blocked before.
  }
  ForceLocked(store, source_id, pasid, vtd::MakeBlockedEntry());
  DropPageRequests(source_id, pasid);
  return FlushEverything();  // What was blocked already was not worth a flush to ForceLocked.
}

template <typename Store>
void VtdUnit::ForceEntry(const Store& store, uint16_t source_id, uint32_t pasid,
                         const vtd::PasidEntry& entry) {
  absl::MutexLock lock(&mutex_);
  ForceLocked(store, source_id, pasid, entry);
}

template <typename Store>
void VtdUnit::ForceLocked(const Store& store, uint16_t source_id, uint32_t pasid,
                          const vtd::PasidEntry& entry) {
  const PasidTables& tables = seats_.at(source_id).tables;
  const auto plan = PlanEntry<vtd::PasidArchitecture>(tables.Read(pasid), entry);
  const auto flush = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    FlushEverything().IgnoreError();  // Then it is owed.
    return absl::OkStatus();
  };
  // This flush answers OK.
  WriteEntry(plan, tables.Words(pasid), store, flush).IgnoreError();
  NoteUse(source_id, pasid, entry);
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_VTD_UNIT_H_
