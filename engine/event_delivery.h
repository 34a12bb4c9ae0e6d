// engine/event_delivery.h -- Brings what happened to Viommus from the backend into their queues.
// Private.
//
// Asked by whoever may have made something happen, or is about to look: there is no thread of its
// own. A producer never waits here: a full queue loses the event and counts it.
#ifndef VIOMMU_ENGINE_EVENT_DELIVERY_H_
#define VIOMMU_ENGINE_EVENT_DELIVERY_H_

#include "absl/synchronization/mutex.h"
#include "engine/backend/backend.h"
#include "engine/model/model.h"
#include "engine/types.h"

namespace viommu {

// Thread-safe.
class EventDelivery {
 public:
  // `mutex` guards `model`.
  EventDelivery(Backend* backend, Model* model, absl::Mutex* mutex)
      : viommus_(backend->viommus()), model_(*model), mutex_(*mutex) {}
  EventDelivery(const EventDelivery&) = delete;
  EventDelivery& operator=(const EventDelivery&) = delete;

  // What the backend has, in its order.
  void Deliver();

  // Puts one event into the queue for it. Called under the model's lock.
  RaiseAnswer Report(const ViommuEvent& event);

  // Signalled under the model's lock whenever something was put into a queue.
  absl::CondVar& arrived() { return arrived_; }

 private:
  Viommus* const viommus_;  // Null: nothing happens.
  Model& model_;            // Guarded by mutex_.
  absl::Mutex& mutex_;
  absl::Mutex order_;  // Held from taking to putting: who comes later has later events.
  absl::CondVar arrived_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_EVENT_DELIVERY_H_
