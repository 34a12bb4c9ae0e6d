// clients/client/mapping_pump.h -- One call of StreamMappings, whose answers a thread of its own
// takes.
//
// It knows nothing of what the messages say; that is mapping_batcher.h.
#ifndef VIOMMU_CLIENTS_CLIENT_MAPPING_PUMP_H_
#define VIOMMU_CLIENTS_CLIENT_MAPPING_PUMP_H_

#include <functional>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/support/async_stream.h"
#include "grpcpp/support/status.h"
#include "viommu/v1/mapping.grpc.pb.h"

namespace viommu {

// Thread-compatible; what it is given to call is called on its own thread, one at a time.
class MappingPump {
 public:
  struct Listener {
    // An error ends the stream with it.
    std::function<absl::Status(const v1::StreamMappingsResponse&)> on_answer;
    // How the stream ended; after the last answer.
    std::function<void(const absl::Status&)> on_end;
  };

  // Begins the call on `stub`, which must end by `deadline`.
  MappingPump(v1::MappingService::Stub* stub, absl::Time deadline, Listener listener);
  // Cancels a call that still runs.
  ~MappingPump();
  MappingPump(const MappingPump&) = delete;
  MappingPump& operator=(const MappingPump&) = delete;

  // Hands one message over to be sent, once the one before is sent. False: the stream has ended or
  // is about to; or the one before was not taken within `patience`, and the stream is cancelled.
  // True does not say that the message goes out: if it does not, the stream ends.
  bool Write(const v1::StreamMappingsRequest& request, absl::Duration patience)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Whether Write would not have to wait.
  bool CanWrite() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether an answer is being listened to: until that is done no other is taken, and it is not
  // seen that something was sent.
  bool IsListening() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Says that there is nothing more to send, and waits for the end; cancels after `patience`.
  // Answers how the stream ended.
  absl::Status Close(absl::Duration patience) ABSL_LOCKS_EXCLUDED(mutex_);

  // Gives the stream up: on_end will follow soon, with `why`.
  void Cancel(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Stream =
      grpc::ClientAsyncReaderWriter<v1::StreamMappingsRequest, v1::StreamMappingsResponse>;
  enum Tag { kSent, kReceived, kFinished };

  void Run() ABSL_LOCKS_EXCLUDED(mutex_);
  void OnSent(bool ok) ABSL_LOCKS_EXCLUDED(mutex_);
  void OnReceived(bool ok) ABSL_LOCKS_EXCLUDED(mutex_);
  void SetListening(bool listening) ABSL_LOCKS_EXCLUDED(mutex_);
  void OnFinished() ABSL_LOCKS_EXCLUDED(mutex_);
  void CancelLocked(const absl::Status& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Waits until nothing is being sent, and cancels after `patience`; the time that is spent in
  // on_answer is not the server's.
  void AwaitIdle(absl::Duration patience) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsIdle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !sending_; }
  bool HasEnded() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ended_; }

  const Listener listener_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<Stream> stream_;
  // The queue hands back where they are.
  Tag sent_tag_ = kSent;
  Tag received_tag_ = kReceived;
  Tag finished_tag_ = kFinished;

  // Of the thread alone.
  v1::StreamMappingsResponse response_;
  grpc::Status finish_;

  mutable absl::Mutex mutex_;
  bool listening_ ABSL_GUARDED_BY(mutex_) = false;
  bool sending_ ABSL_GUARDED_BY(mutex_) = true;  // At first: the start of the call.
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;  // Nothing more can be sent.
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status given_up_ ABSL_GUARDED_BY(mutex_);  // Why it was cancelled; OK: it was not.
  absl::Status status_ ABSL_GUARDED_BY(mutex_);    // How it ended, once it has.

  std::thread thread_;  // Last: it uses all of the above.
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_CLIENT_MAPPING_PUMP_H_
