#include "clients/client/mapping_pump.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/client/call_error.h"

namespace viommu {

MappingPump::MappingPump(v1::MappingService::Stub* stub, absl::Time deadline, Listener listener)
    : listener_(std::move(listener)) {
  context_.set_deadline(absl::ToChronoTime(deadline));
  stream_ = stub->PrepareAsyncStreamMappings(&context_, &queue_);
  stream_->StartCall(&sent_tag_);
  thread_ = std::thread([this] { Run(); });
}

MappingPump::~MappingPump() {
  context_.TryCancel();
  thread_.join();
}

bool MappingPump::Write(const v1::StreamMappingsRequest& request, absl::Duration patience) {
  const absl::MutexLock lock(&mutex_);
  AwaitIdle(patience);
  if (broken_) return false;
  sending_ = true;
  stream_->Write(request, &sent_tag_);  // Made into bytes before it returns.
  return true;
}

bool MappingPump::CanWrite() const {
  const absl::MutexLock lock(&mutex_);
  return IsIdle();
}

bool MappingPump::IsListening() const {
  const absl::MutexLock lock(&mutex_);
  return listening_;
}

absl::Status MappingPump::Close(absl::Duration patience) {
  const absl::MutexLock lock(&mutex_);
  AwaitIdle(patience);
  if (!broken_) {
    sending_ = true;
    broken_ = true;  // This was the last.
    stream_->WritesDone(&sent_tag_);
  }
  if (!mutex_.AwaitWithTimeout(absl::Condition(this, &MappingPump::HasEnded), patience)) {
    CancelLocked(absl::DeadlineExceededError(
        absl::StrCat("the server did not end it within ", absl::FormatDuration(patience))));
    mutex_.Await(absl::Condition(this, &MappingPump::HasEnded));
  }
  return status_;
}

void MappingPump::Cancel(const absl::Status& why) {
  const absl::MutexLock lock(&mutex_);
  CancelLocked(why);
}

void MappingPump::CancelLocked(const absl::Status& why) {
  if (given_up_.ok()) given_up_ = why;
  context_.TryCancel();
}

void MappingPump::AwaitIdle(absl::Duration patience) {
  do {
    if (mutex_.AwaitWithTimeout(absl::Condition(this, &MappingPump::IsIdle), patience)) return;
  } while (listening_);
  CancelLocked(absl::DeadlineExceededError(
      absl::StrCat("the server took nothing for ", absl::FormatDuration(patience))));
  mutex_.Await(absl::Condition(this, &MappingPump::IsIdle));
}

void MappingPump::Run() {
  void* tag = nullptr;
  bool ok = false;
  bool reading = false;
  while (queue_.Next(&tag, &ok)) {
    switch (*static_cast<Tag*>(tag)) {
      case kSent:
        OnSent(ok);
        // The first is the start of the call. One that did not start is read from as well, to learn
        // why not.
        if (!reading) stream_->Read(&response_, &received_tag_);
        reading = true;
        break;
      case kReceived:
        OnReceived(ok);
        break;
      default:
        OnFinished();
    }
  }
}

void MappingPump::OnSent(bool ok) {
  const absl::MutexLock lock(&mutex_);
  sending_ = false;
  broken_ = broken_ || !ok;
}

void MappingPump::SetListening(bool listening) {
  const absl::MutexLock lock(&mutex_);
  listening_ = listening;
}

void MappingPump::OnReceived(bool ok) {
  if (ok) {
    SetListening(true);
    const absl::Status taken = listener_.on_answer(response_);
    SetListening(false);
    if (!taken.ok()) Cancel(taken);
    stream_->Read(&response_, &received_tag_);
    return;
  }
  {
    const absl::MutexLock lock(&mutex_);
    broken_ = true;
  }
  stream_->Finish(&finish_, &finished_tag_);
}

void MappingPump::OnFinished() {
  const absl::Status status = [this] {
    const absl::MutexLock lock(&mutex_);
    status_ = given_up_.ok() ? ToStatus(finish_) : given_up_;
    ended_ = true;
    return status_;
  }();
  // Nothing is begun any more, since broken_ is set; what is under way still comes out.
  queue_.Shutdown();
  listener_.on_end(status);
}

}  // namespace viommu
