// tests/faults/command_queue_faults.h -- What can go wrong with the command queues of SMMUv3s;
// devices that do not answer are another matter (fault_silence.cc).
#ifndef VIOMMU_TESTS_FAULTS_COMMAND_QUEUE_FAULTS_H_
#define VIOMMU_TESTS_FAULTS_COMMAND_QUEUE_FAULTS_H_

#include <cstdint>
#include <vector>

#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/soft_backend.h"

namespace viommu::faults {

enum class QueueFault {
  kHangs,    // It consumes no more: a CMD_SYNC times out.
  kIsFull,   // The same, and there is no room for a command.
  kIllegal,  // It hangs, and then stops at a command that there is not (CERROR_ILL).
  kAborts,   // It can not read a command (CERROR_ABT).
};
inline constexpr uint64_t kQueueFaults = 4;

// Of all units of a host.
class CommandQueueFaults {
 public:
  // `backend` outlives it.
  explicit CommandQueueFaults(SoftBackend* backend);

  // What hangs does after so many commands more.
  void Break(QueueFault fault, uint64_t commands);
  // What was submitted and not consumed is forgotten: nothing but a new flush makes good for it.
  void Mend();
  // Nothing is owed any more, and no fault is left that nobody met. False: the queues do not
  // recover.
  bool Settle();

 private:
  static void Fill(SmmuUnit& unit);
  void ForgetCommands(hardware::SmmuModel& unit);

  SoftBackend& backend_;
  std::vector<SmmuUnit*> units_;
  QueueFault fault_ = QueueFault::kHangs;
};

}  // namespace viommu::faults

#endif  // VIOMMU_TESTS_FAULTS_COMMAND_QUEUE_FAULTS_H_
