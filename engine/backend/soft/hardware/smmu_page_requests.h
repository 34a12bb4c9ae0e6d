// engine/backend/soft/hardware/smmu_page_requests.h -- The PRI queue of an SMMUv3, and the answers
// that devices wait for.
//
// Sources: Arm IHI 0070 8 (PRI queue, overflow, automatic responses), 4.5.2 (CMD_PRI_RESP).
//
// Thread-compatible: the SmmuModel holds its lock.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_PAGE_REQUESTS_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_PAGE_REQUESTS_H_

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "engine/backend/soft/hardware/smmu_counters.h"
#include "engine/backend/soft/hardware/smmu_registers.h"
#include "engine/backend/soft/hardware/smmu_request.h"
#include "engine/backend/soft/hardware/smmu_ring.h"
#include "engine/backend/soft/physical_memory.h"

namespace viommu::hardware::smmu {

class PageRequests {
 public:
  // All outlive the object.
  PageRequests(int max_log2, PhysicalMemory* memory, Registers* registers, Counters* counters)
      : ring_(kEntryLog2, max_log2),
        memory_(*memory),
        registers_(*registers),
        counters_(*counters) {}

  // Writes the record of a page request. False: it is lost, and if it was the last of its group
  // answered: with success where the queue is full or was and nobody has acknowledged it, so that
  // the device tries again; with a response failure where it is off or memory does not take it.
  bool Add(const PageRequest& request);

  // CMD_PRI_RESP. Nothing happens when no group of this kind waits.
  void Answer(uint32_t stream_id, uint16_t group, PageAnswer answer);
  bool Answered(uint32_t stream_id, uint16_t group) const {
    return answers_.contains(Group(stream_id, group));
  }
  // The answer, once; none: there is none yet.
  std::optional<PageAnswer> Take(uint32_t stream_id, uint16_t group);

  // As of an EventQueue.
  uint32_t ReadProducer() const { return ring_.producer() | overflow_; }
  uint32_t ReadConsumer() const { return ring_.consumer() | acknowledged_; }
  void WriteProducer(uint32_t value);
  void WriteConsumer(uint32_t value);
  uint64_t base() const { return ring_.base(); }
  void WriteBase(uint64_t value);

 private:
  static constexpr int kEntryLog2 = 4;
  static constexpr uint32_t kOverflow = 1u << 31;

  using Group =
      std::pair<uint32_t, uint16_t>;  // Stream, PRG index: bounded by what devices there are.

  bool Lose(const PageRequest& request, PageAnswer answer);
  bool Store(const PageRequest& request);

  Ring ring_;
  PhysicalMemory& memory_;
  Registers& registers_;
  Counters& counters_;
  uint32_t overflow_ = 0;
  uint32_t acknowledged_ = 0;
  absl::btree_set<Group> waiting_;
  absl::btree_map<Group, PageAnswer> answers_;
};

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_PAGE_REQUESTS_H_
