#include "engine/host_flusher.h"

#include <algorithm>
#include <utility>

#include "absl/time/time.h"
#include "engine/base/status_macros.h"
#include "engine/base/thread.h"
#include "engine/operations/flush_step.h"

namespace viommu {

absl::StatusOr<std::unique_ptr<HostFlusher>> HostFlusher::Start(Model* model, absl::Mutex* mutex,
                                                                Backend* backend, Env* env) {
  std::unique_ptr<HostFlusher> flusher(new HostFlusher(model, mutex, backend, env));
  ASSIGN_OR_RETURN(flusher->thread_, StartThread([self = flusher.get()] { self->Run(); }));
  return flusher;
}

HostFlusher::~HostFlusher() {
  if (!thread_.joinable()) return;
  {
    absl::MutexLock lock(mutex_);
    stopping_ = true;
    wake_.Signal();
  }
  thread_.join();
  absl::MutexLock lock(mutex_);
  for (Group& group : model_.groups) {
    if (!group.host.queue.empty()) Flush(group, FlushQueue::Cause::kSync);
  }
}

void HostFlusher::Run() {
  absl::MutexLock lock(mutex_);
  while (!stopping_) {
    const absl::Time next = NextDeadline();
    if (next > env_.Now()) {
      env_.Wait(&wake_, mutex_, next);
      continue;
    }
    for (Group& group : model_.groups) {
      if (group.host.queue.IsDue(env_.Now())) Flush(group, FlushQueue::Cause::kTimer);
    }
  }
}

absl::Time HostFlusher::NextDeadline() const {
  absl::Time next = absl::InfiniteFuture();
  for (const Group& group : model_.groups) {
    if (group.host.queue.IsDue(env_.Now())) return absl::InfinitePast();
    next = std::min(next, group.host.queue.deadline());
  }
  return next;
}

void HostFlusher::Flush(Group& group, FlushQueue::Cause cause) {
  FlushQueue& queue = group.host.queue;
  const uint64_t flush = queue.Begin();
  mutex_->Unlock();
  const absl::Status flushed = backend_.simulation()->HostFlush(group.members.front());
  mutex_->Lock();
  model_.NoteQuarantined();
  if (flushed.ok()) {
    ReleaseFlushed(model_, group, queue.Complete(flush, cause));
  } else {
    queue.Fail(env_.Now());
  }
}

}  // namespace viommu
