#include "engine/fault_stream.h"

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/core.h"
#include "engine/model/views.h"

namespace viommu {
namespace {

absl::Status TakenOver(const std::string& name) {
  return Error(absl::StatusCode::kAborted, "STREAM_TAKEN_OVER",
               absl::StrCat("a later stream reads ", name, " now"))
      .Errno("EBUSY")
      .Resource(name);
}

absl::Status Cancelled() {
  return Error(absl::StatusCode::kCancelled, "STREAM_CANCELLED", "the stream was ended")
      .Errno("ECANCELED");
}

}  // namespace

// How far a stream has read. The queue is there for as long as it is the queue's reader.
class FaultStream::Reader {
 public:
  // `mutex` guards `model`. `deliver` takes what devices have reported into queues; it and
  // `at_end`, which is called last, are called under no lock.
  Reader(absl::Mutex* mutex, Model* model, CallContext context, std::function<void()> deliver,
         std::function<void()> at_end)
      : mutex_(*mutex),
        model_(*model),
        context_(std::move(context)),
        deliver_(std::move(deliver)),
        at_end_(std::move(at_end)) {}

  ~Reader() {
    {
      absl::MutexLock lock(&mutex_);
      auto* const queue = static_cast<FaultQueue*>(model_.objects.FindByUid(uid_));
      if (queue != nullptr) queue->EndReading(number_);
    }
    at_end_();
  }

  // Under the lock.
  void Start(FaultQueue& queue) {
    uid_ = queue.uid();
    name_ = queue.NameFor(context_.principal);
    number_ = queue.BeginReading(&turn_);
  }

  absl::StatusOr<bool> Next(absl::Duration patience, FaultStreamEvent* event) {
    const absl::Time deadline = absl::Now() + patience;
    deliver_();
    absl::MutexLock lock(&mutex_);
    do {
      if (cancelled_) return Cancelled();
      auto* const queue = static_cast<FaultQueue*>(model_.objects.FindByUid(uid_));
      if (queue == nullptr || !queue->IsRead(number_)) return TakenOver(name_);
      if (Read(*queue, event)) return true;
    } while (!turn_.WaitWithDeadline(&mutex_, deadline));
    return false;
  }

  void Cancel() {
    cancelled_ = true;
    absl::MutexLock lock(&mutex_);
    turn_.Signal();
  }

  Uid queue() const { return uid_; }

 private:
  bool Read(const FaultQueue& queue, FaultStreamEvent* event) {
    if (queue.lost() != told_lost_) {
      told_lost_ = queue.lost();
      *event = FaultsLost{told_lost_};
      return true;
    }
    const FaultQueue::Group* const group = queue.NextAfter(passed_);
    if (group == nullptr) return false;
    passed_ = group->sequence;
    *event = ViewOf(model_, *group, context_.principal);
    return true;
  }

  absl::Mutex& mutex_;
  Model& model_;
  const CallContext context_;
  const std::function<void()> deliver_;
  const std::function<void()> at_end_;
  absl::CondVar turn_;
  std::atomic<bool> cancelled_{false};
  Uid uid_ = 0;
  std::string name_;
  uint64_t number_ = 0;     // By which the queue knows this stream.
  uint64_t passed_ = 0;     // Sequence of the last group that was shown.
  uint64_t told_lost_ = 0;  // As it was told last.
};

FaultStream::FaultStream(std::unique_ptr<Reader> reader) : reader_(std::move(reader)) {}
FaultStream::~FaultStream() = default;
absl::StatusOr<bool> FaultStream::Next(absl::Duration patience, FaultStreamEvent* event) {
  return reader_->Next(patience, event);
}
void FaultStream::Cancel() { reader_->Cancel(); }
Uid FaultStream::queue() const { return reader_->queue(); }

absl::StatusOr<std::unique_ptr<FaultStream>> Engine::OpenFaultStream(const CallContext& context,
                                                                     const ObjectRef& ref) {
  ASSIGN_OR_RETURN(Account * account, core_->TakeStream(context.principal));
  auto reader = std::make_unique<FaultStream::Reader>(
      &core_->pipeline.mutex(), &core_->model, context,
      [core = core_.get()] { core->DeliverPageFaults(); },
      [core = core_.get(), account] { core->GiveBackStream(*account); });
  {
    absl::MutexLock lock(&core_->pipeline.mutex());
    ASSIGN_OR_RETURN(FaultQueue * queue, core_->model.Find<FaultQueue>(context, ref));
    reader->Start(*queue);
  }
  return std::unique_ptr<FaultStream>(new FaultStream(std::move(reader)));
}

}  // namespace viommu
