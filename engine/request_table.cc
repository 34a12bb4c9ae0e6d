#include "engine/request_table.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"

namespace viommu {

absl::StatusOr<std::any> RequestTable::Begin(const CallContext& context) {
  absl::MutexLock lock(&mutex_);
  while (true) {
    OfPrincipal& of = principals_[context.principal];
    const auto [it, added] = of.by_id.try_emplace(context.request_id);
    Entry& entry = it->second;
    if (added) {
      entry.digest = context.request_digest;
      return std::any();
    }
    if (entry.digest != context.request_digest) {
      return Error(absl::StatusCode::kInvalidArgument, "REQUEST_ID_REUSED",
                   absl::StrCat("request_id \"", context.request_id,
                                "\" was used before with another request"))
          .Field("request_id");
    }
    if (entry.answered) return entry.answer;
    if (changed_.WaitWithDeadline(&mutex_, context.deadline)) {
      return Error(absl::StatusCode::kDeadlineExceeded, "DEADLINE_EXCEEDED",
                   "the deadline passed while the same request was being carried out");
    }
  }
}

void RequestTable::Succeed(const CallContext& context, std::any answer) {
  absl::MutexLock lock(&mutex_);
  OfPrincipal& of = principals_[context.principal];
  Entry& entry = of.by_id[context.request_id];
  entry.answered = true;
  entry.answer = std::move(answer);
  of.answered.push_back(context.request_id);
  if (of.answered.size() > kRememberedRequests) {
    of.by_id.erase(of.answered.front());
    of.answered.pop_front();
  }
  changed_.SignalAll();
}

void RequestTable::Fail(const CallContext& context) {
  absl::MutexLock lock(&mutex_);
  principals_[context.principal].by_id.erase(context.request_id);
  changed_.SignalAll();
}

void RequestTable::Forget(const std::string& principal) {
  absl::MutexLock lock(&mutex_);
  principals_.erase(principal);
}

uint64_t RequestTable::size() const {
  absl::MutexLock lock(&mutex_);
  uint64_t count = 0;
  for (const auto& [principal, of] : principals_) count += of.answered.size();
  return count;
}

}  // namespace viommu
