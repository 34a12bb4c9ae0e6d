// engine/journal/memory_journal.h -- A journal that keeps nothing: every record is at once as
// durable as it will ever be. State dies with the process.
#ifndef VIOMMU_ENGINE_JOURNAL_MEMORY_JOURNAL_H_
#define VIOMMU_ENGINE_JOURNAL_MEMORY_JOURNAL_H_

#include <atomic>

#include "engine/journal/journal.h"

namespace viommu {

// Completions run inside Append.
class MemoryJournal : public Journal {
 public:
  bool keeps_records() const override { return false; }
  Ticket Append(Record /*record*/, Completion done) override {
    const Ticket ticket = ++last_ticket_;
    done(absl::OkStatus());
    return ticket;
  }
  void Abort(Ticket /*ticket*/) override {}

 private:
  std::atomic<Ticket> last_ticket_{0};
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_JOURNAL_MEMORY_JOURNAL_H_
