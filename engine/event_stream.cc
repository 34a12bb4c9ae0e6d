#include "engine/event_stream.h"

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/core.h"

namespace viommu {

// Looks under the model's lock, waits and hands out under none.
class EventStream::Reader {
 public:
  Reader(absl::Mutex* mutex, Model* model, EventDelivery* delivery, Uid queue, std::string name,
         std::function<void()> at_end)
      : mutex_(*mutex),
        model_(*model),
        delivery_(*delivery),
        queue_(queue),
        name_(std::move(name)),
        at_end_(std::move(at_end)) {}
  ~Reader() { at_end_(); }

  absl::StatusOr<bool> Next(absl::Duration patience, std::vector<EventView>* events) {
    const absl::Time deadline = absl::Now() + patience;
    delivery_.Deliver();
    absl::MutexLock lock(&mutex_);
    events->clear();
    while (true) {
      ASSIGN_OR_RETURN(const EventQueue* queue, Find());
      Tell(*queue, events);
      if (!events->empty()) return true;
      if (delivery_.arrived().WaitWithDeadline(&mutex_, deadline)) return false;
    }
  }

  absl::Status Acknowledge(uint32_t sequence) {
    absl::MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(EventQueue * queue, Find());
    const std::optional<uint64_t> number =
        next_ == 0 ? std::nullopt : EventQueue::NumberOf(sequence, next_ - 1);
    if (!number.has_value()) {
      return Error(absl::StatusCode::kInvalidArgument, "EVENT_NOT_TOLD",
                   absl::StrCat("sequence ", sequence, " was not sent on this stream"))
          .Errno("EINVAL")
          .Field("acknowledge.sequence");
    }
    queue->Acknowledge(*number);
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<EventQueue*> Find() const {
    Object* const object = model_.objects.FindByUid(queue_);
    if (object != nullptr && object->state == Object::State::kLive) {
      return &static_cast<ViommuEventQueue*>(object)->events;
    }
    return Error(absl::StatusCode::kNotFound, "EVENT_QUEUE_NOT_FOUND",
                 absl::StrCat(name_, " was deleted"))
        .Errno("ENOENT")
        .Resource(name_)
        .ToStatus();
  }

  void Tell(const EventQueue& queue, std::vector<EventView>* events) {
    while (events->size() < kMaxToldEvents) {
      std::optional<EventQueue::Entry> entry = queue.FirstFrom(next_);
      if (!entry.has_value()) return;
      next_ = entry->number + 1;
      events->push_back(entry->view);
    }
  }

  absl::Mutex& mutex_;
  Model& model_;  // Guarded by mutex_.
  EventDelivery& delivery_;
  const Uid queue_;
  const std::string name_;
  const std::function<void()> at_end_;
  uint64_t next_ = 0;  // Number of the first event that was not told. Guarded by mutex_.
};

EventStream::EventStream(std::unique_ptr<Reader> reader) : reader_(std::move(reader)) {}
EventStream::~EventStream() = default;

absl::StatusOr<bool> EventStream::Next(absl::Duration patience, std::vector<EventView>* events) {
  return reader_->Next(patience, events);
}

absl::Status EventStream::Acknowledge(uint32_t sequence) { return reader_->Acknowledge(sequence); }

absl::StatusOr<std::unique_ptr<EventStream>> Engine::OpenEventStream(const CallContext& context,
                                                                     const ObjectRef& ref) {
  // The name may come to mean another queue, the uid does not.
  ASSIGN_OR_RETURN(const EventQueueView queue, GetEventQueue(context, ref));
  ASSIGN_OR_RETURN(Account * account, core_->TakeStream(context.principal));
  auto reader = std::make_unique<EventStream::Reader>(
      &core_->pipeline.mutex(), &core_->model, &core_->events, queue.object.uid,
      absl::StrCat("viommus/", queue.object.id),
      [core = core_.get(), account] { core->GiveBackStream(*account); });
  return std::unique_ptr<EventStream>(new EventStream(std::move(reader)));
}

}  // namespace viommu
