// tests/faults/fault_points.h -- Where something can go wrong beneath the engine, counted, so that
// a test can make the n-th of them fail.
//
// A point is one effect asked of the backend, by the name of its method, or one record handed to
// the journal. Table memory is the third thing that can run out; it is taken away for real
// (FaultWorld::LeaveTablePages). Thread-safe.
#ifndef VIOMMU_TESTS_FAULTS_FAULT_POINTS_H_
#define VIOMMU_TESTS_FAULTS_FAULT_POINTS_H_

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "engine/backend/backend.h"
#include "engine/journal/journal.h"

namespace viommu::faults {

class FaultPoints {
 public:
  enum Kind { kBackend, kJournal, kKinds };

  // The `ordinal`-th point of a kind from now on fails, counted from 1.
  void Arm(Kind kind, uint64_t ordinal) ABSL_LOCKS_EXCLUDED(mutex_);
  // Nothing fails any more; counting begins anew.
  void Disarm() ABSL_LOCKS_EXCLUDED(mutex_);
  // What of that armed has failed since the last Disarm or Forget, in order.
  std::vector<std::string> fired() const ABSL_LOCKS_EXCLUDED(mutex_);
  void Forget() ABSL_LOCKS_EXCLUDED(mutex_);

  // At a point of this name: whether it is to fail.
  bool Fails(Kind kind, const char* name) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  mutable absl::Mutex mutex_;
  uint64_t seen_[kKinds] ABSL_GUARDED_BY(mutex_) = {};
  std::set<uint64_t> armed_[kKinds] ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> fired_ ABSL_GUARDED_BY(mutex_);
};

// `backend`, but every effect is a point. One that fails does nothing, except Block, which blocks
// all the same (backend.h). Both arguments outlive it.
std::unique_ptr<Backend> MakeFaulty(Backend* backend, FaultPoints* points);

// Keeps nothing; every record is a point.
class FaultyJournal : public Journal {
 public:
  explicit FaultyJournal(FaultPoints* points) : points_(*points) {}
  Ticket Append(Record record, Completion done) override;
  void Abort(Ticket /*ticket*/) override {}

 private:
  FaultPoints& points_;
  absl::Mutex mutex_;
  Ticket last_ticket_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace viommu::faults

#endif  // VIOMMU_TESTS_FAULTS_FAULT_POINTS_H_
