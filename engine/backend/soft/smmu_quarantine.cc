// engine/backend/soft/smmu_quarantine.cc -- How an SmmuUnit finds the stream whose device does not
// answer an ATC_INV, goes on without it, and takes it in again.

#include "absl/container/btree_map.h"
#include "engine/backend/soft/smmu_unit.h"
#include "engine/pagetable/store.h"

namespace viommu {

absl::Status SmmuUnit::SubmitToDevices(absl::Span<const smmu::Command> commands) {
  bool silent = false;
  absl::Status status = queue_->Submit(commands, &silent);
  if (!silent) return status;
  // The CMD_SYNC that failed names nobody: each device is asked again, with one of its own.
  absl::btree_map<uint32_t, Commands> by_stream;
  for (const smmu::Command& command : commands) {
    by_stream[static_cast<uint32_t>(smmu::kCommandStreamId.Get(command[0]))].push_back(command);
  }
  for (const auto& [id, its] : by_stream) {
    status = queue_->Submit(its, &silent);
    if (silent) status = Quarantine(&streams_.at(id));
    RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

absl::Status SmmuUnit::Quarantine(SmmuStream* stream) {
  quarantined_.Add(stream->id);
  stream->quarantined = true;
  absl::Status flushed;
  // To abort it is one store, above all its descriptors; what the caches hold goes behind it.
  ChangeSte(PlainStore(), stream, [&](const smmu::Command& command) {
    flushed.Update(queue_->Submit(absl::MakeConstSpan(&command, 1)));
    return absl::OkStatus();
  }).IgnoreError();  // This flush answers OK.
  if (!flushed.ok()) flush_owed_ = true;
  AnswerUntakenAt(*stream, std::nullopt);
  return flushed;
}

absl::Status SmmuUnit::Readmit(uint32_t stream_id) {
  absl::MutexLock lock(&mutex_);
  SmmuStream& stream = streams_.at(stream_id);
  if (!stream.quarantined) return absl::OkStatus();
  RETURN_IF_ERROR(FlushWhatIsOwed());
  stream.quarantined = false;
  absl::Status status = ChangeSte(PlainStore(), &stream, [this](const smmu::Command& command) {
    return queue_->Submit(absl::MakeConstSpan(&command, 1));
  });
  if (status.ok() && stream.ats_on) {
    status = queue_->Submit({smmu::InvalidateAtc(stream_id, smmu::kWholeAtc)});
  }
  if (status.ok()) {
    quarantined_.Remove(stream_id);
  } else {
    Quarantine(&stream).IgnoreError();  // Then it is owed.
  }
  return status;
}

}  // namespace viommu
