// engine/pipeline/pipeline.h -- Runs operations: plans in order of arrival, journals without
// waiting, applies in order per object, commits, and puts everything back when a step fails.
//
// Every object has a lane, a queue of the operations that work on it. An operation enters all its
// lanes at once, so lanes never wait for each other in a circle. It is planned when it heads its
// lanes, or, when stackable, when all before it are planned and stackable too. A plan that fails
// while others are under way before it is tried again at the head: an error never stands on a
// change in its own lanes that may still be taken back. (Names being made and regions being mapped
// have no lanes: there a refusal may stand on what is not settled yet.) It is applied when its
// record is durable and it heads its lanes. When that fails, the plans behind it are taken back in
// reverse, then its own, and those behind are planned again.
//
// A caller may have a limited number of grants (what is no revoke) under way: one more is refused
// at once. Revokes are not counted, so that an Unmap always gets into its lane, and behind no more
// grants than the limit lets each of those who may act on the object have.
//
// The thread that waits for an operation drives it; there are no threads of our own. Thread-safe.
#ifndef VIOMMU_ENGINE_PIPELINE_PIPELINE_H_
#define VIOMMU_ENGINE_PIPELINE_PIPELINE_H_

#include <deque>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/journal/journal.h"
#include "engine/model/model.h"
#include "engine/pipeline/completion.h"
#include "engine/pipeline/operation.h"

namespace viommu {

class Pipeline {
 public:
  // An operation under way, between Start and Finish.
  class Flight;

  // Operations of one client on one object of which a failure stops those that come after it.
  // Guarded by the pipeline's lock.
  class Cohort {
    friend class Pipeline;
    bool stopped_ = false;
  };

  Pipeline(Model* model, Backend* backend, Journal* journal)
      : model_(model), backend_(backend), journal_(journal) {}
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // Guards the model.
  absl::Mutex& mutex() ABSL_LOCK_RETURNED(mutex_) { return mutex_; }

  // The whole way. A dry run (validate_only) ends after Plan, taken back.
  // Errors: the operation's own; kDeadlineExceeded; kUnavailable JOURNAL_FAILED; kResourceExhausted
  // IN_FLIGHT_LIMIT: a grant, and its caller has too many under way.
  absl::Status Run(Operation& operation) ABSL_LOCKS_EXCLUDED(mutex_);

  // The first half, up to the journal. Once an operation of `cohort` has failed, at whatever step,
  // those after it fail too, under way or yet to come (kAborted STREAM_STOPPED), until Resume;
  // null: none. With `may_wait` false answers null, having changed nothing, when the operation can
  // not be planned at once, or its caller has too many grants under way. Otherwise never null: an
  // operation that failed already has its status in Finish.
  std::unique_ptr<Flight> Start(Operation& operation, Cohort* cohort, bool may_wait)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // As if an operation of the cohort had failed; the opposite, for operations yet to come.
  void Stop(Cohort& cohort) ABSL_LOCKS_EXCLUDED(mutex_);
  void Resume(Cohort& cohort) ABSL_LOCKS_EXCLUDED(mutex_);

  // Runs `look` while no operation is being applied: waits for those that are, and holds those up
  // whose turn comes meanwhile, revokes too, so `look` is to be short and bounded. It must not use
  // the pipeline. What HostFlush does on a timer goes on (host_flusher.h).
  // kDeadlineExceeded, before it began; what `look` answers.
  absl::Status WhileStill(absl::Time deadline, absl::FunctionRef<absl::Status()> look)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Whether Finish would not wait for the journal or for other operations.
  bool Ready(const Flight& flight) ABSL_LOCKS_EXCLUDED(mutex_);

  // The second half; waits for the journal and for its turn. Each flight is finished once.
  absl::Status Finish(Flight& flight) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Lane = std::deque<Flight*>;

  enum class PlanOutcome { kPlanned, kFailed, kMustWait };

  // Waits for the flight's turn and plans. kFailed: its result is set and it has left its lanes.
  PlanOutcome AwaitPlan(Flight& flight, bool may_wait) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Ends a flight whose plan, if it had one, is taken back; stops its cohort.
  PlanOutcome Fail(Flight& flight, absl::Status why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // After the plan: to the journal, or to the end when nothing is to be changed.
  void Depart(Flight& flight) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Append(Flight& flight) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Apply(Flight& flight) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Undoes the plan of a flight that heads its lanes, and of all that may stand on it. They stay
  // in their lanes.
  void TakeBack(Flight& failed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Counts a grant as under way. kResourceExhausted IN_FLIGHT_LIMIT
  absl::Status Admit(Flight& flight) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The opposite of Admit and Enter.
  void End(Flight& flight) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Heads(const Flight& flight) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MayPlan(const Flight& flight) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Enter(Flight& flight, std::vector<Uid> lanes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Leave(Flight& flight) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Wake(const std::vector<Uid>& lanes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  Model* const model_ ABSL_PT_GUARDED_BY(mutex_);
  Backend* const backend_;
  Journal* const journal_;
  absl::flat_hash_map<Uid, Lane> lanes_ ABSL_GUARDED_BY(mutex_);
  int applying_ ABSL_GUARDED_BY(mutex_) = 0;    // Operations whose Apply runs.
  bool still_ ABSL_GUARDED_BY(mutex_) = false;  // Somebody looks, or waits to.
  absl::CondVar settled_;                       // Either of them changed.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PIPELINE_PIPELINE_H_
