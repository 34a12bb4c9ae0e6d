// engine/backend/soft/smmu_unit.h -- The driver of one Arm SMMUv3.
//
// Owns the unit's stream table, its streams' context descriptors, its ASIDs and VMIDs and its
// command queue. Tables that lead to a stream's entry are made before translation is enabled;
// descriptors when a first stage or a PASID needs them, and they go with the last.
//
// A stream whose device may have ATS has it switched on while its entry lets it ask (EATS): after
// the entry says so, and off before it no longer does. What the device then keeps is dropped after
// the unit's own caches, from which it is filled, and after a CMD_SYNC (invariant I8). One that
// does not answer costs its stream all access, by quarantine, and the others nothing: the stream's
// entry aborts until it is readmitted. What it is to meet goes on being changed as if it were not
// so.
//
// Where not even the flush of everything behind a failed change got through, it is owed: until the
// hardware has done it, nothing that rests on a flush succeeds.
//
// Thread-safe. Lock order: the unit's lock, then the queue's, then the hardware's.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SMMU_UNIT_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SMMU_UNIT_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/domain_ids.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/soft/quarantine_list.h"
#include "engine/backend/soft/smmu_command_queue.h"
#include "engine/backend/soft/smmu_event_queue.h"
#include "engine/backend/soft/smmu_page_request_queue.h"
#include "engine/backend/soft/smmu_stream_table.h"
#include "engine/backend/soft/smmu_translation.h"
#include "engine/backend/soft/unit_port.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/base/status_macros.h"
#include "engine/entries/entry_writer.h"
#include "engine/entries/smmu_cd.h"
#include "engine/entries/smmu_commands.h"
#include "engine/entries/smmu_events.h"
#include "engine/entries/smmu_ste.h"
#include "engine/pagetable/table_arena.h"

namespace viommu {

class SmmuUnit {
 public:
  struct Requester {
    uint32_t stream_id = 0;
    int pasid_bits = 0;       // 0: issues no PASIDs, and requests with one are refused.
    bool device_tlb = false;  // Its ATS may be switched on; the unit has IDR0.ATS.
    bool stalls = false;      // Requests that fault in a first stage wait; the unit can hold them.
    bool page_requests = false;  // Its PRI is on; it has a device TLB, and the unit IDR0.PRI.
  };

  // A unit whose streams are all blocked, with translation not yet enabled. `memory` and `arena`
  // outlive it; the arena lies in the memory.
  // kResourceExhausted: no table memory.
  // kInternal: the hardware does not follow.
  static absl::StatusOr<std::unique_ptr<SmmuUnit>> Create(const IommuSpec& spec,
                                                          absl::Span<const Requester> requesters,
                                                          PhysicalMemory* memory,
                                                          TableArena* arena);

  const IommuSpec& spec() const { return spec_; }
  hardware::SmmuModel& hardware() { return *hardware_; }
  const hardware::SmmuModel& hardware() const { return *hardware_; }
  const SmmuCommandQueue& queue() const { return *queue_; }

  // From here on every request is translated.
  // kInternal: the hardware does not follow.
  absl::Status EnableTranslation();

  // What the tables say now of a stream, and of its requests with a PASID (0: without, as far as a
  // descriptor says it).
  smmu::Ste SteOf(uint32_t stream_id) const ABSL_LOCKS_EXCLUDED(mutex_);
  smmu::Cd CdOf(uint32_t stream_id, uint32_t pasid) const ABSL_LOCKS_EXCLUDED(mutex_);

  // What happened to requests since the last call.
  SmmuEventQueue::Taken TakeEvents() { return events_->Take(); }
  // What waits since the last call for Resume, of streams that stall. Waits for no hardware.
  std::vector<smmu::Event> TakeStalls();
  // kInternal: as SmmuCommandQueue::Submit.
  absl::Status Resume(uint32_t stream_id, uint16_t stall_tag, smmu::ResumeAction action);
  // Null where the unit has no PRI.
  SmmuPageRequestQueue* page_requests() { return page_requests_.get(); }
  // Whether a guest's entry decides what becomes of the stream's requests.
  bool IsNested(uint32_t stream_id) const ABSL_LOCKS_EXCLUDED(mutex_);

  // The contracts of the rest are those of UnitPort, but for Execute. Requests that wait for an
  // answer when their translation changes, and were not taken, are aborted; page requests are
  // answered that they can not be had.

  absl::Status CheckPasid(uint32_t stream_id, uint32_t pasid) const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status PrepareEntry(uint32_t stream_id, uint32_t pasid, TranslationKind kind)
      ABSL_LOCKS_EXCLUDED(mutex_);
  Transition PlanChange(uint32_t stream_id, uint32_t pasid, const UnitTranslation& target) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Descriptors change before the entry that leads to them, and after the one that does not any
  // more (17.7); each is flushed out of the configuration caches as its EntryPlan says.
  template <typename Store>
  absl::Status SetEntry(const Store& store, uint32_t stream_id, uint32_t pasid,
                        const UnitTranslation& target) ABSL_LOCKS_EXCLUDED(mutex_);
  template <typename Store>
  void ForceEntry(const Store& store, uint32_t stream_id, uint32_t pasid,
                  const UnitTranslation& target) ABSL_LOCKS_EXCLUDED(mutex_);
  template <typename Store>
  absl::Status BlockEntry(const Store& store, uint32_t stream_id, uint32_t pasid)
      ABSL_LOCKS_EXCLUDED(mutex_);

  void ReleaseTable(uint32_t stream_id, uint32_t pasid) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Settle() ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<uint32_t> Quarantined() const { return quarantined_.All(); }
  absl::Status Readmit(uint32_t stream_id) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<uint32_t> TakeTag(TranslationKind kind) ABSL_LOCKS_EXCLUDED(mutex_);
  void ReturnTag(const UnitTag& tag) ABSL_LOCKS_EXCLUDED(mutex_);
  // The one that TakeTag would answer: neither another entry's nor 0, as which a first stage counts
  // its VMID.
  uint32_t TagToCome(TranslationKind kind) const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Flush(const TagUse& use, absl::Span<const IovaRange> ranges, bool leaves_only)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status FlushTag(const UnitTag& tag) ABSL_LOCKS_EXCLUDED(mutex_);
  void KeepUntilFlushed(std::shared_ptr<const void> tables) ABSL_LOCKS_EXCLUDED(mutex_);

  // Carries out commands that a guest gave, with physical ids in them, in order. What devices keep
  // goes behind a CMD_SYNC after what the unit's TLBs do.
  // kInternal: the queue failed; `handled` commands are done.
  absl::Status Execute(absl::Span<const smmu::Command> commands, size_t* handled)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Commands = std::vector<smmu::Command>;
  using FlushConfig = absl::FunctionRef<absl::Status(const smmu::Command&)>;

  SmmuUnit(const IommuSpec& spec, PhysicalMemory* memory, TableArena* arena);

  absl::Status SetUp(absl::Span<const Requester> requesters);
  absl::Status AddStream(const Requester& requester) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Answers what waits of a stream at `pasid`, whose translation was `old`, and nobody has taken.
  void AnswerUntaken(const SmmuStream& stream, uint32_t pasid, const UnitTranslation& old);
  // The same at `pasid`, or (none) wherever it is.
  void AnswerUntakenAt(const SmmuStream& stream, std::optional<uint32_t> pasid);
  // Those of it that are stalls, as far as `gone` picks them.
  void AbortStalls(absl::FunctionRef<bool(const smmu::Event&)> gone);
  absl::Status SetControl(uint32_t bits);
  absl::Status CheckLocked(const SmmuStream& stream, uint32_t pasid) const;
  absl::Status PrepareLocked(SmmuStream* stream, uint32_t pasid, TranslationKind kind)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Writes what a stream's tables say of `pasid`, and the stream's entry, calling `flush_config`
  // with what the configuration caches are to drop. Stops where that fails.
  template <typename Store>
  absl::Status ChangeTables(const Store& store, SmmuStream* stream, uint32_t pasid,
                            const UnitTranslation& target, FlushConfig flush_config)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  template <typename Store>
  absl::Status ChangeCd(const Store& store, const SmmuStream& stream, uint32_t pasid,
                        FlushConfig flush_config) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  template <typename Store>
  absl::Status ChangeSte(const Store& store, SmmuStream* stream, FlushConfig flush_config)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // ChangeTables and the flush of what caches hold of the old translation.
  template <typename Store>
  absl::Status ChangeLocked(const Store& store, SmmuStream* stream, uint32_t pasid,
                            const UnitTranslation& target) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  template <typename Store>
  void ForceLocked(const Store& store, SmmuStream* stream, uint32_t pasid,
                   const UnitTranslation& target) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SwitchAts(SmmuStream* stream, bool on) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Drops what TLBs hold because `old` was what requests of a stream met.
  absl::Status FlushOld(const SmmuStream& stream, uint32_t pasid, const UnitTranslation& old)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The last resort after a failed flush. It is owed until it succeeds.
  absl::Status FlushEverything() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status FlushWhatIsOwed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The unit's TLBs first, then, behind a CMD_SYNC, the devices'.
  absl::Status SubmitInOrder(const Commands& tlb, const Commands& devices)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // ATC_INVs. Goes on without the streams whose devices do not answer.
  // kInternal: as SmmuCommandQueue::Submit.
  absl::Status SubmitToDevices(absl::Span<const smmu::Command> commands)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // kInternal: it is blocked in memory, but the flush is owed.
  absl::Status Quarantine(SmmuStream* stream) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Appends what the unit's TLBs are to drop of a range.
  void AppendRange(const TagUse& use, const IovaRange& range, bool leaves_only,
                   Commands* batch) const;
  // Appends what devices on a tag are to drop of the ranges.
  void AppendDevices(const UnitTag& tag, absl::Span<const IovaRange> ranges, Commands* batch) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether guests' first stages lie on the second stage of this VMID.
  bool IsNestedOn(uint32_t vmid) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const IommuSpec spec_;
  TableArena& arena_;
  std::unique_ptr<hardware::SmmuModel> hardware_;
  std::unique_ptr<SmmuStreamTable> stream_table_;  // Constant once Create has returned.
  std::unique_ptr<SmmuCommandQueue> queue_;
  std::unique_ptr<SmmuEventQueue> events_;
  std::unique_ptr<SmmuPageRequestQueue> page_requests_;  // Goes before the queue.

  mutable absl::Mutex mutex_;  // Also held by the only writer of an entry.
  absl::flat_hash_map<uint32_t, SmmuStream> streams_ ABSL_GUARDED_BY(mutex_);  // By StreamID.
  DomainIds asids_ ABSL_GUARDED_BY(mutex_);
  DomainIds vmids_ ABSL_GUARDED_BY(mutex_);
  bool flush_owed_ ABSL_GUARDED_BY(mutex_) = false;  // The last FlushEverything failed.
  QuarantineList quarantined_;                       // Changed under mutex_.
  std::vector<std::shared_ptr<const void>> kept_ ABSL_GUARDED_BY(mutex_);  // KeepUntilFlushed.
};

template <typename Store>
absl::Status SmmuUnit::SetEntry(const Store& store, uint32_t stream_id, uint32_t pasid,
                                const UnitTranslation& target) {
  absl::MutexLock lock(&mutex_);
  SmmuStream& stream = streams_.at(stream_id);
  if (target.kind != TranslationKind::kBlocked) {
    RETURN_IF_ERROR(PrepareLocked(&stream, pasid, target.kind));
  }
  RETURN_IF_ERROR(FlushWhatIsOwed());
  const UnitTranslation old = stream.At(pasid);
  // A guest is told of what happens on its stage, and not of what happened before.
  if (target.kind == TranslationKind::kNested && old.kind != target.kind) {
    events_->Forget(stream_id);
  }
  absl::Status status = ChangeLocked(store, &stream, pasid, target);
  if (!status.ok()) {
    ForceLocked(store, &stream, pasid, old);
    return status;
  }
  AnswerUntaken(stream, pasid, old);
  return status;
}

template <typename Store>
absl::Status SmmuUnit::BlockEntry(const Store& store, uint32_t stream_id, uint32_t pasid) {
  absl::MutexLock lock(&mutex_);
  SmmuStream& stream = streams_.at(stream_id);
  const UnitTranslation old = stream.At(pasid);
  if (!FlushWhatIsOwed().ok() || !ChangeLocked(store, &stream, pasid, {}).ok()) {
    ForceLocked(store, &stream, pasid, {});
  }
  AnswerUntaken(stream, pasid, old);
  return FlushWhatIsOwed();
}

template <typename Store>
void SmmuUnit::ForceEntry(const Store& store, uint32_t stream_id, uint32_t pasid,
                          const UnitTranslation& target) {
  absl::MutexLock lock(&mutex_);
  ForceLocked(store, &streams_.at(stream_id), pasid, target);
}

template <typename Store>
absl::Status SmmuUnit::ChangeLocked(const Store& store, SmmuStream* stream, uint32_t pasid,
                                    const UnitTranslation& target) {
  const UnitTranslation old = stream->At(pasid);
  const auto flush_config = [this](const smmu::Command& command) {
    return queue_->Submit(absl::MakeConstSpan(&command, 1));
  };
  RETURN_IF_ERROR(ChangeTables(store, stream, pasid, target, flush_config));
  return FlushOld(*stream, pasid, old);
}

template <typename Store>
void SmmuUnit::ForceLocked(const Store& store, SmmuStream* stream, uint32_t pasid,
                           const UnitTranslation& target) {
  bool changed = false;
  const auto flush_config = [&](const smmu::Command& command) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    changed = true;
    if (!queue_->Submit(absl::MakeConstSpan(&command, 1)).ok()) flush_owed_ = true;
    return absl::OkStatus();
  };
  // This flush answers OK. Without a store there is nothing that was not there before.
  ChangeTables(store, stream, pasid, target, flush_config).IgnoreError();
  // Not on the way: the stream may come out of it quarantined, its entry written anew.
  if (changed) FlushEverything().IgnoreError();  // Then it is owed.
}

template <typename Store>
absl::Status SmmuUnit::ChangeTables(const Store& store, SmmuStream* stream, uint32_t pasid,
                                    const UnitTranslation& target, FlushConfig flush_config) {
  stream->Put(pasid, target);
  const bool cd_first = pasid != kRidPasid || IsFirstStage(target.kind);
  if (cd_first) RETURN_IF_ERROR(ChangeCd(store, *stream, pasid, flush_config));
  RETURN_IF_ERROR(ChangeSte(store, stream, flush_config));
  return cd_first ? absl::OkStatus() : ChangeCd(store, *stream, pasid, flush_config);
}

template <typename Store>
absl::Status SmmuUnit::ChangeCd(const Store& store, const SmmuStream& stream, uint32_t pasid,
                                FlushConfig flush_config) {
  uint64_t* const words = stream.cds == nullptr ? nullptr : stream.cds->Words(pasid);
  if (words == nullptr) return absl::OkStatus();  // Without room for it, it is invalid.
  const auto plan = PlanEntry<smmu::CdArchitecture>(stream.cds->Read(pasid),
                                                    smmu::CdFor(spec_, stream, stream.At(pasid)));
  return WriteEntry(plan, words, store, [&] {
    // What leads to the descriptor may be new as well.
    return flush_config(smmu::InvalidateCd(stream.id, pasid, /*leaf_only=*/false));
  });
}

template <typename Store>
absl::Status SmmuUnit::ChangeSte(const Store& store, SmmuStream* stream, FlushConfig flush_config) {
  const smmu::Ste target = smmu::SteFor(spec_, *stream);
  if (!smmu::AllowsAts(target)) SwitchAts(stream, false);
  const auto plan = PlanEntry<smmu::SteArchitecture>(stream_table_->Read(stream->id), target);
  RETURN_IF_ERROR(WriteEntry(plan, stream_table_->Words(stream->id), store, [&] {
    return flush_config(smmu::InvalidateSte(stream->id, /*leaf_only=*/true));
  }));
  if (smmu::AllowsAts(target)) SwitchAts(stream, true);
  return absl::OkStatus();
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SMMU_UNIT_H_
