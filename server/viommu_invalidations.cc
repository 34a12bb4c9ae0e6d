// The half of ViommuService that carries invalidations: one call, or a stream of batches.
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "server/call_context.h"
#include "server/handler.h"
#include "server/invalidation_commands.h"
#include "server/names.h"
#include "server/request_check.h"
#include "server/status.h"
#include "server/viommu_service.h"

namespace viommu {
namespace {

// What commands are given to.
struct Target {
  NameKind kind = NameKind::kDomain;
  ObjectRef ref;
};

absl::StatusOr<Target> ParseTarget(absl::string_view field, absl::string_view name) {
  Target target;
  if (ResourceType(name) == "viommu.v1.Viommu") target.kind = NameKind::kViommu;
  ASSIGN_OR_RETURN(target.ref, ParseName(target.kind, field, name));
  return target;
}

absl::StatusOr<InvalidateAnswer> GiveTo(Engine& engine, const CallContext& call,
                                        const Target& target, const InvalidationBatch& batch,
                                        Uid only = 0) {
  if (target.kind == NameKind::kViommu) {
    return engine.InvalidateViommu(call, target.ref, batch, only);
  }
  return engine.Invalidate(call, target.ref, batch, only);
}

absl::Status Refusal(absl::string_view reason, absl::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message).Errno("EINVAL");
}

// One open stream: what it is about, and the last batch that it had.
class Session {
 public:
  Session(Engine* engine, const CallContext& call) : engine_(*engine), call_(call) {}

  // Errors: those that end the stream.
  absl::Status Open(const v1::StreamInvalidationsRequest& request) {
    RETURN_IF_ERROR(CheckKnown(request));
    if (!request.has_open()) return Refusal("OPEN_EXPECTED", "the first message is not `open`");
    ASSIGN_OR_RETURN(target_, ParseTarget("open.name", request.open().name()));
    // Without commands it asks whether any would be taken, and tells which object it is.
    ASSIGN_OR_RETURN(const InvalidateAnswer probe, GiveTo(engine_, call_, target_, {}));
    uid_ = probe.target;
    return absl::OkStatus();
  }

  // Carries a batch out. Errors: those that end the stream.
  absl::StatusOr<v1::StreamInvalidationsResponse> Answer(
      const v1::StreamInvalidationsRequest& request) {
    RETURN_IF_ERROR(CheckKnown(request));
    if (request.has_open()) return Refusal("UNEXPECTED_OPEN", "open: the stream is open already");
    RETURN_IF_ERROR(Require(request.has_batch(), "open or batch"));
    v1::StreamInvalidationsResponse out;
    out.set_sequence(request.batch().sequence());
    const absl::StatusOr<InvalidateAnswer> answer = Handle(request.batch());
    const absl::Status why = answer.ok() ? answer->first_error : answer.status();
    if (answer.ok()) out.set_handled(answer->handled);
    if (!why.ok()) *out.mutable_first_error() = ToRpcStatus(why);
    return out;
  }

 private:
  absl::StatusOr<InvalidateAnswer> Handle(const v1::InvalidationStreamBatch& batch) {
    if (last_.has_value() && batch.sequence() <= *last_) {
      return Error(absl::StatusCode::kInvalidArgument, "SEQUENCE_NOT_ASCENDING",
                   absl::StrCat("sequence ", batch.sequence(), " does not follow ", *last_))
          .Errno("EINVAL")
          .Field("sequence")
          .ToStatus();
    }
    last_ = batch.sequence();
    return GiveTo(engine_, call_, target_, ParseCommands(batch.commands()), uid_);
  }

  Engine& engine_;
  const CallContext& call_;
  Target target_;
  Uid uid_ = 0;
  std::optional<uint64_t> last_;  // Sequence number of the batch before.
};

}  // namespace

grpc::Status ViommuService::Invalidate(grpc::ServerContext* context,
                                       const v1::InvalidateRequest* request,
                                       v1::InvalidateResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const Target target, ParseTarget("name", request->name()));
    ASSIGN_OR_RETURN(const InvalidateAnswer answer,
                     GiveTo(engine_, call, target, ParseCommands(request->commands())));
    response->set_handled(answer.handled);
    if (!answer.first_error.ok()) {
      *response->mutable_first_error() = ToRpcStatus(answer.first_error);
    }
    return absl::OkStatus();
  });
}

absl::Status ViommuService::RunInvalidations(const CallContext& call, ClientWatchdog::Guard* guard,
                                             InvalidationStream* stream) {
  v1::StreamInvalidationsRequest request;
  guard->Begin(ClientWatchdog::Wait::kOpening);
  const bool opened = stream->Read(&request);
  guard->End();
  if (!opened) return absl::OkStatus();
  Session session(&engine_, call);
  RETURN_IF_ERROR(session.Open(request));
  while (stream->Read(&request)) {
    ASSIGN_OR_RETURN(const v1::StreamInvalidationsResponse response, session.Answer(request));
    guard->Begin(ClientWatchdog::Wait::kAnswerTaken);
    const bool taken = stream->Write(response);
    guard->End();
    if (!taken) break;
  }
  return absl::OkStatus();
}

absl::Status ViommuService::ServeInvalidations(grpc::ServerContext* context,
                                               InvalidationStream* stream) {
  ASSIGN_OR_RETURN(const Admission::Ticket ticket,
                   admission_.Admit(CallKind::kStream, TransportOf(*context)));
  ClientWatchdog::Guard guard(&watchdog_, context);
  absl::Status status =
      RunInvalidations(MakeCallContext(*context, admission_.caller()), &guard, stream);
  RETURN_IF_ERROR(guard.status());
  return status;
}

grpc::Status ViommuService::StreamInvalidations(grpc::ServerContext* context,
                                                InvalidationStream* stream) {
  return ToGrpcStatus(ServeInvalidations(context, stream));
}

}  // namespace viommu
