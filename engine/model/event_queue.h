// engine/model/event_queue.h -- Events that wait for their reader, and the count of those that did
// not fit.
//
// Every report takes a number, fitting or not. While the queue is full, one marker behind the last
// event stands for what was lost; its number is that of the last one lost. The next event that fits
// takes its place: from then on the gap in the numbers tells (iommufd-semantics.md section 12.3).
// Nothing leaves until it is acknowledged. Thread-compatible: guarded by the pipeline's lock.
#ifndef VIOMMU_ENGINE_MODEL_EVENT_QUEUE_H_
#define VIOMMU_ENGINE_MODEL_EVENT_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "engine/types.h"

namespace viommu {

class EventQueue {
 public:
  // What is reported next is number `next`. Sequence numbers are what is left of numbers modulo
  // 2^31.
  explicit EventQueue(uint32_t depth, uint64_t next = 0) : depth_(depth), next_(next) {}

  // False: it was lost.
  bool Report(const ArmSmmuV3Event& event);
  // So many were lost before they came here.
  void ReportLost(uint64_t count);

  // The first entry with a number not below `from`: its number and what it is.
  struct Entry {
    uint64_t number = 0;
    EventView view;
  };
  std::optional<Entry> FirstFrom(uint64_t from) const;

  // Takes out everything up to `number`.
  void Acknowledge(uint64_t number);

  // The highest number not above `told` that has this sequence number; none.
  static std::optional<uint64_t> NumberOf(uint32_t sequence, uint64_t told);
  static uint32_t SequenceOf(uint64_t number) { return static_cast<uint32_t>(number % kSequences); }

  uint32_t depth() const { return depth_; }
  size_t size() const { return events_.size(); }
  uint64_t reported() const { return reported_; }
  uint64_t lost() const { return lost_; }
  uint64_t next() const { return next_; }

 private:
  static constexpr uint64_t kSequences = uint64_t{1} << 31;

  struct Queued {
    uint64_t number = 0;
    ArmSmmuV3Event event;
  };

  const uint32_t depth_;
  uint64_t next_;
  uint64_t reported_ = 0;
  uint64_t lost_ = 0;
  std::deque<Queued> events_;       // Ascending.
  std::optional<uint64_t> marker_;  // Above them.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_EVENT_QUEUE_H_
