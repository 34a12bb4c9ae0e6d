// engine/model/flush_queue.h -- What the host has unmapped in a DMA_FQ default domain and caches
// may still hold: when it is flushed, and when its addresses may be used again.
//
// Every range waits for a flush of the whole domain that began after the range was queued and has
// completed (iommufd-semantics.md section 21; reliability case 1). Flushes are numbered in the
// order in which they begin; several may be under way, and a failed one lets nothing go.
#ifndef VIOMMU_ENGINE_MODEL_FLUSH_QUEUE_H_
#define VIOMMU_ENGINE_MODEL_FLUSH_QUEUE_H_

#include <array>
#include <cstdint>
#include <deque>
#include <iterator>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"
#include "engine/base/address.h"
#include "engine/model/area.h"
#include "engine/types.h"

namespace viommu {

// Guarded by the pipeline's lock; thread-compatible.
class FlushQueue {
 public:
  // Why the domain was flushed.
  enum class Cause {
    kFull,   // A further range had no place.
    kTimer,  // The first range had waited for as long as it may.
    kSync,   // The domain was about to be left, or to become strict.
  };
  static constexpr Cause kCauses[] = {Cause::kFull, Cause::kTimer, Cause::kSync};

  explicit FlushQueue(const FlushQueueOptions& options = FlushQueueOptions()) : options_(options) {}

  size_t size() const { return waiting_.size(); }
  bool empty() const { return waiting_.empty(); }
  // One slot of a ring stays free, so that a full one can be told from an empty one.
  bool full() const { return waiting_.size() + 1 >= options_.ring_entries; }
  // Whether the range that begins at `first` waits.
  bool Holds(Iova first) const { return held_.contains(first); }

  // When the timer is to flush; never, while nothing waits for it.
  absl::Time deadline() const { return deadline_; }
  // Whether it is time. A clock that was set back makes nothing wait longer than the time-out.
  bool IsDue(absl::Time now) const {
    return !empty() && (now >= deadline_ || deadline_ - now > options_.timeout);
  }

  // A range that was unmapped, its entries cleared; the queue is not full.
  void Push(const PlacedArea& area, absl::Time now);

  // A flush is about to begin; answers its number. Nothing else changes: it may as well be
  // forgotten.
  uint64_t Begin() { return ++begun_; }
  // The flush has completed: answers the ranges that may be used again, oldest first.
  std::vector<PlacedArea> Complete(uint64_t flush, Cause cause);
  // A flush failed: everything waits on, and the timer tries again after another time-out.
  void Fail(absl::Time now);

  uint64_t Flushes(Cause cause) const { return flushes_[static_cast<size_t>(cause)]; }
  uint64_t failures() const { return failures_; }

 private:
  struct Entry {
    PlacedArea area;
    uint64_t begun = 0;  // Flushes that had begun when it was queued: none of them is enough.
    absl::Time deadline;
  };

  FlushQueueOptions options_;
  std::deque<Entry> waiting_;       // `begun` ascends.
  absl::flat_hash_set<Iova> held_;  // The first addresses of those.
  uint64_t begun_ = 0;              // Number of the flush that began last.
  uint64_t completed_ = 0;          // The highest number of a flush that has completed.
  absl::Time deadline_ = absl::InfiniteFuture();
  std::array<uint64_t, std::size(kCauses)> flushes_{};
  uint64_t failures_ = 0;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_FLUSH_QUEUE_H_
