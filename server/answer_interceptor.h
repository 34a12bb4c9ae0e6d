// server/answer_interceptor.h -- Counts and times every call until gRPC has done with it.
//
// A handler returns before its answer is sent; the thread that sends it waits for the client. Only
// an interceptor sees both the sending and the end.
#ifndef VIOMMU_SERVER_ANSWER_INTERCEPTOR_H_
#define VIOMMU_SERVER_ANSWER_INTERCEPTOR_H_

#include "grpcpp/support/server_interceptor.h"
#include "server/admission.h"
#include "server/client_watchdog.h"

namespace viommu {

// For servers whose services are synchronous, but for gRPC's health service. Thread-safe.
class AnswerInterceptorFactory : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  // Both outlive the server.
  AnswerInterceptorFactory(Admission* admission, ClientWatchdog* watchdog)
      : admission_(*admission), watchdog_(*watchdog) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* call) override;

 private:
  Admission& admission_;
  ClientWatchdog& watchdog_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_ANSWER_INTERCEPTOR_H_
