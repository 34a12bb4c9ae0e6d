// clients/client/mapping_batcher.h -- Many maps and unmaps over one stream, told apart one by one.
//
// The caller adds entries; the batcher packs them into batches, keeps several batches in flight,
// and says of every entry what became of it. Entries are numbered by the order in which they were
// added, from 0. They are applied in that order; a batch is applied completely or not at all.
//
//   BatcherOptions options;
//   options.ioas = "ioas/vm0";
//   options.default_memory_region = "memoryRegions/ram";
//   auto batcher = MappingBatcher::Open(client, options);
//   if (!batcher.ok()) return batcher.status();
//   for (uint64_t at = 0; at < bytes; at += 4096) {
//     auto entry = (*batcher)->Map({at, at, 4096});
//     if (!entry.ok()) return entry.status();  // An earlier one failed, or the stream broke.
//   }
//   return (*batcher)->Close();
#ifndef VIOMMU_CLIENTS_CLIENT_MAPPING_BATCHER_H_
#define VIOMMU_CLIENTS_CLIENT_MAPPING_BATCHER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "clients/client/batch_builder.h"
#include "clients/client/client.h"
#include "clients/client/entry_ranges.h"
#include "clients/client/mapping_pump.h"
#include "viommu/v1/common.pb.h"
#include "viommu/v1/mapping.pb.h"

namespace viommu {

// What the server said to one batch.
struct BatchAnswer {
  EntryRange entries;
  absl::Status status;                    // With its details, see call_error.h.
  absl::optional<uint64_t> failed_entry;  // Its number, if one entry was to blame.
  uint64_t mapping_revision = 0;
  std::vector<uint64_t> iovas;  // That were chosen, in the order of the entries.
  uint64_t unmapped_bytes = 0;
  uint64_t unmapped_count = 0;
};

struct BatcherOptions {
  std::string ioas;                   // "ioas/{id}". Required.
  std::string default_memory_region;  // For maps that name none.
  v1::OnError on_error = v1::ON_ERROR_STOP;
  v1::Permission default_permission = v1::PERMISSION_READ_WRITE;  // For maps that say nothing.
  // Entries of one batch, 1 to Limits.max_batch_entries.
  size_t batch_entries = 256;
  // Batches that wait for their answers, 1 or more; above Limits.max_in_flight_batches the server
  // does not read on.
  size_t max_in_flight = 8;
  // Without any answer for so long the stream is given up.
  absl::Duration answer_timeout = absl::Seconds(20);
  // For the stream as a whole.
  absl::Duration timeout = absl::InfiniteDuration();
  // Called with each answer, in order, on a thread of the batcher's; no answer is taken meanwhile.
  // It must not call the batcher. Its time does not count as the server's, but a server whose
  // answers are not taken cuts the stream (SLOW_READER, stream_write_timeout_seconds of viommud).
  std::function<void(const BatchAnswer&)> on_answer;
};

// What became of the entries added so far, in ascending ranges.
struct BatcherOutcome {
  std::vector<EntryRange> applied;
  std::vector<EntryRange> not_applied;  // Failed, refused, or not sent.
  std::vector<EntryRange> unknown;      // Sent and not answered.
};

// Thread-compatible: one thread at a time adds and waits.
//
// An error is one of three:
//   - An entry fails. Its batch is not applied. Under ON_ERROR_STOP nothing behind it is either,
//     and nothing more can be added until Acknowledge; under ON_ERROR_CONTINUE it goes on.
//   - An argument is refused here (kInvalidArgument): nothing was added, everything goes on.
//   - The stream is broken, or the server silent: the first call that cannot do what it should
//     answers that, and every one after it. The error says which entries were applied, which were
//     not, and of which it is not known; so does outcome(). Nothing is repeated: open another
//     batcher for what is missing.
//
// What the server does of itself:
//   - It refuses a batch with IN_FLIGHT_LIMIT, because too many of its owner's calls are under way:
//     as if an entry had failed, without its number (no failed_entry). It is not repeated, because
//     batches behind it are under way; add its entries again, under ON_ERROR_STOP after
//     Acknowledge.
//   - It cuts a stream whose answers are not taken, because on_answer is slow (SLOW_READER in the
//     message), and one that is still open when it has drained: the stream is broken, and what was
//     in flight is unknown.
class MappingBatcher {
 public:
  // Begins a stream on `client`, which outlives it. A wrong IO address space shows with the first
  // answer.
  // kInvalidArgument: a number in `options` is 0, or no IO address space is named.
  // kUnavailable: there is no connection, and none within reconnect_timeout.
  static absl::StatusOr<std::unique_ptr<MappingBatcher>> Open(Client* client,
                                                              BatcherOptions options);

  // Cancels the stream: of entries that are in flight it stays unknown whether they are applied,
  // entries that were not sent are not. Use Close.
  ~MappingBatcher() = default;
  MappingBatcher(const MappingBatcher&) = delete;
  MappingBatcher& operator=(const MappingBatcher&) = delete;

  // Adds one entry, and waits while max_in_flight batches are in flight and the one being filled is
  // full. Answers the entry's number.
  // kInvalidArgument: it names no memory region, and the stream has no default.
  // kFailedPrecondition: the batcher is closed.
  // The first entry's error, if the stream is stopped by it; what broke the stream.
  absl::StatusOr<uint64_t> Map(const MapOne& entry);
  absl::StatusOr<uint64_t> Unmap(const UnmapOne& entry);

  // The same without waiting, for answers or for a slow connection.
  // kResourceExhausted: it would have to wait; nothing was added. And the errors of Map.
  absl::StatusOr<uint64_t> TryMap(const MapOne& entry);
  absl::StatusOr<uint64_t> TryUnmap(const UnmapOne& entry);

  // Adds entries as one batch, which is applied completely or not at all, whatever batch_entries
  // is. Answers the number of the first.
  // kInvalidArgument: it is empty, or some maps have an iova and some have not. And those of Map.
  absl::StatusOr<uint64_t> MapBatch(absl::Span<const MapOne> entries);
  absl::StatusOr<uint64_t> UnmapBatch(absl::Span<const UnmapOne> entries);
  // Unmaps everything; one entry. The errors of Map.
  absl::StatusOr<uint64_t> UnmapAll();

  // Sends what is left and waits until every entry is answered, and its on_answer has run.
  // The error of the first entry that failed since the last Flush (ON_ERROR_CONTINUE) or
  // Acknowledge (ON_ERROR_STOP), with its number in front of the server's message and the server's
  // details; what broke the stream.
  absl::Status Flush() ABSL_LOCKS_EXCLUDED(mutex_);

  // The caller has seen the failure: waits until every entry is answered, and lets entries added
  // from now on be tried again. Does nothing when the stream is not stopped.
  // The first entry's error, if the stream was not stopped before and is now: call it again then.
  // What broke the stream.
  absl::Status Acknowledge() ABSL_LOCKS_EXCLUDED(mutex_);

  // Flush, and ends the stream in good order. Nothing can be added any more (kFailedPrecondition).
  absl::Status Close() ABSL_LOCKS_EXCLUDED(mutex_);

  BatcherOutcome outcome() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct InFlight {
    uint64_t sequence;
    EntryRange entries;
  };

  explicit MappingBatcher(BatcherOptions options);

  template <typename Entry>
  absl::StatusOr<uint64_t> Add(const Entry& entry, bool may_wait);
  template <typename Entry>
  absl::StatusOr<uint64_t> AddBatch(absl::Span<const Entry> entries);

  // What keeps entries from being added.
  absl::Status MayAdd() ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether another batch may be in flight.
  bool HasRoom() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether Send would not have to wait.
  bool CanSend() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Adds the entries of `batch`, which has some, as a batch of their own.
  absl::StatusOr<uint64_t> AddAlone(BatchBuilder* batch) ABSL_LOCKS_EXCLUDED(mutex_);
  // Sends `batch`, if it has entries, once there is room.
  absl::Status Send(BatchBuilder* batch) ABSL_LOCKS_EXCLUDED(mutex_);
  // The last batch was not sent after all.
  void TakeBack(uint64_t sequence) ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits until fewer than `limit` batches are in flight. What broke the stream before that.
  absl::Status AwaitInFlightBelow(size_t limit) ABSL_LOCKS_EXCLUDED(mutex_);

  // Gives the next entries their numbers, and answers the first.
  uint64_t Number(size_t entries) ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits until the stream, which is about to end, has. What broke it.
  absl::Status AwaitEnd() ABSL_LOCKS_EXCLUDED(mutex_);

  // Of the pump's thread.
  absl::Status OnAnswer(const v1::StreamMappingsResponse& response) ABSL_LOCKS_EXCLUDED(mutex_);
  void OnEnd(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  // kInternal: it is not the answer to the batch that is next.
  absl::StatusOr<BatchAnswer> Read(const v1::StreamMappingsResponse& response) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Commit(const BatchAnswer& answer, uint64_t sequence) ABSL_LOCKS_EXCLUDED(mutex_);

  bool HasEnded() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ended_; }
  // Whether a failure keeps the server from trying what is behind it.
  bool IsStopped() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return Stops() && !first_error_.ok();
  }
  // What broke the stream, and what that means for the entries.
  absl::Status Broken() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  BatcherOutcome Outcome() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Stops() const { return options_.on_error != v1::ON_ERROR_CONTINUE; }

  const BatcherOptions options_;
  // The caller's.
  BatchBuilder builder_;
  uint64_t next_sequence_ = 1;
  bool closed_ = false;

  mutable absl::Mutex mutex_;
  uint64_t next_entry_ ABSL_GUARDED_BY(mutex_) = 0;  // Number of the next one to be added.
  uint64_t next_sent_ ABSL_GUARDED_BY(mutex_) = 0;   // The first one that was not sent.
  std::deque<InFlight> in_flight_ ABSL_GUARDED_BY(mutex_);
  uint64_t answers_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status first_error_ ABSL_GUARDED_BY(mutex_);  // Of an entry.
  EntryRanges applied_ ABSL_GUARDED_BY(mutex_);
  EntryRanges not_applied_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status end_ ABSL_GUARDED_BY(mutex_);  // How, once ended_.

  bool is_told_ ABSL_GUARDED_BY(mutex_) = false;  // The caller knows that it is broken.

  std::unique_ptr<MappingPump> pump_;  // Last: its thread uses all of the above.
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_CLIENT_MAPPING_BATCHER_H_
