// engine/model/fault_queue.h -- Groups of page faults that wait for an answer (iommufd:
// IOMMU_FAULT_QUEUE; iommufd-semantics.md section 11).
//
// A group gets its cookie and its number when it comes in, and keeps both until it is answered or
// withdrawn, whoever has read it meanwhile. Who reads keeps a number and asks for what came later;
// nothing but an answer takes a group out. A queue that is full loses what comes, and counts it: so
// numbers that are missing are those of groups that were lost, or are answered by now.
#ifndef VIOMMU_ENGINE_MODEL_FAULT_QUEUE_H_
#define VIOMMU_ENGINE_MODEL_FAULT_QUEUE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/backend/backend.h"
#include "engine/model/object.h"
#include "engine/types.h"

namespace viommu {

// Referred to by each domain whose faults it takes.
class FaultQueue : public Object {
 public:
  static constexpr ObjectKind kKind = ObjectKind::kFaultQueue;

  struct Group {
    PageGroup group;
    Uid domain = 0;  // That the device was attached to.
    std::vector<FaultedPage> pages;
    absl::Time time;
    // Given by the queue.
    uint32_t cookie = 0;
    uint64_t sequence = 0;
  };

  FaultQueue(std::string owner, std::string id, Uid uid, uint32_t depth)
      : Object(kKind, std::move(owner), std::move(id), uid), depth(depth) {}

  Usage Holds() const override {
    Usage usage(Resource::kFaultQueues, 1);
    usage[Resource::kFaultGroups] = depth;
    return usage;
  }

  const uint32_t depth;  // Groups that it keeps.

  // ---- Groups ----

  // False: it is full, and the group is lost.
  bool Push(Group group);
  uint64_t lost() const { return lost_; }
  // Those that are being answered are counted until that is final.
  size_t size() const { return groups_.size(); }

  // The first group after `sequence` that nobody is answering; null: none.
  const Group* FirstAfter(uint64_t sequence) const;
  // For who reads in order, and would pass a group that comes back when its answer fails: the very
  // next group after `sequence`; null: there is none, or it is being answered.
  const Group* NextAfter(uint64_t sequence) const;
  // Null: no group that waits has the cookie.
  const Group* Find(uint32_t cookie) const;

  // An answer to the group is under way: it is not found any more.
  void BeginAnswer(uint32_t cookie);
  // It was given.
  void EndAnswer(uint32_t cookie);
  // It could not be given. True: the group waits as before; false: it was withdrawn meanwhile, and
  // is gone.
  bool UndoAnswer(uint32_t cookie);

  // Takes the groups out that `is_meant` of, and answers them: their cookies are void. One that is
  // being answered stays until that is over.
  std::vector<PageGroup> Withdraw(const std::function<bool(const Group&)>& is_meant);

  // ---- Its reader ----

  // A stream begins to read, and takes the place of an earlier one: `turn` is signalled when there
  // is something new to be seen. Answers the number of this stream.
  uint64_t BeginReading(absl::CondVar* turn);
  // The stream ends, whether or not its place was taken.
  void EndReading(uint64_t stream);
  // False: another has taken the stream's place.
  bool IsRead(uint64_t stream) const { return turn_ != nullptr && stream == last_stream_; }
  bool streamed() const { return turn_ != nullptr; }

 private:
  struct Entry {
    Group group;
    bool answering = false;
    bool withdrawn = false;
  };
  using Entries = absl::btree_map<uint64_t, Entry>;  // By sequence.

  uint32_t NextCookie();
  Entries::iterator EntryOf(uint32_t cookie);
  void Erase(Entries::iterator entry);
  void WakeReader() const {
    if (turn_ != nullptr) turn_->Signal();
  }

  Entries groups_;
  absl::btree_map<uint32_t, uint64_t> by_cookie_;  // The sequence of each group.
  uint32_t last_cookie_ = 0;
  uint64_t last_sequence_ = 0;
  uint64_t lost_ = 0;
  uint64_t last_stream_ = 0;
  absl::CondVar* turn_ = nullptr;  // Of the stream that reads; null: none does.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_FAULT_QUEUE_H_
