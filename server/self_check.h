// server/self_check.h -- Asks the daemon what a client asks, to prove that it answers.
#ifndef VIOMMU_SERVER_SELF_CHECK_H_
#define VIOMMU_SERVER_SELF_CHECK_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"

namespace viommu {

// Holds one connection of its own, so that a daemon whose connections are all taken is not
// mistaken for one that is stuck. Thread-compatible.
class SelfCheck {
 public:
  // `look_at_engine` returns once the engine has given it the lock over its model. `unix_socket` is
  // the operator's.
  SelfCheck(std::function<void()> look_at_engine, const std::string& unix_socket,
            absl::Duration call_timeout);

  // Does not return while the engine is stuck. A call that the daemon refuses, because it is full
  // or ending, is an answer, too.
  // kUnavailable NO_ANSWER: no answer came through the socket in time.
  absl::Status Run();

 private:
  const std::function<void()> look_at_engine_;
  const absl::Duration call_timeout_;
  const std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_SELF_CHECK_H_
