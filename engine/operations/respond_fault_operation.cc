#include "engine/operations/respond_fault_operation.h"

#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/operations/still_meant.h"

namespace viommu {
namespace {

absl::Status BatchError(absl::string_view reason, absl::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message)
      .Errno("EINVAL")
      .Field("responses");
}

absl::Status AtResponse(const absl::Status& status, size_t index) {
  return AtIndex(status, index, absl::StrCat("responses[", index, "]"));
}

}  // namespace

absl::StatusOr<FaultQueue*> RespondFaultOperation::FindQueue(const Model& model) const {
  ASSIGN_OR_RETURN(FaultQueue * queue, model.Find<FaultQueue>(context(), ref_));
  RETURN_IF_ERROR(CheckStillMeant(*queue, only_, context().principal));
  return queue;
}

absl::StatusOr<std::vector<Uid>> RespondFaultOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const FaultQueue* queue, FindQueue(model));
  return std::vector<Uid>{queue->uid()};
}

absl::Status RespondFaultOperation::Check(const FaultQueue& queue) const {
  if (responses_.empty()) return BatchError("EMPTY_BATCH", "no response is given");
  if (responses_.size() > kMaxFaultResponses) {
    return BatchError(
        "BATCH_TOO_LARGE",
        absl::StrCat(responses_.size(), " responses in one batch; at most ", kMaxFaultResponses));
  }
  absl::flat_hash_set<uint32_t> seen;
  for (size_t i = 0; i < responses_.size(); ++i) {
    const FaultResponse& response = responses_[i];
    if (response.code == PageResponse::kFailure) {
      return AtResponse(Error(absl::StatusCode::kInvalidArgument, "INVALID_RESPONSE",
                              "code FAILURE: a group is answered with SUCCESS or INVALID")
                            .Errno("EINVAL")
                            .Field("code"),
                        i);
    }
    if (!seen.insert(response.cookie).second) {
      return AtResponse(Error(absl::StatusCode::kInvalidArgument, "DUPLICATE_COOKIE",
                              absl::StrCat("cookie ", response.cookie, " is answered twice"))
                            .Errno("EINVAL")
                            .Field("cookie"),
                        i);
    }
    if (queue.Find(response.cookie) == nullptr) {
      return AtResponse(Error(absl::StatusCode::kNotFound, "FAULT_NOT_FOUND",
                              absl::StrCat("no group with cookie ", response.cookie,
                                           " waits: it was answered, or its attachment went"))
                            .Errno("ENOENT")
                            .Field("cookie")
                            .Resource(queue.NameFor(context().principal)),
                        i);
    }
  }
  return absl::OkStatus();
}

absl::Status RespondFaultOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(queue_, FindQueue(model));
  RETURN_IF_ERROR(Check(*queue_));
  planned_.clear();
  for (const FaultResponse& response : responses_) {
    planned_.push_back({queue_->Find(response.cookie)->group, response.code});
  }
  for (const FaultResponse& response : responses_) queue_->BeginAnswer(response.cookie);
  answer() = {responses_.size(), absl::OkStatus()};
  return absl::OkStatus();
}

void RespondFaultOperation::Unplan(Model& model) {
  for (size_t i = 0; i < responses_.size(); ++i) {
    if (queue_->UndoAnswer(responses_[i].cookie)) continue;
    model.page_faults.Answer(planned_[i].group, PageResponse::kInvalid);
  }
}

absl::Status RespondFaultOperation::Apply(Backend& backend) {
  answer() = {};
  for (const PageGroupResponse& response : planned_) {
    answer().outcome = backend.RespondPageGroup(response);
    if (!answer().outcome.ok()) break;
    ++answer().answered;
  }
  // Otherwise the first ones have their answer, and only the rest is taken back.
  return answer().answered == 0 ? answer().outcome : absl::OkStatus();
}

void RespondFaultOperation::Commit(Model& model) {
  const size_t answered = answer().answered;
  for (size_t i = 0; i < responses_.size(); ++i) {
    if (i < answered) {
      queue_->EndAnswer(responses_[i].cookie);
      model.page_faults.CountAnswered(responses_[i].code);
    } else if (!queue_->UndoAnswer(responses_[i].cookie)) {
      model.page_faults.Answer(planned_[i].group, PageResponse::kInvalid);
    }
  }
  if (answered < responses_.size()) {
    answer().outcome = AtResponse(answer().outcome, answered);
  }
}

}  // namespace viommu
