// engine/request_table.h -- Remembers answered requests, so that a repeated one gets the first
// answer.
//
// Only successes are remembered: a failed request changed nothing and may be tried again under its
// id. Bounded: each principal has its own kRememberedRequests, the oldest answered one goes first,
// so that no tenant can push out another's. Lives in memory until the durable journal carries
// request ids. Thread-safe.
#ifndef VIOMMU_ENGINE_REQUEST_TABLE_H_
#define VIOMMU_ENGINE_REQUEST_TABLE_H_

#include <any>
#include <deque>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "engine/types.h"

namespace viommu {

class RequestTable {
 public:
  // Whether the caller is to carry the request out (empty answer), or what was answered the first
  // time. Waits while the same request is being carried out by another call.
  // kInvalidArgument REQUEST_ID_REUSED: the id came with another digest before
  // kDeadlineExceeded while waiting
  absl::StatusOr<std::any> Begin(const CallContext& context);

  // Ends what Begin gave the caller to do.
  void Succeed(const CallContext& context, std::any answer);
  void Fail(const CallContext& context);

  // What `principal` asked for is not remembered any more. None of it is being carried out.
  void Forget(const std::string& principal);

  uint64_t size() const;

 private:
  struct Entry {
    std::string digest;
    bool answered = false;
    std::any answer;
  };
  struct OfPrincipal {
    absl::flat_hash_map<std::string, Entry> by_id;
    std::deque<std::string> answered;  // Oldest first.
  };

  mutable absl::Mutex mutex_;
  absl::CondVar changed_;
  absl::flat_hash_map<std::string, OfPrincipal> principals_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_REQUEST_TABLE_H_
