// engine/event_stream.h -- Events of one Viommu's queue as their reader gets them.
//
// Each event is told once on a stream, and leaves the queue when it is acknowledged. What was told
// and not acknowledged is told anew to whoever opens the queue next, under the same sequence
// number; two streams on one queue get the same. A marker of lost events that has been told is told
// again when more were lost.
#ifndef VIOMMU_ENGINE_EVENT_STREAM_H_
#define VIOMMU_ENGINE_EVENT_STREAM_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/types.h"

namespace viommu {

inline constexpr size_t kMaxToldEvents = 256;  // At a time.

// Made by Engine::OpenEventStream. One thread at a time calls Next, one Acknowledge.
class EventStream {
 public:
  ~EventStream();

  // Waits, at most `patience`, for events that this stream has not told of; at most kMaxToldEvents
  // of them. False: there was none.
  // kNotFound EVENT_QUEUE_NOT_FOUND: the queue was deleted
  absl::StatusOr<bool> Next(absl::Duration patience, std::vector<EventView>* events);

  // Takes everything up to the event with this sequence number out of the queue.
  // kInvalidArgument EVENT_NOT_TOLD: the stream has not told of it
  // kNotFound        as Next
  absl::Status Acknowledge(uint32_t sequence);

 private:
  friend class Engine;
  class Reader;
  explicit EventStream(std::unique_ptr<Reader> reader);
  const std::unique_ptr<Reader> reader_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_EVENT_STREAM_H_
