// engine/backend/soft/hardware/smmu_stalls.h -- The requests that an SMMUv3 holds until software
// says what becomes of them.
//
// Sources: Arm IHI 0070 3.12.2 (stall model), 4.7.1 and 4.7.2 (CMD_RESUME, CMD_STALL_TERM).
//
// Thread-compatible: the SmmuModel holds its lock.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_STALLS_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_STALLS_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "absl/container/btree_map.h"
#include "engine/backend/soft/hardware/smmu_request.h"

namespace viommu::hardware::smmu {

// A request that is held: its number for the device, and its tag for software.
struct Stall {
  uint64_t id = 0;
  uint16_t tag = 0;
};

class Stalls {
 public:
  // Of a unit that can hold `max` requests.
  explicit Stalls(uint16_t max) : max_(max) {}

  // Holds a request; nullopt: as many as possible are held already.
  std::optional<Stall> Begin(uint32_t stream_id, std::optional<uint32_t> substream_id);
  // The held request's event could not be recorded: it is retried when the queue has room again.
  void SetUnrecorded(uint16_t tag);

  // CMD_RESUME. Nothing happens when the stream has no request with this tag.
  void Resume(uint32_t stream_id, uint16_t tag, ResumeAnswer answer);
  // CMD_STALL_TERM: of one stream.
  void Abort(uint32_t stream_id);
  // All: translation was switched off.
  void AbortAll();
  // Those whose events were not recorded.
  void RetryUnrecorded();

  // Whether there is an answer, or never will be one.
  bool Settled(uint64_t id) const { return answers_.contains(id) || !held_ids_.contains(id); }
  // The answer, once; kAbort for what is not known.
  ResumeAnswer Take(uint64_t id);
  // What the stream's requests were answered, oldest first: the last kKeptResumed.
  std::vector<Resumed> History(uint32_t stream_id) const;

 private:
  struct Held {
    uint64_t id = 0;
    uint32_t stream_id = 0;
    std::optional<uint32_t> substream_id;
    bool unrecorded = false;
  };
  using ByTag = absl::btree_map<uint16_t, Held>;

  // Answers that devices have not asked for; the oldest go.
  static constexpr size_t kMaxAnswers = 4096;
  static constexpr size_t kKeptResumed = 64;

  ByTag::iterator Settle(ByTag::iterator held, ResumeAnswer answer);

  const uint16_t max_;
  uint64_t next_id_ = 1;
  uint16_t next_tag_ = 0;
  ByTag held_;
  absl::btree_map<uint64_t, uint16_t> held_ids_;  // Tag by id.
  absl::btree_map<uint64_t, ResumeAnswer> answers_;
  absl::btree_map<uint32_t, std::deque<Resumed>> history_;  // By StreamID.
};

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_STALLS_H_
