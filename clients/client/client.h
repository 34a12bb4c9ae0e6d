// clients/client/client.h -- The stubs of services on one connection, and one way to call them.
//
//   #include "viommu/v1/host.grpc.pb.h"
//   auto client = viommu::Client::Connect("unix:/run/viommu/viommud.sock");
//   if (!client.ok()) return client.status();
//   auto host = (*client)->Call(&v1::HostService::Stub::GetHost, v1::GetHostRequest());
//   if (!host.ok()) std::cerr << viommu::Explain(host.status()) << "\n";
//
// Call repeats what is safe to repeat; the table is in retry.h. Streams are never
// repeated; mapping_batcher.h and object_watch.h drive them. What errors say is in call_error.h.
// See docs/CLIENT.md.
#ifndef VIOMMU_CLIENTS_CLIENT_CLIENT_H_
#define VIOMMU_CLIENTS_CLIENT_CLIENT_H_

#include <map>
#include <memory>
#include <string>
#include <typeindex>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "clients/client/call_error.h"
#include "clients/client/retry.h"
#include "clients/client/target.h"
#include "google/protobuf/message.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/status.h"

namespace viommu {

struct ClientOptions {
  // For one call with all its attempts, unless the call says otherwise.
  absl::Duration call_timeout = absl::Seconds(20);
  // Attempts at one call, see RetryOptions; 1: nothing is repeated.
  int max_attempts = RetryOptions().max_attempts;
  absl::Duration first_backoff = RetryOptions().first_backoff;
  absl::Duration max_backoff = RetryOptions().max_backoff;
  // How long Connect waits for a server to be there.
  absl::Duration connect_timeout = absl::Seconds(5);
  // How long each attempt at a call waits for a connection that was lost, so that a server which is
  // started anew meanwhile is not missed. 0: not at all.
  absl::Duration reconnect_timeout = absl::Seconds(5);
};

// For one call. Defaults: those of the client.
struct CallOptions {
  absl::optional<absl::Duration> timeout;
  absl::optional<int> max_attempts;
};

// One connection, which is made again whenever it was lost. Thread-safe.
class Client {
 public:
  // Connects to `target` (see ParseTarget), which is a server without TLS. No proxy of the
  // environment is used, and clients of one target share no connection.
  // kInvalidArgument: the target is malformed.
  // kUnavailable: nobody answers there within connect_timeout; with what is known of the reason.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const std::string& target,
                                                         ClientOptions options = {});

  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // The stub of a service, such as v1::MappingService, for streams and what else is called without
  // Call. It lives as long as the client. Callers include the headers of services that they use:
  // those of all take longer to compile than most of what uses them.
  template <typename Service>
  typename Service::Stub& Of() {
    return StubOf<typename Service::Stub>();
  }

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  const ClientOptions& options() const { return options_; }

  // Calls `method` of `stub`, such as Of<v1::HostService>(). A change whose request_id was left
  // empty gets a new one, unless max_attempts is 1, so that it may be repeated as retry.h says.
  // The server's error, with its details (call_error.h);
  // kUnavailable: the server could not be reached, or was lost, or the timeout ended in a wait for
  //   a connection. After an attempt that was sent it is not known whether a change was made; the
  //   message tells of it when the last one was not. A request_id of the caller's may be sent again
  //   to find out; one that was given here ends with this call.
  // kDeadlineExceeded: no answer to an attempt within the timeout; the same holds.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Stub& stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                Request request, CallOptions options = {}) {
    Response response;
    const absl::Status status = Run(&request, options, [&](grpc::ClientContext* context) {
      return (stub.*method)(context, request, &response);
    });
    if (!status.ok()) return status;
    return response;
  }

  // The same with the stub that has the method.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                Request request, CallOptions options = {}) {
    return Call(StubOf<Stub>(), method, std::move(request), options);
  }

  // Waits until there is a connection; for calls that are made without Call.
  // kUnavailable: there is none within `patience`.
  absl::Status AwaitConnection(absl::Duration patience);
  // Gives a call that is made without Call, such as a stream, the time of `timeout`.
  static void SetDeadline(grpc::ClientContext* context, absl::Duration timeout);

 private:
  template <typename Stub>
  Stub& StubOf() {
    absl::MutexLock lock(&mutex_);
    std::shared_ptr<void>& stub = stubs_[std::type_index(typeid(Stub))];
    if (stub == nullptr) stub = std::make_shared<Stub>(channel_);
    return *static_cast<Stub*>(stub.get());
  }

  Client(Target target, ClientOptions options);

  absl::Status Run(google::protobuf::Message* request, const CallOptions& options,
                   absl::FunctionRef<grpc::Status(grpc::ClientContext*)> call);

  const Target target_;
  const ClientOptions options_;
  const std::shared_ptr<grpc::Channel> channel_;
  absl::Mutex mutex_;
  std::map<std::type_index, std::shared_ptr<void>> stubs_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_CLIENT_CLIENT_H_
