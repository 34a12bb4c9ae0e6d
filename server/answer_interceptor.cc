#include "server/answer_interceptor.h"

#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "grpcpp/server_context.h"

namespace viommu {
namespace {

using ::grpc::experimental::InterceptionHookPoints;
using ::grpc::experimental::InterceptorBatchMethods;

// It keeps no thread waiting, and its contexts are those of callbacks.
constexpr absl::string_view kHealthService = "/grpc.health.v1.Health/";

// One call. gRPC makes it before the handler runs and destroys it with the context, when the answer
// is sent or can not be sent any more. A stream reads, sends and ends at the same time: what
// changes here is touched by sending alone, which is done by one thread after the other.
class Answer : public grpc::experimental::Interceptor {
 public:
  Answer(Admission* admission, ClientWatchdog* watchdog, grpc::ServerContextBase* context)
      : open_(admission, context), watchdog_(*watchdog), context_(*context) {}

  void Intercept(InterceptorBatchMethods* methods) override {
    const bool last = methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS);
    if (last || methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_MESSAGE)) {
      Sends();
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_SEND_MESSAGE) && !last_) {
      guard_->End();
    }
    if (last) last_ = true;  // Its time ends with the call.
    methods->Proceed();
  }

 private:
  void Sends() {
    if (!guard_.has_value()) guard_.emplace(&watchdog_, &context_);
    guard_->Begin(ClientWatchdog::Wait::kAnswerTaken);
  }

  const Admission::OpenCall open_;
  ClientWatchdog& watchdog_;
  grpc::ServerContextBase& context_;
  std::optional<ClientWatchdog::Guard> guard_;  // Once there is something to send.
  bool last_ = false;
};

}  // namespace

grpc::experimental::Interceptor* AnswerInterceptorFactory::CreateServerInterceptor(
    grpc::experimental::ServerRpcInfo* call) {
  if (absl::StartsWith(call->method(), kHealthService)) return nullptr;
  // Of whatever kind of context: gRPC refuses methods that nobody has with one of its own. It takes
  // ownership.
  return new Answer(&admission_, &watchdog_, call->server_context());
}

}  // namespace viommu
