// engine/fault_stream.h -- The page faults of one fault queue, as somebody who answers them gets
// them.
//
// Every group that waits is shown once, the oldest first, whether or not an earlier stream has
// shown it: with the same cookie and number. What is lost because the queue is full is told as a
// total, also to a stream that was not there then. Reading takes nothing out of the queue; an
// answer does (Engine::RespondFault), and the end of what the device was attached to, which is not
// told.
//
// A queue has one reader: the last stream that was opened. The one before is ended, so that a
// client whose connection broke need not wait until that has been noticed. Nothing is queued for a
// stream.
#ifndef VIOMMU_ENGINE_FAULT_STREAM_H_
#define VIOMMU_ENGINE_FAULT_STREAM_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/types.h"

namespace viommu {

// Made by Engine::OpenFaultStream. One thread at a time calls Next; Cancel may come from any.
class FaultStream {
 public:
  ~FaultStream();

  // Waits for the next event, at most `patience`. False: there was none.
  // kAborted   STREAM_TAKEN_OVER: a later stream reads the queue now
  // kCancelled STREAM_CANCELLED
  absl::StatusOr<bool> Next(absl::Duration patience, FaultStreamEvent* event);

  // Next answers kCancelled from now on, also one that waits.
  void Cancel();

  // Of the queue: what RespondFault of the same stream is bound to.
  Uid queue() const;

 private:
  friend class Engine;
  class Reader;
  explicit FaultStream(std::unique_ptr<Reader> reader);
  const std::unique_ptr<Reader> reader_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_FAULT_STREAM_H_
