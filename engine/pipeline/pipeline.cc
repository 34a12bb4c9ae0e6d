#include "engine/pipeline/pipeline.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/pipeline/flight.h"

namespace viommu {
namespace {

absl::Status DeadlineExceeded() {
  return Error(absl::StatusCode::kDeadlineExceeded, "DEADLINE_EXCEEDED",
               "the deadline passed before the change was planned; nothing changed");
}

absl::Status NotStill() {
  return Error(absl::StatusCode::kDeadlineExceeded, "DEADLINE_EXCEEDED",
               "the deadline passed before the changes under way were done");
}

absl::Status JournalFailed(const absl::Status& why) {
  return Error(
             absl::StatusCode::kUnavailable, "JOURNAL_FAILED",
             absl::StrCat("the change could not be made durable; nothing changed: ", why.message()))
      .Errno("EIO");
}

absl::Status StreamStopped() {
  return Error(absl::StatusCode::kAborted, "STREAM_STOPPED",
               "an earlier batch of the stream failed; acknowledge it to go on");
}

}  // namespace

absl::Status Pipeline::Run(Operation& operation) {
  const std::unique_ptr<Flight> flight = Start(operation, nullptr, /*may_wait=*/true);
  return Finish(*flight);
}

std::unique_ptr<Pipeline::Flight> Pipeline::Start(Operation& operation, Cohort* cohort,
                                                  bool may_wait) {
  auto flight = std::make_unique<Flight>(&operation, cohort);
  absl::MutexLock lock(&mutex_);
  if (cohort != nullptr && cohort->stopped_) {
    flight->result = StreamStopped();
    return flight;
  }
  const absl::Time deadline = operation.context().deadline;
  if (deadline != absl::InfiniteFuture() && deadline <= absl::Now()) {
    Fail(*flight, DeadlineExceeded());
    return flight;
  }
  absl::Status admitted = Admit(*flight);
  if (!admitted.ok()) {
    if (!may_wait) return nullptr;
    Fail(*flight, std::move(admitted));
    return flight;
  }
  absl::StatusOr<std::vector<Uid>> lanes = operation.Lanes(*model_);
  if (!lanes.ok()) {
    Fail(*flight, lanes.status());
    return flight;
  }
  Enter(*flight, *std::move(lanes));
  const PlanOutcome outcome = AwaitPlan(*flight, may_wait);
  if (outcome == PlanOutcome::kMustWait) {
    End(*flight);
    return nullptr;
  }
  if (outcome == PlanOutcome::kPlanned) Depart(*flight);
  return flight;
}

absl::Status Pipeline::Finish(Flight& flight) {
  absl::MutexLock lock(&mutex_);
  while (!flight.result.has_value()) {
    if (!flight.planned) {
      // Taken back because of a failure before it. It was accepted once: no deadline any more.
      if (AwaitPlan(flight, /*may_wait=*/true) == PlanOutcome::kPlanned) Depart(flight);
      continue;
    }
    const std::shared_ptr<Completion> completion = flight.completion;
    mutex_.Unlock();
    const absl::Status durable = completion->Wait();
    mutex_.Lock();
    while (flight.completion == completion && !Heads(flight)) flight.turn.Wait(&mutex_);
    if (flight.completion != completion) continue;
    absl::Status applied = durable.ok() ? Apply(flight) : JournalFailed(durable);
    if (!applied.ok()) {
      TakeBack(flight);
      Fail(flight, std::move(applied));
      break;
    }
    flight.operation->Commit(*model_);
    End(flight);
    flight.result = std::move(applied);
  }
  model_->NoteQuarantined();
  return *flight.result;
}

void Pipeline::Stop(Cohort& cohort) {
  absl::MutexLock lock(&mutex_);
  cohort.stopped_ = true;
}

void Pipeline::Resume(Cohort& cohort) {
  absl::MutexLock lock(&mutex_);
  cohort.stopped_ = false;
}

bool Pipeline::Ready(const Flight& flight) {
  absl::MutexLock lock(&mutex_);
  if (flight.result.has_value()) return true;
  return flight.planned && flight.completion->done() && Heads(flight);
}

Pipeline::PlanOutcome Pipeline::AwaitPlan(Flight& flight, bool may_wait) {
  Operation& operation = *flight.operation;
  while (true) {
    // A second try, after a refusal that may stand on something unsettled, is made at the head.
    while (flight.retry_at_head ? !Heads(flight) : !MayPlan(flight)) {
      if (!may_wait) return PlanOutcome::kMustWait;
      const absl::Time deadline =
          flight.accepted ? absl::InfiniteFuture() : operation.context().deadline;
      if (flight.turn.WaitWithDeadline(&mutex_, deadline)) {
        return Fail(flight, DeadlineExceeded());
      }
      if (flight.result.has_value()) return PlanOutcome::kFailed;  // Its cohort was stopped.
    }
    // What the operation works on may have changed while it waited.
    absl::StatusOr<std::vector<Uid>> lanes = operation.Lanes(*model_);
    if (!lanes.ok()) return Fail(flight, lanes.status());
    if (*lanes != flight.lanes) {
      Leave(flight);
      Enter(flight, *std::move(lanes));
      continue;
    }
    absl::Status planned = operation.Plan(*model_);
    if (planned.ok()) {
      flight.planned = true;
      return PlanOutcome::kPlanned;
    }
    if (Heads(flight)) return Fail(flight, std::move(planned));
    flight.retry_at_head = true;
  }
}

Pipeline::PlanOutcome Pipeline::Fail(Flight& flight, absl::Status why) {
  model_->ledger.CountIfRefusal(why);
  std::vector<Flight*> ended{&flight};
  if (flight.cohort != nullptr) {
    flight.cohort->stopped_ = true;
    // It heads its lanes, or is in none: those of its cohort are behind it and not planned now.
    for (const Uid uid : flight.lanes) {
      for (Flight* const other : lanes_[uid]) {
        if (other != &flight && other->cohort == flight.cohort) ended.push_back(other);
      }
    }
  }
  for (Flight* const one : ended) {
    End(*one);
    one->result = StreamStopped();
  }
  flight.result = std::move(why);
  return PlanOutcome::kFailed;
}

void Pipeline::Depart(Flight& flight) {
  Operation& operation = *flight.operation;
  if (operation.nothing_to_do() || operation.context().validate_only) {
    if (!operation.nothing_to_do()) operation.Unplan(*model_);
    End(flight);
    flight.result = absl::OkStatus();
    return;
  }
  flight.accepted = true;
  flight.completion = std::make_shared<Completion>();
  if (operation.journalled()) {
    Append(flight);
  } else {
    flight.completion->Set(absl::OkStatus());
  }
  Wake(flight.lanes);  // Those behind it may be planned now.
}

void Pipeline::Append(Flight& flight) {
  const Operation& operation = *flight.operation;
  const CallContext& context = operation.context();
  flight.ticket = journal_->Append(
      Record{context.principal, context.request_id, context.request_digest,
             journal_->keeps_records() ? operation.Logical() : LogicalOperation{}},
      [completion = flight.completion](const absl::Status& status) { completion->Set(status); });
}

absl::Status Pipeline::Apply(Flight& flight) {
  while (still_) settled_.Wait(&mutex_);
  ++applying_;
  mutex_.Unlock();
  absl::Status applied = flight.operation->Apply(*backend_);
  mutex_.Lock();
  if (--applying_ == 0 && still_) settled_.SignalAll();
  return applied;
}

absl::Status Pipeline::WhileStill(absl::Time deadline, absl::FunctionRef<absl::Status()> look) {
  absl::MutexLock lock(&mutex_);
  while (still_) {
    if (settled_.WaitWithDeadline(&mutex_, deadline) && still_) return NotStill();
  }
  still_ = true;
  absl::Status status;
  while (applying_ > 0 && status.ok()) {
    if (settled_.WaitWithDeadline(&mutex_, deadline) && applying_ > 0) status = NotStill();
  }
  if (status.ok()) {
    mutex_.Unlock();
    status = look();
    mutex_.Lock();
  }
  still_ = false;
  settled_.SignalAll();
  return status;
}

void Pipeline::TakeBack(Flight& failed) {
  // Only stackable operations are planned behind another; those have a single lane, so what is
  // behind on it is all that may stand on the failed plan.
  std::vector<Flight*> behind;
  for (const Uid uid : failed.lanes) {
    for (Flight* const flight : lanes_[uid]) {
      if (flight != &failed && flight->planned) behind.push_back(flight);
    }
  }
  for (auto it = behind.rbegin(); it != behind.rend(); ++it) {
    (*it)->operation->Unplan(*model_);
    (*it)->planned = false;
    (*it)->retry_at_head = false;
    (*it)->completion = nullptr;
    if ((*it)->operation->journalled()) journal_->Abort((*it)->ticket);
  }
  failed.operation->Unplan(*model_);
  failed.planned = false;
  if (failed.operation->journalled()) journal_->Abort(failed.ticket);
}

absl::Status Pipeline::Admit(Flight& flight) {
  if (flight.operation->revokes()) return absl::OkStatus();
  ASSIGN_OR_RETURN(flight.counted, model_->ledger.Take(flight.operation->context().principal,
                                                       Usage(Resource::kOperationsInFlight, 1)));
  return absl::OkStatus();
}

void Pipeline::End(Flight& flight) {
  Leave(flight);
  Account* const counted = std::exchange(flight.counted, nullptr);
  if (counted != nullptr) {
    model_->ledger.GiveBack(*counted, Usage(Resource::kOperationsInFlight, 1));
  }
}

bool Pipeline::Heads(const Flight& flight) const {
  for (const Uid uid : flight.lanes) {
    if (lanes_.at(uid).front() != &flight) return false;
  }
  return true;
}

bool Pipeline::MayPlan(const Flight& flight) const {
  if (!flight.operation->stackable()) return Heads(flight);
  for (const Uid uid : flight.lanes) {
    for (const Flight* const before : lanes_.at(uid)) {
      if (before == &flight) break;
      if (!before->planned || !before->operation->stackable()) return false;
    }
  }
  return true;
}

void Pipeline::Enter(Flight& flight, std::vector<Uid> lanes) {
  flight.lanes = std::move(lanes);
  for (const Uid uid : flight.lanes) lanes_[uid].push_back(&flight);
}

void Pipeline::Leave(Flight& flight) {
  for (const Uid uid : flight.lanes) {
    const auto it = lanes_.find(uid);
    it->second.erase(std::find(it->second.begin(), it->second.end(), &flight));
    if (it->second.empty()) lanes_.erase(it);
  }
  Wake(flight.lanes);
  flight.turn.SignalAll();
  flight.lanes.clear();
}

void Pipeline::Wake(const std::vector<Uid>& lanes) {
  for (const Uid uid : lanes) {
    const auto it = lanes_.find(uid);
    if (it == lanes_.end()) continue;
    for (Flight* const flight : it->second) flight->turn.SignalAll();
  }
}

}  // namespace viommu
