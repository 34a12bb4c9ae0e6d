#include "server/rpc_interceptor.h"

#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace viommu {
namespace {

using ::grpc::experimental::InterceptionHookPoints;
using ::grpc::experimental::InterceptorBatchMethods;

// One call. gRPC makes it when the call arrives, runs it from one thread at a time, and destroys it
// with the call. Every call gets a status in the end, a cancelled one too.
class CallObserver : public grpc::experimental::Interceptor {
 public:
  CallObserver(std::string method, const RpcSeries* series, Log* log)
      : method_(std::move(method)), series_(series), log_(log), start_(absl::Now()) {
    series_->Started();
  }

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE) &&
        methods->GetRecvMessage() != nullptr) {
      series_->MessageReceived();  // Null: the end of a stream.
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_MESSAGE)) {
      series_->MessageSent();
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      Handled(methods->GetSendStatus());
    }
    methods->Proceed();
  }

 private:
  void Handled(const grpc::Status& status) {
    const absl::Duration took = absl::Now() - start_;
    series_->Handled(status.error_code(), took);
    if (status.ok() || !log_->Enabled(LogLevel::kDebug)) return;
    log_->Write(LogLevel::kDebug, "rpc_failed",
                {{"method", method_},
                 {"code", CodeName(status.error_code())},
                 {"message", status.error_message()},
                 {"seconds", absl::ToDoubleSeconds(took)}});
  }

  const std::string method_;
  const RpcSeries* const series_;
  Log* const log_;
  const absl::Time start_;
};

}  // namespace

grpc::experimental::Interceptor* RpcInterceptorFactory::CreateServerInterceptor(
    grpc::experimental::ServerRpcInfo* call) {
  const RpcSeries* series = metrics_->Find(call->method());
  if (series == nullptr) return nullptr;
  return new CallObserver(call->method(), series, log_);  // gRPC takes ownership.
}

}  // namespace viommu
