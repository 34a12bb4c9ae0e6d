// engine/core.h -- What an Engine is made of, and the way that all its mutations take. Private.
#ifndef VIOMMU_ENGINE_CORE_H_
#define VIOMMU_ENGINE_CORE_H_

#include <any>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/base/status_macros.h"
#include "engine/engine.h"
#include "engine/event_delivery.h"
#include "engine/host_flusher.h"
#include "engine/model/model.h"
#include "engine/pipeline/pipeline.h"
#include "engine/request_table.h"

namespace viommu {

struct Engine::Core {
  Core(Options options, Backend* backend, Journal* journal, Env* env)
      : options(std::move(options)),
        backend(backend),
        model(backend, env, this->options.owner_limits, this->options.flush_queue),
        pipeline(&model, backend, journal),
        events(backend, &model, &pipeline.mutex()),
        start_time(env->Now()) {
    for (const Device& device : model.devices) {
      has_page_faults = has_page_faults || MayHoldRequests(model.UnitOf(device), device.spec);
    }
  }

  // Runs an operation under its request id, if it has one.
  template <typename Op>
  absl::StatusOr<typename Op::Answer> Execute(Op& operation);
  // The same for an operation that answers nothing.
  absl::Status ExecuteVoid(Operation& operation);

  // Takes what devices have reported to where it belongs. Before anybody looks, and after what lets
  // a device report.
  void DeliverPageFaults();
  // Tells devices what is put down for them. After every operation, as it may have ended what they
  // were attached to. An answer that hardware does not take is tried again by DeliverPageFaults, or
  // with the next one.
  void AnswerPageGroups();
  void GiveAnswers(std::vector<PageGroupResponse> answers);

  // Counts one open stream of a caller. kResourceExhausted STREAM_LIMIT
  absl::StatusOr<Account*> TakeStream(const std::string& principal);
  void GiveBackStream(Account& account);

  const Options options;
  Backend* const backend;
  Model model;  // Guarded by pipeline.mutex().
  Pipeline pipeline;
  EventDelivery events;
  RequestTable requests;
  const absl::Time start_time;
  std::string boot_id;
  bool has_page_faults = false;          // Some device may wait for an answer.
  std::unique_ptr<HostFlusher> flusher;  // Null without a host to simulate. Goes first.
};

template <typename Op>
absl::StatusOr<typename Op::Answer> Engine::Core::Execute(Op& operation) {
  const CallContext& context = operation.context();
  const bool remembered = !context.request_id.empty() && !context.validate_only;
  if (remembered) {
    ASSIGN_OR_RETURN(std::any first, requests.Begin(context));
    if (first.has_value()) return std::any_cast<typename Op::Answer>(std::move(first));
  }
  absl::Status status = pipeline.Run(operation);
  AnswerPageGroups();
  if (!status.ok()) {
    if (remembered) requests.Fail(context);
    return status;
  }
  if (remembered) requests.Succeed(context, operation.answer());
  return std::move(operation.answer());
}

// kUnimplemented SIMULATION_NOT_AVAILABLE
absl::Status CheckSimulated(Backend& backend);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_CORE_H_
