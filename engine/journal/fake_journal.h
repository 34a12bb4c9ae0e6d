// engine/journal/fake_journal.h -- A journal for tests that delays and fails on demand.
#ifndef VIOMMU_ENGINE_JOURNAL_FAKE_JOURNAL_H_
#define VIOMMU_ENGINE_JOURNAL_FAKE_JOURNAL_H_

#include <deque>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "engine/journal/journal.h"

namespace viommu {

// Keeps every record and abort. Answers at once, or, while holding, when Release is called.
class FakeJournal : public Journal {
 public:
  Ticket Append(Record record, Completion done) override {
    absl::Status status;
    Ticket ticket = 0;
    {
      absl::MutexLock lock(&mutex_);
      records_.push_back(std::move(record));
      ticket = records_.size();
      if (holding_) {
        held_.push_back(std::move(done));
        return ticket;
      }
      status = answer_;
    }
    done(status);
    return ticket;
  }

  void Abort(Ticket ticket) override {
    absl::MutexLock lock(&mutex_);
    aborted_.push_back(ticket);
  }

  // From now on answers wait.
  void Hold() {
    absl::MutexLock lock(&mutex_);
    holding_ = true;
  }
  // Gives every held answer, in order, and holds no longer.
  void Release() {
    while (true) {
      Completion done;
      absl::Status status;
      {
        absl::MutexLock lock(&mutex_);
        if (held_.empty()) {
          holding_ = false;
          return;
        }
        done = std::move(held_.front());
        held_.pop_front();
        status = answer_;
      }
      done(status);
    }
  }
  // What answers say from now on.
  void SetAnswer(absl::Status status) {
    absl::MutexLock lock(&mutex_);
    answer_ = std::move(status);
  }

  std::vector<Record> records() const {
    absl::MutexLock lock(&mutex_);
    return records_;
  }
  std::vector<Ticket> aborted() const {
    absl::MutexLock lock(&mutex_);
    return aborted_;
  }
  size_t held() const {
    absl::MutexLock lock(&mutex_);
    return held_.size();
  }

 private:
  mutable absl::Mutex mutex_;
  bool holding_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status answer_ ABSL_GUARDED_BY(mutex_);
  std::vector<Record> records_ ABSL_GUARDED_BY(mutex_);
  std::vector<Ticket> aborted_ ABSL_GUARDED_BY(mutex_);
  std::deque<Completion> held_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_JOURNAL_FAKE_JOURNAL_H_
