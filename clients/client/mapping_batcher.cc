#include "clients/client/mapping_batcher.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/client/call_error.h"
#include "viommu/v1/mapping.grpc.pb.h"

namespace viommu {
namespace {

absl::Status Check(const BatcherOptions& options) {
  if (options.ioas.empty()) return absl::InvalidArgumentError("no IO address space is named");
  if (options.batch_entries == 0) return absl::InvalidArgumentError("batch_entries is 0");
  if (options.max_in_flight == 0) return absl::InvalidArgumentError("max_in_flight is 0");
  return absl::OkStatus();
}

v1::StreamMappingsRequest OpenRequest(const BatcherOptions& options) {
  v1::StreamMappingsRequest request;
  v1::OpenStream& open = *request.mutable_open();
  open.set_name(options.ioas);
  open.set_on_error(options.on_error);
  open.set_default_permission(options.default_permission);
  open.set_default_memory_region(options.default_memory_region);
  return request;
}

// The answer's error with the numbers of the entries in front.
absl::Status EntryError(const BatchAnswer& answer, uint64_t sequence) {
  const std::string which =
      answer.failed_entry.has_value()
          ? absl::StrCat("entry ", *answer.failed_entry, " (index ",
                         *answer.failed_entry - answer.entries.first, " of batch ", sequence, ")")
          : absl::StrCat("entries ", Describe({answer.entries}), " (batch ", sequence, ")");
  return WithMessage(answer.status, absl::StrCat(which, ": ", answer.status.message()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<MappingBatcher>> MappingBatcher::Open(Client* client,
                                                                     BatcherOptions options) {
  absl::Status status = Check(options);
  if (!status.ok()) return status;
  const absl::Duration patience = client->options().reconnect_timeout;
  if (patience > absl::ZeroDuration()) status = client->AwaitConnection(patience);
  if (!status.ok()) return status;
  std::unique_ptr<MappingBatcher> batcher(new MappingBatcher(std::move(options)));
  MappingBatcher* const self = batcher.get();
  batcher->pump_ = std::make_unique<MappingPump>(
      &client->Of<v1::MappingService>(), absl::Now() + self->options_.timeout,
      MappingPump::Listener{[self](const auto& response) { return self->OnAnswer(response); },
                            [self](const absl::Status& end) { self->OnEnd(end); }});
  // If it is not taken the stream has ended, and the first call says why.
  batcher->pump_->Write(OpenRequest(self->options_), self->options_.answer_timeout);
  return batcher;
}

MappingBatcher::MappingBatcher(BatcherOptions options)
    : options_(std::move(options)), builder_(options_.default_memory_region) {}

// ---- Adding ----

absl::StatusOr<uint64_t> MappingBatcher::Map(const MapOne& entry) { return Add(entry, true); }

absl::StatusOr<uint64_t> MappingBatcher::Unmap(const UnmapOne& entry) { return Add(entry, true); }

absl::StatusOr<uint64_t> MappingBatcher::TryMap(const MapOne& entry) { return Add(entry, false); }

absl::StatusOr<uint64_t> MappingBatcher::TryUnmap(const UnmapOne& entry) {
  return Add(entry, false);
}

absl::StatusOr<uint64_t> MappingBatcher::MapBatch(absl::Span<const MapOne> entries) {
  return AddBatch(entries);
}

absl::StatusOr<uint64_t> MappingBatcher::UnmapBatch(absl::Span<const UnmapOne> entries) {
  return AddBatch(entries);
}

template <typename Entry>
absl::StatusOr<uint64_t> MappingBatcher::Add(const Entry& entry, bool may_wait) {
  absl::Status status = MayAdd();
  if (status.ok()) status = builder_.Check(entry);
  if (!status.ok()) return status;
  if (builder_.size() >= options_.batch_entries || !builder_.Accepts(entry)) {
    if (!may_wait && !CanSend()) {
      return absl::ResourceExhaustedError(
          absl::StrCat("it would have to wait: ", options_.max_in_flight,
                       " batches wait for their answers, or one is being sent"));
    }
    status = Send(&builder_);
    if (status.ok()) status = MayAdd();
    if (!status.ok()) return status;
  }
  builder_.Add(entry);
  const uint64_t number = Number(1);
  // The entry is added, whatever becomes of it: an error shows in the next call.
  const bool may_send = may_wait ? HasRoom() : CanSend();
  if (builder_.size() >= options_.batch_entries && may_send) Send(&builder_).IgnoreError();
  return number;
}

template <typename Entry>
absl::StatusOr<uint64_t> MappingBatcher::AddBatch(absl::Span<const Entry> entries) {
  absl::Status status = MayAdd();
  if (!status.ok()) return status;
  if (entries.empty()) return absl::InvalidArgumentError("the batch is empty");
  BatchBuilder batch(options_.default_memory_region);
  for (const Entry& entry : entries) {
    status = batch.Check(entry);
    if (!status.ok()) return status;
    if (!batch.Accepts(entry)) {
      return absl::InvalidArgumentError("some maps of the batch have an iova and some have not");
    }
    batch.Add(entry);
  }
  return AddAlone(&batch);
}

absl::StatusOr<uint64_t> MappingBatcher::UnmapAll() {
  absl::Status status = MayAdd();
  if (!status.ok()) return status;
  BatchBuilder batch(options_.default_memory_region);
  batch.AddUnmapAll();
  return AddAlone(&batch);
}

absl::StatusOr<uint64_t> MappingBatcher::AddAlone(BatchBuilder* batch) {
  absl::Status status = Send(&builder_);
  if (status.ok()) status = AwaitInFlightBelow(options_.max_in_flight);
  if (status.ok()) status = MayAdd();
  if (!status.ok()) return status;
  const uint64_t first = Number(batch->size());
  Send(batch).IgnoreError();  // Shows in the next call.
  return first;
}

absl::Status MappingBatcher::MayAdd() {
  if (closed_) return absl::FailedPreconditionError("the mapping stream is closed");
  const absl::MutexLock lock(&mutex_);
  if (ended_) return Broken();
  return IsStopped() ? first_error_ : absl::OkStatus();
}

bool MappingBatcher::HasRoom() const {
  const absl::MutexLock lock(&mutex_);
  return in_flight_.size() < options_.max_in_flight;
}

// The pump is asked without mutex_; nobody else sends, so that what it says stays true.
bool MappingBatcher::CanSend() const { return HasRoom() && pump_->CanWrite(); }

uint64_t MappingBatcher::Number(size_t entries) {
  const absl::MutexLock lock(&mutex_);
  return std::exchange(next_entry_, next_entry_ + entries);
}

// ---- Sending and waiting ----

absl::Status MappingBatcher::Send(BatchBuilder* batch) {
  if (batch->size() == 0) return absl::OkStatus();
  absl::Status room = AwaitInFlightBelow(options_.max_in_flight);
  if (!room.ok()) return room;
  const uint64_t sequence = next_sequence_++;
  {
    const absl::MutexLock lock(&mutex_);
    if (ended_) return Broken();
    const uint64_t last = next_sent_ + batch->size() - 1;
    in_flight_.push_back({sequence, {next_sent_, last}});
    next_sent_ = last + 1;
  }
  if (pump_->Write(batch->Take(sequence), options_.answer_timeout)) return absl::OkStatus();
  TakeBack(sequence);
  return AwaitEnd();
}

void MappingBatcher::TakeBack(uint64_t sequence) {
  const absl::MutexLock lock(&mutex_);
  if (in_flight_.empty() || in_flight_.back().sequence != sequence) return;
  next_sent_ = in_flight_.back().entries.first;
  in_flight_.pop_back();
}

absl::Status MappingBatcher::AwaitInFlightBelow(size_t limit) {
  const absl::MutexLock lock(&mutex_);
  while (!ended_ && in_flight_.size() >= limit) {
    const auto moved = [this, limit, before = answers_]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return ended_ || in_flight_.size() < limit || answers_ != before;
    };
    if (mutex_.AwaitWithTimeout(absl::Condition(&moved), options_.answer_timeout)) continue;
    // Not the server is silent then, but on_answer slow.
    if (pump_->IsListening()) continue;
    pump_->Cancel(absl::DeadlineExceededError(
        absl::StrCat("no answer for ", absl::FormatDuration(options_.answer_timeout))));
    mutex_.Await(absl::Condition(this, &MappingBatcher::HasEnded));
  }
  return in_flight_.size() < limit ? absl::OkStatus() : Broken();
}

absl::Status MappingBatcher::AwaitEnd() {
  const absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(this, &MappingBatcher::HasEnded));
  return Broken();
}

absl::Status MappingBatcher::Flush() {
  absl::Status status = Send(&builder_);
  if (status.ok()) status = AwaitInFlightBelow(1);
  if (!status.ok()) return status;
  const absl::MutexLock lock(&mutex_);
  if (is_told_) return Broken();
  status = first_error_;
  if (!Stops()) first_error_ = absl::OkStatus();
  return status;
}

absl::Status MappingBatcher::Acknowledge() {
  const bool was_stopped = [this] {
    const absl::MutexLock lock(&mutex_);
    return IsStopped();
  }();
  // What is left was added before the caller knew; it is refused as all that is in flight is.
  absl::Status status = Send(&builder_);
  if (status.ok()) status = AwaitInFlightBelow(1);
  if (!status.ok()) return status;
  {
    const absl::MutexLock lock(&mutex_);
    if (!IsStopped()) return absl::OkStatus();
    if (!was_stopped) return first_error_;  // Of which the caller does not know yet.
    first_error_ = absl::OkStatus();
  }
  v1::StreamMappingsRequest request;
  request.mutable_acknowledge();
  if (pump_->Write(request, options_.answer_timeout)) return absl::OkStatus();
  return AwaitEnd();
}

absl::Status MappingBatcher::Close() {
  if (closed_) return absl::FailedPreconditionError("the mapping stream is closed");
  closed_ = true;
  const absl::Status status = Flush();
  const absl::Status end = pump_->Close(options_.answer_timeout);
  const absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(this, &MappingBatcher::HasEnded));
  return status.ok() ? end : status;
}

// ---- Answers ----

absl::Status MappingBatcher::OnAnswer(const v1::StreamMappingsResponse& response) {
  const absl::StatusOr<BatchAnswer> answer = Read(response);
  if (!answer.ok()) return answer.status();
  // First, so that whoever waits finds it done.
  if (options_.on_answer) options_.on_answer(*answer);
  Commit(*answer, response.sequence());
  return absl::OkStatus();
}

absl::StatusOr<BatchAnswer> MappingBatcher::Read(const v1::StreamMappingsResponse& response) const {
  BatchAnswer answer;
  {
    const absl::MutexLock lock(&mutex_);
    if (in_flight_.empty() || in_flight_.front().sequence != response.sequence()) {
      return absl::InternalError(
          absl::StrCat("the server answers batch ", response.sequence(), " out of turn"));
    }
    answer.entries = in_flight_.front().entries;
  }
  if (response.has_status()) answer.status = ToStatus(response.status());
  const absl::optional<uint64_t> index = ErrorOf(answer.status).index();
  if (index.has_value() && *index < answer.entries.count()) {
    answer.failed_entry = answer.entries.first + *index;
  }
  answer.mapping_revision = response.mapping_revision();
  answer.iovas.assign(response.iovas().begin(), response.iovas().end());
  answer.unmapped_bytes = response.unmapped_bytes();
  answer.unmapped_count = response.unmapped_count();
  return answer;
}

void MappingBatcher::Commit(const BatchAnswer& answer, uint64_t sequence) {
  const absl::MutexLock lock(&mutex_);
  in_flight_.pop_front();
  ++answers_;
  (answer.status.ok() ? applied_ : not_applied_).Append(answer.entries);
  if (!answer.status.ok() && first_error_.ok()) first_error_ = EntryError(answer, sequence);
}

void MappingBatcher::OnEnd(const absl::Status& status) {
  const absl::MutexLock lock(&mutex_);
  ended_ = true;
  end_ = status;
}

BatcherOutcome MappingBatcher::outcome() const {
  const absl::MutexLock lock(&mutex_);
  return Outcome();
}

BatcherOutcome MappingBatcher::Outcome() const {
  // The server ends a stream only after it has answered what it applied; a reason shows that it was
  // the server who ended it.
  const bool ended_by_server = ended_ && (end_.ok() || !ReasonOf(end_).empty());
  EntryRanges not_applied = not_applied_;
  EntryRanges unknown;
  EntryRanges& in_flight = ended_by_server || IsStopped() ? not_applied : unknown;
  for (const InFlight& batch : in_flight_) in_flight.Append(batch.entries);
  if (next_sent_ != next_entry_) not_applied.Append({next_sent_, next_entry_ - 1});
  return {applied_.ranges(), not_applied.ranges(), unknown.ranges()};
}

absl::Status MappingBatcher::Broken() {
  is_told_ = true;
  const BatcherOutcome outcome = Outcome();
  const std::string text = absl::StrCat(
      "the mapping stream is broken: ", end_.ok() ? "the server ended it" : end_.message(),
      "; entries applied: ", Describe(outcome.applied),
      "; not applied: ", Describe(outcome.not_applied), "; unknown: ", Describe(outcome.unknown),
      first_error_.ok() ? "" : absl::StrCat("; ", first_error_.message()));
  return end_.ok() ? absl::UnavailableError(text) : WithMessage(end_, text);
}

}  // namespace viommu
