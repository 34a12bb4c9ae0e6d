// The Engine's verbs of page faults: queues, answers, and the way of what devices report.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/core.h"
#include "engine/model/views.h"
#include "engine/operations/fault_delivery.h"
#include "engine/operations/fault_queue_operations.h"
#include "engine/operations/respond_fault_operation.h"
#include "engine/paging.h"

namespace viommu {

void Engine::Core::DeliverPageFaults() {
  if (!has_page_faults) return;
  std::vector<PageGroupResponse> answers;
  {
    // Under the lock, so that no attachment changes between the two.
    absl::MutexLock lock(&pipeline.mutex());
    viommu::DeliverPageFaults(model, backend->TakePageFaults());
    answers = model.page_faults.TakeAnswers();
  }
  GiveAnswers(std::move(answers));
}

void Engine::Core::AnswerPageGroups() {
  if (!model.page_faults.answers_due()) return;
  std::vector<PageGroupResponse> answers;
  {
    absl::MutexLock lock(&pipeline.mutex());
    answers = model.page_faults.TakeAnswers();
  }
  GiveAnswers(std::move(answers));
}

void Engine::Core::GiveAnswers(std::vector<PageGroupResponse> answers) {
  if (answers.empty()) return;
  const auto failed = std::partition(
      answers.begin(), answers.end(),
      [&](const PageGroupResponse& answer) { return backend->RespondPageGroup(answer).ok(); });
  absl::MutexLock lock(&pipeline.mutex());
  for (auto it = answers.begin(); it != failed; ++it) model.page_faults.CountAnswered(it->code);
  for (auto it = failed; it != answers.end(); ++it) model.page_faults.PutBack(*it);
}

absl::StatusOr<FaultQueueView> Engine::CreateFaultQueue(const CallContext& context,
                                                        const std::string& id, uint32_t depth) {
  CreateFaultQueueOperation operation(context, id, depth);
  return core_->Execute(operation);
}

absl::Status Engine::DeleteFaultQueue(const CallContext& context, const ObjectRef& ref,
                                      const std::string& etag) {
  DeleteFaultQueueOperation operation(context, ref, etag);
  return core_->ExecuteVoid(operation);
}

absl::StatusOr<Page<FaultView>> Engine::ListFaults(const CallContext& context, const ObjectRef& ref,
                                                   const PageRequest& page) {
  RETURN_IF_ERROR(CheckPageSize(page));
  uint64_t last = 0;
  if (!page.cursor.empty() && !absl::SimpleAtoi(page.cursor, &last)) return UnknownPageToken();
  core_->DeliverPageFaults();
  absl::MutexLock lock(&core_->pipeline.mutex());
  ASSIGN_OR_RETURN(const FaultQueue* queue, core_->model.Find<FaultQueue>(context, ref));
  Page<FaultView> result;
  while (const FaultQueue::Group* const group = queue->FirstAfter(last)) {
    if (result.items.size() == page.page_size) {
      result.next_cursor = absl::StrCat(last);
      break;
    }
    last = group->sequence;
    result.items.push_back(ViewOf(core_->model, *group, context.principal));
  }
  return result;
}

absl::Status Engine::RespondFault(const CallContext& context, const ObjectRef& ref,
                                  std::vector<FaultResponse> responses, Uid only) {
  core_->DeliverPageFaults();
  RespondFaultOperation operation(context, ref, std::move(responses), only);
  ASSIGN_OR_RETURN(const RespondAnswer answer, core_->Execute(operation));
  return answer.outcome;
}

}  // namespace viommu
