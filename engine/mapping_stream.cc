#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/base/thread.h"
#include "engine/conveyor.h"
#include "engine/core.h"

namespace viommu {
MappingStream::Conveyor::Conveyor(Pipeline* pipeline, CallContext context, StreamOptions options,
                                  Uid ioas, std::function<void()> at_end)
    : pipeline_(pipeline),
      context_(std::move(context)),
      options_(std::move(options)),
      ioas_(ioas),
      at_end_(std::move(at_end)) {}

absl::Status MappingStream::Conveyor::Start() {
  ASSIGN_OR_RETURN(driver_, StartThread([this] { DriveWhatIsLeft(); }));
  return absl::OkStatus();
}

MappingStream::Conveyor::~Conveyor() {
  {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
    left_.SignalAll();
  }
  if (driver_.joinable()) driver_.join();
  at_end_();
}

void MappingStream::Conveyor::DriveWhatIsLeft() {
  absl::MutexLock lock(&mutex_);
  while (true) {
    DriveBefore(nullptr, /*only_ready=*/false);
    if (ending_) return;
    left_.Wait(&mutex_);
  }
}

absl::Status MappingStream::Conveyor::CheckBatch(const StreamBatch& batch) {
  if (last_sequence_.has_value() && batch.sequence <= *last_sequence_) {
    return Error(absl::StatusCode::kInvalidArgument, "SEQUENCE_NOT_ASCENDING",
                 absl::StrCat("sequence ", batch.sequence, " after ", *last_sequence_))
        .Errno("EINVAL")
        .Field("sequence");
  }
  last_sequence_ = batch.sequence;
  if (batch.map.has_value() == batch.unmap.has_value()) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_BATCH",
                 "a batch is either all maps or all unmaps")
        .Errno("EINVAL");
  }
  return absl::OkStatus();
}

Operation* MappingStream::Conveyor::MakeOperation(StreamBatch batch, Item& item) {
  if (batch.map.has_value()) {
    item.map_batch = *std::move(batch.map);
    item.map = std::make_unique<MapOperation>(context_, options_.ioas, &item.map_batch, ioas_);
    return item.map.get();
  }
  item.unmap =
      std::make_unique<UnmapOperation>(context_, options_.ioas, *std::move(batch.unmap), ioas_);
  return item.unmap.get();
}

void MappingStream::Conveyor::Submit(StreamBatch batch) {
  absl::MutexLock lock(&mutex_);
  while (items_.size() >= kMaxInFlightBatches) changed_.Wait(&mutex_);
  const auto item = std::make_shared<Item>();
  items_.push_back(item);
  item->reply.sequence = batch.sequence;
  const absl::Status checked = CheckBatch(batch);
  if (checked.ok()) {
    Start(*item, *MakeOperation(std::move(batch), *item));
  } else {
    if (options_.on_error == OnError::kStop) pipeline_->Stop(cohort_);
    Settle(*item, checked);
  }
  changed_.SignalAll();
}

void MappingStream::Conveyor::Start(Item& item, Operation& operation) {
  Pipeline::Cohort* const cohort = options_.on_error == OnError::kStop ? &cohort_ : nullptr;
  item.driven = true;  // Until it has a flight nobody else can finish it.
  mutex_.Unlock();
  item.flight = pipeline_->Start(operation, cohort, /*may_wait=*/false);
  mutex_.Lock();
  if (item.flight == nullptr) {
    // It needs what is under way before it to be settled. Ours would wait for us: settle them.
    DriveBefore(&item, /*only_ready=*/false);
    mutex_.Unlock();
    item.flight = pipeline_->Start(operation, cohort, /*may_wait=*/true);
    mutex_.Lock();
  }
  item.driven = false;
  DriveBefore(nullptr, /*only_ready=*/true);
  if (!item.done) left_.Signal();
}

bool MappingStream::Conveyor::Ready(const Item& item) {
  return !item.driven && pipeline_->Ready(*item.flight);
}

void MappingStream::Conveyor::DriveBefore(const Item* end, bool only_ready) {
  for (size_t i = 0; i < items_.size() && items_[i].get() != end;) {
    const std::shared_ptr<Item> before = items_[i];
    if (before->done) {
      ++i;
      continue;
    }
    if (only_ready && !Ready(*before)) return;
    Drive(*before);
    i = 0;  // Replies may have been taken meanwhile.
  }
}

void MappingStream::Conveyor::Drive(Item& item) {
  while (item.driven && !item.done) changed_.Wait(&mutex_);
  if (item.done) return;
  item.driven = true;
  mutex_.Unlock();
  absl::Status status = pipeline_->Finish(*item.flight);
  mutex_.Lock();
  Settle(item, std::move(status));
}

void MappingStream::Conveyor::Settle(Item& item, absl::Status status) {
  if (status.ok() && item.map != nullptr) item.reply.map = std::move(item.map->answer());
  if (status.ok() && item.unmap != nullptr) item.reply.unmap = item.unmap->answer();
  item.reply.status = std::move(status);
  item.done = true;
  item.map.reset();
  item.map_batch = MapBatch();
  item.unmap.reset();
  item.flight.reset();
  changed_.SignalAll();
}

void MappingStream::Conveyor::Acknowledge() { pipeline_->Resume(cohort_); }

void MappingStream::Conveyor::CloseSubmissions() {
  absl::MutexLock lock(&mutex_);
  closed_ = true;
  changed_.SignalAll();
}

bool MappingStream::Conveyor::NextReply(StreamReply* reply) {
  absl::MutexLock lock(&mutex_);
  while (items_.empty() && !closed_) changed_.Wait(&mutex_);
  if (items_.empty()) return false;
  const std::shared_ptr<Item> item = items_.front();
  Drive(*item);
  *reply = std::move(item->reply);
  items_.pop_front();
  changed_.SignalAll();
  return true;
}

absl::StatusOr<Account*> Engine::Core::TakeStream(const std::string& principal) {
  absl::MutexLock lock(&pipeline.mutex());
  absl::StatusOr<Account*> account = model.ledger.Take(principal, Usage(Resource::kStreams, 1));
  model.ledger.CountIfRefusal(account.status());
  return account;
}

void Engine::Core::GiveBackStream(Account& account) {
  absl::MutexLock lock(&pipeline.mutex());
  model.ledger.GiveBack(account, Usage(Resource::kStreams, 1));
}

MappingStream::MappingStream(std::unique_ptr<Conveyor> conveyor) : conveyor_(std::move(conveyor)) {}
MappingStream::~MappingStream() = default;
void MappingStream::Submit(StreamBatch batch) { conveyor_->Submit(std::move(batch)); }
void MappingStream::Acknowledge() { conveyor_->Acknowledge(); }
void MappingStream::CloseSubmissions() { conveyor_->CloseSubmissions(); }
bool MappingStream::NextReply(StreamReply* reply) { return conveyor_->NextReply(reply); }

absl::StatusOr<std::unique_ptr<MappingStream>> Engine::OpenMappingStream(
    const CallContext& context, const StreamOptions& options) {
  // Each batch looks the name up again and must find the same Ioas.
  ASSIGN_OR_RETURN(const IoasView ioas, GetIoas(context, options.ioas));
  ASSIGN_OR_RETURN(Account * account, core_->TakeStream(context.principal));
  CallContext of_stream = context;
  of_stream.request_id.clear();
  of_stream.deadline = absl::InfiniteFuture();
  auto conveyor = std::make_unique<MappingStream::Conveyor>(
      &core_->pipeline, std::move(of_stream), options, ioas.object.uid,
      [core = core_.get(), account] { core->GiveBackStream(*account); });
  RETURN_IF_ERROR(conveyor->Start());
  return std::unique_ptr<MappingStream>(new MappingStream(std::move(conveyor)));
}

}  // namespace viommu
