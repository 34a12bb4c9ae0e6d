#include "server/fault_service.h"

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/base/thread.h"
#include "grpc/grpc.h"
#include "server/call_context.h"
#include "server/convert.h"
#include "server/describe.h"
#include "server/handler.h"
#include "server/names.h"
#include "server/request_check.h"
#include "server/status.h"

namespace viommu {
namespace {

// How often a stream without faults looks whether the server is about to stop, and at what devices
// have reported by themselves.
constexpr absl::Duration kLook = absl::Milliseconds(200);

absl::Status Refusal(absl::string_view reason, absl::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message).Errno("EINVAL");
}

template <typename Responses>
absl::StatusOr<std::vector<FaultResponse>> ParseResponses(const Responses& responses) {
  std::vector<FaultResponse> out;
  for (const v1::FaultResponse& response : responses) {
    const std::string field = absl::StrCat("responses[", out.size(), "].code");
    ASSIGN_OR_RETURN(const PageResponse code, ParsePageResponse(field, response.code()));
    out.push_back({response.cookie(), code});
  }
  return out;
}

// Ends a call whose handler waits for the client, which is told why in as many words as there is
// room for.
void EndCall(grpc::ServerContext* context, const absl::Status& why) {
  const std::optional<ErrorDetail> detail = DetailOf(why);
  const std::string message =
      absl::StrCat(detail.has_value() ? detail->reason : "", ": ", why.message());
  grpc_call_cancel_with_status(context->c_call(), static_cast<grpc_status_code>(why.code()),
                               message.c_str(), nullptr);
}

// One open stream. SendFaults belongs to the writing thread, Answer to the reading one.
class Session {
 public:
  Session(Engine* engine, const CallContext& call, ObjectRef queue,
          std::unique_ptr<FaultStream> faults, ClientWatchdog::Guard* guard,
          FaultService::Stream* stream)
      : engine_(*engine),
        call_(call),
        queue_(std::move(queue)),
        faults_(std::move(faults)),
        guard_(*guard),
        stream_(*stream) {}

  // Sends until it is cancelled, or the client is gone, or no more than listening and all that
  // waits is sent. Errors: why the stream has to end.
  absl::Status SendFaults(const Admission& admission) {
    FaultStreamEvent event;
    while (true) {
      RETURN_IF_ERROR(admission.CheckServing());
      const bool ending = ending_;
      const absl::StatusOr<bool> is_event =
          faults_->Next(ending ? absl::ZeroDuration() : kLook, &event);
      if (absl::IsCancelled(is_event.status())) return absl::OkStatus();
      if (!is_event.ok()) return is_event.status();
      if (!*is_event && ending) return absl::OkStatus();
      if (*is_event && !Write(Describe(event))) return absl::OkStatus();
    }
  }
  // No message of the client's will come.
  void End() { ending_ = true; }
  void Cancel() { faults_->Cancel(); }

  // Carries a batch of answers out. Errors: those that end the stream.
  absl::Status Answer(const v1::StreamFaultsRequest& request) {
    RETURN_IF_ERROR(CheckKnown(request));
    if (request.has_open()) return Refusal("UNEXPECTED_OPEN", "open: the stream is open already");
    RETURN_IF_ERROR(Require(request.has_responses(), "open or responses"));
    v1::StreamFaultsResponse out;
    v1::FaultStreamAnswer& answer = *out.mutable_answer();
    answer.set_sequence(request.responses().sequence());
    const absl::Status done = Respond(request.responses());
    if (!done.ok()) *answer.mutable_error() = ToRpcStatus(done);
    Write(out);  // A client that is gone has sent its last message.
    return absl::OkStatus();
  }

 private:
  absl::Status Respond(const v1::FaultStreamResponses& batch) {
    if (last_.has_value() && batch.sequence() <= *last_) {
      return Error(absl::StatusCode::kInvalidArgument, "SEQUENCE_NOT_ASCENDING",
                   absl::StrCat("sequence ", batch.sequence(), " does not follow ", *last_))
          .Errno("EINVAL")
          .Field("sequence");
    }
    last_ = batch.sequence();
    ASSIGN_OR_RETURN(std::vector<FaultResponse> responses, ParseResponses(batch.responses()));
    return engine_.RespondFault(call_, queue_, std::move(responses), faults_->queue());
  }

  bool Write(const v1::StreamFaultsResponse& response) ABSL_LOCKS_EXCLUDED(writing_) {
    absl::MutexLock lock(&writing_);
    guard_.Begin(ClientWatchdog::Wait::kAnswerTaken);
    const bool taken = stream_.Write(response);
    guard_.End();
    return taken;
  }

  Engine& engine_;
  const CallContext& call_;
  const ObjectRef queue_;
  const std::unique_ptr<FaultStream> faults_;
  absl::Mutex writing_;  // One message at a time.
  ClientWatchdog::Guard& guard_ ABSL_GUARDED_BY(writing_);
  FaultService::Stream& stream_ ABSL_GUARDED_BY(writing_);
  std::optional<uint64_t> last_;  // Sequence number of the batch before.
  std::atomic<bool> ending_{false};
};

}  // namespace

grpc::Status FaultService::CreateFaultQueue(grpc::ServerContext* context,
                                            const v1::CreateFaultQueueRequest* request,
                                            v1::FaultQueue* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    const std::string& id = request->fault_queue_id();
    RETURN_IF_ERROR(CheckNewId("fault_queue_id", id));
    ASSIGN_OR_RETURN(const FaultQueueView view,
                     engine_.CreateFaultQueue(call, id, request->fault_queue().depth()));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status FaultService::GetFaultQueue(grpc::ServerContext* context,
                                         const v1::GetFaultQueueRequest* request,
                                         v1::FaultQueue* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref,
                     ParseName(NameKind::kFaultQueue, "name", request->name()));
    ASSIGN_OR_RETURN(const FaultQueueView view, engine_.GetFaultQueue(call, ref));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status FaultService::ListFaultQueues(grpc::ServerContext* context,
                                           const v1::ListFaultQueuesRequest* request,
                                           v1::ListFaultQueuesResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) {
    return AnswerPage(
        *request, "", [&](const PageRequest& page) { return engine_.ListFaultQueues(call, page); },
        [&](const FaultQueueView& view) { *response->add_fault_queues() = Describe(view, call); },
        response);
  });
}

grpc::Status FaultService::DeleteFaultQueue(grpc::ServerContext* context,
                                            const v1::DeleteFaultQueueRequest* request,
                                            google::protobuf::Empty*) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref,
                     ParseName(NameKind::kFaultQueue, "name", request->name()));
    return engine_.DeleteFaultQueue(call, ref, request->etag());
  });
}

grpc::Status FaultService::ListFaults(grpc::ServerContext* context,
                                      const v1::ListFaultsRequest* request,
                                      v1::ListFaultsResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref,
                     ParseName(NameKind::kFaultQueue, "name", request->name()));
    return AnswerPage(
        *request, request->name(),
        [&](const PageRequest& page) { return engine_.ListFaults(call, ref, page); },
        [&](const FaultView& view) { *response->add_faults() = Describe(view); }, response);
  });
}

grpc::Status FaultService::RespondFault(grpc::ServerContext* context,
                                        const v1::RespondFaultRequest* request,
                                        v1::RespondFaultResponse*) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref,
                     ParseName(NameKind::kFaultQueue, "name", request->name()));
    ASSIGN_OR_RETURN(std::vector<FaultResponse> responses, ParseResponses(request->responses()));
    return engine_.RespondFault(call, ref, std::move(responses));
  });
}

absl::Status FaultService::Run(grpc::ServerContext* context, const CallContext& call,
                               ClientWatchdog::Guard* guard, Stream* stream) {
  v1::StreamFaultsRequest request;
  guard->Begin(ClientWatchdog::Wait::kOpening);
  const bool opened = stream->Read(&request);
  guard->End();
  if (!opened) return absl::OkStatus();
  RETURN_IF_ERROR(CheckKnown(request));
  if (!request.has_open()) return Refusal("OPEN_EXPECTED", "the first message is not `open`");
  ASSIGN_OR_RETURN(const ObjectRef queue,
                   ParseName(NameKind::kFaultQueue, "open.name", request.open().name()));
  ASSIGN_OR_RETURN(std::unique_ptr<FaultStream> faults, engine_.OpenFaultStream(call, queue));
  Session session(&engine_, call, queue, std::move(faults), guard, stream);
  ASSIGN_OR_RETURN(std::thread writer, StartThread([&] {
                     const absl::Status why = session.SendFaults(admission_);
                     if (!why.ok()) EndCall(context, why);
                   }));
  absl::Status status;
  while (status.ok() && stream->Read(&request)) status = session.Answer(request);
  if (status.ok()) {
    session.End();
  } else {
    session.Cancel();
  }
  writer.join();
  return status;
}

absl::Status FaultService::Serve(grpc::ServerContext* context, Stream* stream) {
  ASSIGN_OR_RETURN(const Admission::Ticket ticket,
                   admission_.Admit(CallKind::kStream, TransportOf(*context)));
  ClientWatchdog::Guard guard(&watchdog_, context);
  absl::Status status =
      Run(context, MakeCallContext(*context, admission_.caller()), &guard, stream);
  RETURN_IF_ERROR(guard.status());
  return status;
}

grpc::Status FaultService::StreamFaults(grpc::ServerContext* context, Stream* stream) {
  return ToGrpcStatus(Serve(context, stream));
}

}  // namespace viommu
