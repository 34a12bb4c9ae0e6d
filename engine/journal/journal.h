// engine/journal/journal.h -- Makes intentions durable before the backend acts on them.
//
// Append hands over a record and returns at once with its ticket; later the completion runs, once,
// with OK when the record is durable, or with the reason why it never will be. Completions run in
// ticket order, on a thread of the journal or inside Append itself, never under a lock of the
// journal; a completion must not block and must not call the journal.
//
// A record that was appended but whose change the backend refused is taken back by Abort.
// Thread-safe.
#ifndef VIOMMU_ENGINE_JOURNAL_JOURNAL_H_
#define VIOMMU_ENGINE_JOURNAL_JOURNAL_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "engine/journal/record.h"

namespace viommu {

using Ticket = uint64_t;  // Ascending from 1 in the order of Append.

class Journal {
 public:
  using Completion = std::function<void(const absl::Status&)>;

  virtual ~Journal() = default;

  // Whether records are looked at. When false, those handed over may be without their operation.
  virtual bool keeps_records() const { return true; }

  // Never blocks on storage.
  virtual Ticket Append(Record record, Completion done) = 0;

  // What `ticket` announced did not happen; durable some time later, before any record that is
  // appended after this call.
  virtual void Abort(Ticket ticket) = 0;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_JOURNAL_JOURNAL_H_
