#include "tests/faults/command_queue_faults.h"

#include <algorithm>
#include <array>
#include <optional>

#include "absl/types/span.h"
#include "engine/backend/soft/smmu_registers.h"
#include "engine/base/address.h"

namespace viommu::faults {
namespace {

constexpr uint64_t kSync = 0x46;     // CMD_SYNC, that tells nobody.
constexpr uint64_t kIllegal = 0xff;  // No command.
constexpr uint64_t kCommandBytes = 16;
// CMDQ_BASE (Arm IHI 0070 6.3.26).
constexpr uint64_t kRingAddress = 0xfffffffffffe0;
constexpr uint64_t kRingSizeLog2 = 0x1f;

}  // namespace

CommandQueueFaults::CommandQueueFaults(SoftBackend* backend) : backend_(*backend) {
  SoftMachine& machine = backend_.machine();
  for (DeviceIndex i = 0; i < machine.topology().devices.size(); ++i) {
    SmmuUnit* const unit = &machine.smmu_of(i);
    if (std::find(units_.begin(), units_.end(), unit) == units_.end()) units_.push_back(unit);
  }
}

void CommandQueueFaults::Break(QueueFault fault, uint64_t commands) {
  fault_ = fault;
  for (SmmuUnit* const unit : units_) {
    if (fault == QueueFault::kAborts) unit->hardware().AbortNextCommandFetch();
    if (fault == QueueFault::kHangs || fault == QueueFault::kIllegal) {
      unit->hardware().HangCommandQueueAfter(commands);
    }
    if (fault == QueueFault::kIsFull) Fill(*unit);
  }
}

void CommandQueueFaults::Fill(SmmuUnit& unit) {
  const std::vector<std::array<uint64_t, 2>> syncs(SmmuCommandQueue::kEntries - 1, {kSync, 0});
  unit.hardware().HangCommandQueueAfter(0);
  size_t handled = 0;
  unit.Execute(syncs, &handled).IgnoreError();  // They wait in the ring.
}

void CommandQueueFaults::Mend() {
  for (SmmuUnit* const unit : units_) {
    ForgetCommands(unit->hardware());
    unit->hardware().HangCommandQueueAfter(std::nullopt);
  }
}

bool CommandQueueFaults::Settle() {
  constexpr int kTries = 3;  // An error that waits, one of what is owed, and then none.
  const std::array<uint64_t, 2> sync = {kSync, 0};
  return std::all_of(units_.begin(), units_.end(), [&](SmmuUnit* unit) {
    for (int i = 0; i < kTries; ++i) {
      size_t handled = 0;
      if (unit->Execute(absl::MakeConstSpan(&sync, 1), &handled).ok()) return true;
    }
    return false;
  });
}

void CommandQueueFaults::ForgetCommands(hardware::SmmuModel& unit) {
  const uint64_t base = unit.Read64(smmu::kCommandQueueRegister);
  const uint32_t entries = uint32_t{1} << (base & kRingSizeLog2);
  const uint32_t index_mask = 2 * entries - 1;
  const uint32_t producer = unit.Read32(smmu::kCommandProducerRegister) & index_mask;
  PhysicalMemory& memory = backend_.machine().memory().physical();
  uint64_t command = fault_ == QueueFault::kIllegal ? kIllegal : kSync;
  for (uint32_t slot = unit.Read32(smmu::kCommandConsumerRegister) & index_mask; slot != producer;
       slot = (slot + 1) & index_mask) {
    const PhysAddr place{(base & kRingAddress) + kCommandBytes * (slot & (entries - 1))};
    memory.Store64(place, command);
    memory.Store64(PhysAddr{place.value + 8}, 0);
    command = kSync;
  }
}

}  // namespace viommu::faults
