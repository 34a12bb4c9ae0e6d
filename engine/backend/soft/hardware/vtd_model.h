// engine/backend/soft/hardware/vtd_model.h -- One Intel VT-d unit in scalable mode, as a device and
// as software's register accesses meet it.
//
// Its purpose is to prove wrong whoever writes the tables: it shares no code with the writers,
// reads the bits in memory as the hardware would, never more than one atomic unit at a time, and
// uses stale cache entries until the right invalidation descriptor is consumed.
//
// Modelled: first-stage, second-stage, nested and pass-through translation (PGTT 1 to 4) with
// accessed and dirty bits, requests with and without PASID, user and supervisor requests, device
// TLBs, page requests, fault recording, queued invalidation; each as CAP and ECAP say. Not offered,
// whatever Config asks for, and therefore reserved, faulting or unknown where software uses it:
// legacy mode (RTA.1), interrupt remapping, caching mode; see vtd_capabilities.h.
//
// Thread-safe: one lock per unit. A DMA holds it while it translates and moves one page, so when
// the write that moved the queue's tail over a wait descriptor has returned, no access made with an
// earlier translation is still under way.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_MODEL_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_MODEL_H_

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "engine/backend/soft/hardware/vtd_capabilities.h"
#include "engine/backend/soft/hardware/vtd_counters.h"
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/hardware/vtd_fault_registers.h"
#include "engine/backend/soft/hardware/vtd_invalidation_queue.h"
#include "engine/backend/soft/hardware/vtd_page_requests.h"
#include "engine/backend/soft/hardware/vtd_request.h"
#include "engine/backend/soft/hardware/vtd_trace.h"
#include "engine/backend/soft/hardware/vtd_translator.h"
#include "engine/backend/soft/physical_memory.h"

namespace viommu::hardware {

class VtdModel {
 public:
  using Request = hardware::Request;
  using Translation = hardware::Translation;
  using Counters = hardware::Counters;

  struct Config {
    uint64_t capability = 0;           // CAP
    uint64_t extended_capability = 0;  // ECAP
    int host_address_width = 46;       // Bits of a physical address: 32 to 52.
  };

  struct Outcome {
    uint8_t fault_reason = 0;     // FaultReason; 0: none.
    uint64_t fault_address = 0;   // Where the access stopped, if it did.
    uint64_t bytes_done = 0;      // Before it stopped.
    bool is_interrupt = false;    // Some of the bytes were interrupt messages.
    bool memory_missing = false;  // Stopped because no memory answers where it was led.
  };

  // `memory` outlives the model.
  VtdModel(const Config& config, PhysicalMemory* memory);
  VtdModel(const VtdModel&) = delete;
  VtdModel& operator=(const VtdModel&) = delete;

  // The registers, by byte offset, naturally aligned; what is not there reads 0 and ignores writes.
  // A 64-bit access is two 32-bit ones, low half first.
  //   0x00 VER  0x08 CAP  0x10 ECAP  0x18 GCMD (TE, SRTP, QIE; WBF completes at once)  0x1c GSTS
  //   0x20 RTADDR (latched by SRTP)  0x34 FSTS  0x38 FECTL  0x80 IQH  0x88 IQT  0x90 IQA  0x9c ICS
  //   0xb0 IQERCD (ITESID alone)  0xc0 PQH  0xc8 PQT  0xd0 PQA  0xdc PRS (with ECAP.PRS)
  //   CAP.FRO * 16: the fault recording registers
  // Writing IQT, enabling the queue and clearing FSTS.IQE or ITE consume descriptors before they
  // return.
  uint32_t Read32(uint32_t offset) const;
  uint64_t Read64(uint32_t offset) const;
  void Write32(uint32_t offset, uint32_t value);
  void Write64(uint32_t offset, uint64_t value);

  // Whether the function has its ATS switched on. Switched off it forgets what it kept.
  void SetDeviceTlb(uint16_t source_id, bool on);
  // Whether a function answers invalidations of its device TLB, now and whenever its ATS is on
  // again; it does at first.
  void SetDeviceTlbAnswers(uint16_t source_id, bool answers);

  // A function asks for a page. A request that software is not to hear of is recorded as a fault,
  // and answered kInvalid if it is the last of its group. False, with nothing done: the function
  // waits for an answer to that group.
  bool RequestPage(const PageRequest& request);
  // What the function was told, oldest first, as far as it remembers.
  std::vector<PageRequesters::Response> PageResponses(uint16_t source_id) const;

  // A device's access of data.size() bytes: a read fills `data`, a write takes from it. Moves page
  // by page and stops at the first fault, which is recorded. Untranslated accesses of a function
  // whose ATS is on go through its device TLB: it asks for what it does not know, and then makes
  // translated ones. Where it is told that it may not, it makes an untranslated one all the same,
  // so that the reason is on record. Messages in the interrupt range are never translated by a
  // device.
  Outcome Access(const Request& request, absl::Span<char> data);

  // Translates as for an access of one byte: uses and fills the caches, records a fault. What the
  // unit does with the request as it is: never through a device TLB.
  Translation Translate(const Request& request);

  // A cold look: walks memory as it is now, without using or filling any cache and without
  // recording or counting anything.
  Translation Probe(const Request& request) const;

  // The same for an access of a device that remembers nothing, whose ATS may be on: the answer that
  // an Access would get if no cache held anything. `trace` becomes what was read on the way.
  Translation Explain(const Request& request, Trace* trace) const;

  Counters counters() const;

 private:
  Translation TranslateLocked(const Request& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool AsksFirst(const Request& request) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  Translation TranslateThroughDeviceTlb(const Request& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Moves as much of `data` as lies on the first page; false when the access ends there.
  bool AccessPage(const Request& request, absl::Span<char> data, Outcome* outcome);
  uint32_t ReadLocked(uint32_t offset) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void WriteLocked(uint32_t offset, uint32_t value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint32_t ReadPageRequests(uint32_t offset) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void WritePageRequests(uint32_t offset, uint32_t value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Command(uint32_t value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool InFaultRecords(uint32_t offset) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  const Capabilities capabilities_;
  PhysicalMemory& memory_;
  const Translator translator_;

  mutable absl::Mutex mutex_;
  WarmState warm_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<uint16_t> silent_
      ABSL_GUARDED_BY(mutex_);  // Whose device TLBs do not answer.
  FaultRegisters faults_ ABSL_GUARDED_BY(mutex_);
  InvalidationQueue queue_ ABSL_GUARDED_BY(mutex_);
  PageRequestQueue page_requests_ ABSL_GUARDED_BY(mutex_);
  uint64_t root_register_ ABSL_GUARDED_BY(mutex_) = 0;  // RTADDR as written.
  uint64_t root_latched_ ABSL_GUARDED_BY(mutex_) = 0;   // RTADDR in force.
  bool root_set_ ABSL_GUARDED_BY(mutex_) = false;       // GSTS.RTPS
  bool enabled_ ABSL_GUARDED_BY(mutex_) = false;        // GSTS.TES
};

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_MODEL_H_
