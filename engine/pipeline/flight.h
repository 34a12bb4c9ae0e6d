// engine/pipeline/flight.h -- An operation under way, as the pipeline keeps it.
#ifndef VIOMMU_ENGINE_PIPELINE_FLIGHT_H_
#define VIOMMU_ENGINE_PIPELINE_FLIGHT_H_

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "engine/pipeline/completion.h"
#include "engine/pipeline/pipeline.h"

namespace viommu {

// Guarded by the pipeline's lock.
class Pipeline::Flight {
 public:
  Flight(Operation* operation, Cohort* cohort) : operation(operation), cohort(cohort) {}

  Operation* const operation;
  Cohort* const cohort;        // Null: none.
  std::vector<Uid> lanes;      // Those it is in; ascending.
  Account* counted = nullptr;  // Its caller's, where it counts as under way; null: it does not.
  bool planned = false;
  bool accepted = false;       // Was planned and journalled once; its deadline is over.
  bool retry_at_head = false;  // Its plan was refused while others were under way.
  Ticket ticket = 0;
  std::shared_ptr<Completion> completion;  // Of `ticket`.
  std::optional<absl::Status> result;      // Set once; it has left its lanes then.
  absl::CondVar turn;                      // Signalled when anything on its lanes changes.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PIPELINE_FLIGHT_H_
