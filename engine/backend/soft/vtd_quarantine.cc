// engine/backend/soft/vtd_quarantine.cc -- How a VtdUnit goes on without a requester whose TLB does
// not answer, and takes it in again.

#include <algorithm>
#include <optional>
#include <utility>

#include "engine/backend/soft/vtd_unit.h"
#include "engine/pagetable/store.h"

namespace viommu {

absl::Status VtdUnit::Submit(std::vector<vtd::Descriptor> batch) {
  while (true) {
    std::optional<uint16_t> silent;
    absl::Status status = queue_->Submit(batch, &silent);
    // Each time round the unit has one requester fewer whom it may wait for.
    if (!silent.has_value() || !seats_.contains(*silent) || quarantined_.Has(*silent)) {
      return status;
    }
    RETURN_IF_ERROR(Quarantine(*silent));
    batch.erase(std::remove_if(batch.begin(), batch.end(),
                               [&](const vtd::Descriptor& descriptor) {
                                 return vtd::DeviceTlbOf(descriptor) == silent;
                               }),
                batch.end());
  }
}

absl::Status VtdUnit::Quarantine(uint16_t source_id) {
  quarantined_.Add(source_id);
  const Seat& seat = seats_.at(source_id);
  // One store, above all its entries: nothing that it sends goes further, translated or not, with
  // whatever PASID.
  PlainStore().Store64(seat.context_words, seat.context[0] & ~vtd::kPresent);
  hardware_->SetDeviceTlb(source_id, false);
  absl::Status flushed = queue_->Submit(
      {vtd::InvalidateContext(source_id), vtd::InvalidateAllPasids(), vtd::InvalidateIotlb()});
  if (!flushed.ok()) flush_owed_ = true;
  if (seat.page_requests) page_requests_->DropAll(source_id);
  return flushed;
}

absl::Status VtdUnit::Readmit(uint16_t source_id) {
  absl::MutexLock lock(&mutex_);
  if (!quarantined_.Has(source_id)) return absl::OkStatus();
  RETURN_IF_ERROR(FlushWhatIsOwed());
  const Seat& seat = seats_.at(source_id);
  // What is not present is not cached: nothing is to be flushed.
  PlainStore().Store64(seat.context_words, seat.context[0]);
  hardware_->SetDeviceTlb(source_id, true);
  std::vector<vtd::Descriptor> question;
  AppendWholeDeviceTlb(source_id, &question);
  absl::Status answered = queue_->Submit(question);
  if (answered.ok()) {
    quarantined_.Remove(source_id);
  } else {
    Quarantine(source_id).IgnoreError();  // Then it is owed.
  }
  return answered;
}

}  // namespace viommu
