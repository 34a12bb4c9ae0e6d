// engine/backend/soft/hardware/smmu_model.h -- One Arm SMMUv3, as devices and as software's
// register accesses meet it.
//
// Its purpose is to prove wrong whoever writes the tables: it shares no code with the writers,
// reads the bits in memory as the hardware would, never more than one 64-bit word at a time, and
// uses stale cache entries until the right command is consumed.
//
// Modelled: stream tables and context descriptors (linear and two-level), stage 1, stage 2 and both
// nested with 4, 16 and 64 KiB granules, hardware access flags and dirty state, substreams, TLBs
// tagged by VMID and ASID, the command, event and PRI queues, stalls, ATS; each as the Spec says.
// Not offered: see smmu_spec.h.
//
// Thread-safe: one lock per unit. A DMA holds it while it translates and moves one page, so when
// the write that moved the queue's PROD over a CMD_SYNC has returned (and the queue neither hangs
// nor stopped), no access made with an earlier translation is still under way.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_MODEL_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_MODEL_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/backend/soft/hardware/smmu_command_queue.h"
#include "engine/backend/soft/hardware/smmu_counters.h"
#include "engine/backend/soft/hardware/smmu_event_queue.h"
#include "engine/backend/soft/hardware/smmu_page_requests.h"
#include "engine/backend/soft/hardware/smmu_registers.h"
#include "engine/backend/soft/hardware/smmu_request.h"
#include "engine/backend/soft/hardware/smmu_spec.h"
#include "engine/backend/soft/hardware/smmu_stalls.h"
#include "engine/backend/soft/hardware/smmu_trace.h"
#include "engine/backend/soft/hardware/smmu_translator.h"
#include "engine/backend/soft/physical_memory.h"

namespace viommu::hardware {

class SmmuModel {
 public:
  using Spec = smmu::Spec;
  using Request = smmu::Request;
  using Translation = smmu::Translation;
  using Outcome = smmu::Outcome;
  using Counters = smmu::Counters;

  using Interrupt = smmu::Interrupt;
  using InterruptHandler = std::function<void(Interrupt)>;

  // `memory` outlives the model.
  SmmuModel(const Spec& spec, PhysicalMemory* memory);
  SmmuModel(const SmmuModel&) = delete;
  SmmuModel& operator=(const SmmuModel&) = delete;

  // Before the first interrupt can happen. The handler is called by the thread that caused the
  // interrupt, once it holds no lock of the model: it may use the model.
  void SetInterruptHandler(InterruptHandler handler);

  // The registers, by byte offset, naturally aligned; what is not there reads 0 and ignores writes.
  // A 64-bit access is two 32-bit ones, low half first. Updates complete at once: an ACK register
  // reads what was written, GBPA.UPDATE reads 0.
  //   0x00 IDR0  0x04 IDR1  0x0c IDR3  0x14 IDR5  0x1c AIDR
  //   0x20 CR0 (SMMUEN 0, PRIQEN 1, EVENTQEN 2, CMDQEN 3, ATSCHK 4)  0x24 CR0ACK
  //   0x28 CR1  0x2c CR2 (E2H 0, RECINVSID 1)  0x44 GBPA (ABORT 20, UPDATE 31)
  //   0x50 IRQ_CTRL (GERROR 0, PRIQ 1, EVENTQ 2)  0x54 IRQ_CTRLACK  0x60 GERROR  0x64 GERRORN
  //   0x80 STRTAB_BASE  0x88 STRTAB_BASE_CFG  0x90 CMDQ_BASE  0x98 CMDQ_PROD  0x9c CMDQ_CONS
  //   0xa0 EVENTQ_BASE  0xc0 PRIQ_BASE
  //   0x100a8 EVENTQ_PROD  0x100ac EVENTQ_CONS  0x100c8 PRIQ_PROD  0x100cc PRIQ_CONS
  // Writing CMDQ_PROD, setting CR0.CMDQEN and acknowledging GERROR.CMDQ_ERR consume commands before
  // they return. STRTAB_BASE and _CFG are fixed while SMMUEN, a queue's base while its enable is
  // set. GERROR bits: CMDQ_ERR 0, EVENTQ_ABT_ERR 2, PRIQ_ABT_ERR 3, MSI_CMDQ_ABT_ERR 4.
  uint32_t Read32(uint32_t offset) const;
  uint64_t Read64(uint32_t offset) const;
  void Write32(uint32_t offset, uint32_t value);
  void Write64(uint32_t offset, uint64_t value);

  // Whether the device has its ATS switched on. Switched off it forgets what it kept.
  void SetDeviceTlb(uint32_t stream_id, bool on);
  // Whether a device answers invalidations of its device TLB, now and whenever its ATS is on again;
  // it does at first. One that does not drops nothing, and the next CMD_SYNC stops the queue with
  // error 3.
  void SetDeviceTlbAnswers(uint32_t stream_id, bool answers);

  // A device's access of data.size() bytes: a read fills `data`, a write takes from it. Moves page
  // by page and stops at the first fault, which is recorded. Never waits: an access that stalls is
  // told as such, with what was moved before. Untranslated accesses of a device whose ATS is on go
  // through its device TLB: it asks for what it does not know, and then makes translated ones.
  // Where it is told that it may not, it makes an untranslated one all the same, so that the reason
  // is on record.
  Outcome Access(const Request& request, absl::Span<char> data);

  // Translates as for an access of one byte: uses and fills the caches, records a fault (but never
  // stalls: what would is recorded without STALL). What the unit does with the request as it is:
  // never through a device TLB.
  Translation Translate(const Request& request);

  // An access of one byte that moves nothing, for a device that wants to know whether it could: the
  // caches are used and filled, a fault is recorded, and it stalls as Access does.
  Outcome Touch(const Request& request);

  // A cold look: walks memory as it is now, without using or filling any cache and without marking,
  // recording or counting anything.
  Translation Probe(const Request& request) const;
  // The same, also told what was read on the way: `trace` becomes that. For an untranslated request
  // it is also what becomes of an Access of a device whose ATS is on and that remembers nothing:
  // one that is not granted what it asks for makes an untranslated access.
  Translation Explain(const Request& request, smmu::Trace* trace) const;

  // What software answered to the stalled access, once it has; nullopt when `timeout` passes first.
  // Takes the answer: it is given once. kAbort for ids that are not, or no longer, known.
  std::optional<smmu::ResumeAnswer> AwaitResume(uint64_t stall_id, absl::Duration timeout);

  // What stalled accesses of a stream were answered, oldest first: the last 64.
  std::vector<smmu::Resumed> Resumed(uint32_t stream_id) const;

  // A page request of a device, whatever its entry says of ATS. Behind a unit without substreams it
  // is one without PASID.
  smmu::PageRequestFate RequestPages(smmu::PageRequest request);

  // What groups of page requests of a stream were answered, by software or by the unit, oldest
  // first: the last 64.
  std::vector<smmu::PageResponse> PageResponses(uint32_t stream_id) const;

  // Injected faults of the command queue. A queue hangs when it has consumed `commands` more;
  // nullopt: it goes on. A fetch that aborts stops the queue with error 2 instead of the next
  // command; once.
  void HangCommandQueueAfter(std::optional<uint64_t> commands);
  void AbortNextCommandFetch();

  // The worst that a unit's speculation may do: after each command that takes something out of the
  // caches, what recent requests needed is read again from memory as it then is. Software that
  // invalidates before it changes memory is found out. Off at first.
  void SetRefills(bool on);
  // Forgets everything that is cached (but no device TLB), as a unit may at any time.
  void ForgetCaches();

  Counters counters() const;

 private:
  smmu::Translation TranslateLocked(const Request& request, bool may_stall, uint64_t* stall_id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  smmu::Translation TranslateThroughDeviceTlb(const Request& request, uint64_t* stall_id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Moves as much of `data` as lies on the first page; false when the access ends there.
  bool AccessPage(const Request& request, absl::Span<char> data, Outcome* outcome)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint32_t ReadLocked(uint32_t offset) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void WriteLocked(uint32_t offset, uint32_t value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint32_t ReadQueue(uint32_t offset) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void WriteQueue(uint32_t offset, uint32_t value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteControl(uint32_t value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteStreamTable(uint64_t value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Stalls whose events found no place are retried once there is some.
  void RetryUnrecorded() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Report(bool may_stall, smmu::Event* event, uint64_t* stall_id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The interrupts that are due since the last call; to be raised without the lock.
  std::vector<Interrupt> TakeInterrupts() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Raise(const std::vector<Interrupt>& interrupts) const;

  const Spec spec_;
  PhysicalMemory& memory_;
  const smmu::Translator translator_;
  InterruptHandler handler_;

  mutable absl::Mutex mutex_;
  smmu::Registers registers_ ABSL_GUARDED_BY(mutex_);
  smmu::WarmState warm_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<uint32_t> silent_
      ABSL_GUARDED_BY(mutex_);  // Whose device TLBs do not answer.
  smmu::EventQueue events_ ABSL_GUARDED_BY(mutex_);
  smmu::PageRequests page_requests_ ABSL_GUARDED_BY(mutex_);
  smmu::Stalls stalls_ ABSL_GUARDED_BY(mutex_);
  smmu::CommandQueue commands_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_MODEL_H_
