// engine/backend/soft/hardware/smmu_command_queue.h -- The command queue of an SMMUv3, as the
// device side sees it: a ring of commands in memory, consumed in order.
//
// Sources: Arm IHI 0070 3.5, 4.1 (errors), 4.7.3 (CMD_SYNC), 7.1 (command queue errors).
//
// Commands are consumed in the thread that moves PROD, so when that write returns everything up to
// it has happened, or the queue hangs or has stopped with an error.
//
// Thread-compatible: the SmmuModel holds its lock.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_COMMAND_QUEUE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_COMMAND_QUEUE_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/backend/soft/hardware/smmu_commands.h"
#include "engine/backend/soft/hardware/smmu_page_requests.h"
#include "engine/backend/soft/hardware/smmu_registers.h"
#include "engine/backend/soft/hardware/smmu_request.h"
#include "engine/backend/soft/hardware/smmu_ring.h"
#include "engine/backend/soft/hardware/smmu_spec.h"
#include "engine/backend/soft/hardware/smmu_stalls.h"
#include "engine/backend/soft/hardware/smmu_translator.h"
#include "engine/backend/soft/physical_memory.h"

namespace viommu::hardware::smmu {

class CommandQueue {
 public:
  // What commands act on. All outlive the queue.
  struct Parts {
    const Spec* spec;
    const Translator* translator;
    PhysicalMemory* memory;
    Registers* registers;
    WarmState* warm;
    PageRequests* page_requests;
    Stalls* stalls;
  };

  explicit CommandQueue(const Parts& parts)
      : ring_(kEntryLog2, parts.spec->command_queue_log2),
        spec_(*parts.spec),
        translator_(*parts.translator),
        memory_(*parts.memory),
        registers_(*parts.registers),
        warm_(*parts.warm),
        page_requests_(*parts.page_requests),
        stalls_(*parts.stalls) {}

  // PROD: index. CONS: ERR 30:24, index; software sets it while the queue is off.
  uint32_t ReadProducer() const { return ring_.producer(); }
  uint32_t ReadConsumer() const { return ring_.consumer() | error_ << kErrorShift; }
  void WriteProducer(uint32_t value) { ring_.WriteProducer(value); }
  void WriteConsumer(uint32_t value);
  uint64_t base() const { return ring_.base(); }
  // Fixed while the queue is on.
  void WriteBase(uint64_t value);

  // Consumes up to PROD. Stops with GERROR.CMDQ_ERR, CONS on the culprit and its reason in
  // CONS.ERR: 1 for what is no legal command, 2 for one that cannot be read, 3 for a CMD_SYNC after
  // an ATC_INV that the device did not answer; the same CMD_SYNC then succeeds when it is consumed
  // again. Does nothing while the queue is off, hangs or that error is not acknowledged.
  void Run();

  // Injected faults; see SmmuModel.
  void HangAfter(std::optional<uint64_t> commands) { commands_until_hang_ = commands; }
  void AbortNextFetch() { abort_next_fetch_ = true; }
  void SetRefills(bool on);
  // That a request was translated; remembered if there are refills.
  void NoteRequest(const Request& request);

 private:
  // CONS.ERR
  enum Error : uint32_t { kNoError = 0, kIllegal = 1, kAbort = 2, kAtcTimeout = 3 };

  static constexpr int kEntryLog2 = 4;
  static constexpr int kErrorShift = 24;
  static constexpr size_t kMaxRecent = 32;

  bool Fetch(Command* command);
  Error Consume(const Command& command);
  Error ConsumeInvalidation(const Command& command);
  Error ConsumeAtcInvalidation(const Command& command);
  Error ConsumePageResponse(const Command& command);
  Error ConsumeStallCommand(const Command& command);
  Error ConsumeSync(const Command& command);
  // Reads again what the noted requests need.
  void Refill();

  Ring ring_;
  const Spec& spec_;
  const Translator& translator_;
  PhysicalMemory& memory_;
  Registers& registers_;
  WarmState& warm_;
  PageRequests& page_requests_;
  Stalls& stalls_;

  uint32_t error_ = kNoError;
  bool unanswered_ = false;  // A CMD_SYNC will be in vain: some device did not answer.
  std::optional<uint64_t> commands_until_hang_;
  bool abort_next_fetch_ = false;
  bool refills_ = false;
  std::vector<Request> recent_;  // Oldest first.
};

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_COMMAND_QUEUE_H_
