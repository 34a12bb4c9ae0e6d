// clients/client/retry.h -- Which calls may be repeated, on which errors, and when.
//
//   the request                 | repeated on
//   ----------------------------|--------------------------------------------------------------
//   reads: Get..., List...,     | UNAVAILABLE, CANCELLED, any error with a RetryInfo
//   Read..., Translate, Dump... |
//   has a request_id            | the same, and always as the same request: a server that did it
//                               | the first time gives the first answer again
//   neither (Dma, WriteMemory)  | nothing
//
// CANCELLED: nobody here cancels a call, so it comes from a server that ends and had not begun it.
// DEADLINE_EXCEEDED is never repeated: an attempt may take all the time that the call has left, so
// that none is left behind it.
#ifndef VIOMMU_CLIENTS_CLIENT_RETRY_H_
#define VIOMMU_CLIENTS_CLIENT_RETRY_H_

#include <functional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "google/protobuf/message.h"

namespace viommu {

// What makes it safe to send a request twice.
enum class Repeatable {
  kRead,           // It changes nothing.
  kWithRequestId,  // It has a request_id, which must be set.
  kNever,
};

// By the type of `request`; a type that is not known to be a read is none.
Repeatable RepeatableOf(const google::protobuf::Message& request);

// Sets the request_id of a request that has one and left it empty.
void GiveRequestId(google::protobuf::Message* request);

// A new random id, of the form of UUID version 4.
std::string NewRequestId();

struct RetryOptions {
  int max_attempts = 4;  // The first one counts.
  // Wait before the second attempt, doubled for each one after it, at most max_backoff; the last
  // half of it is random. A RetryInfo adds its delay.
  absl::Duration first_backoff = absl::Milliseconds(100);
  absl::Duration max_backoff = absl::Seconds(2);
};

// Time and chance.
struct RetryClock {
  std::function<absl::Time()> now;
  std::function<void(absl::Duration)> sleep;
  std::function<double()> random;  // 0 to below 1.
};
RetryClock RealRetryClock();

// What came of one attempt.
struct Attempt {
  absl::Status status;
  // There was no server to send it to. Another would not help either, whatever the status says.
  bool not_sent = false;
};

// Calls `attempt` until it succeeds, its error is none to repeat on, the attempts are used up, or
// the next one could not begin before `deadline`. The error is that of the last attempt; its
// message says how many there were if there was more than one, and how the one before ended if the
// last was not sent.
absl::Status RunAttempts(const RetryOptions& options, Repeatable repeatable, absl::Time deadline,
                         const RetryClock& clock, absl::FunctionRef<Attempt()> attempt);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_CLIENT_RETRY_H_
