#include "server/watch_service.h"

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "server/call_context.h"
#include "server/describe_watch.h"
#include "server/request_check.h"
#include "server/status.h"

namespace viommu {
namespace {

// How often a watch without events looks whether its client is still there, and the server not
// about to stop.
constexpr absl::Duration kLook = absl::Milliseconds(200);

absl::StatusOr<WatchKind> ParseKind(int value, int index) {
  switch (value) {
    case v1::WATCH_KIND_MEMORY_REGION:
      return WatchKind::kMemoryRegion;
    case v1::WATCH_KIND_IOAS:
      return WatchKind::kIoas;
    case v1::WATCH_KIND_DOMAIN:
      return WatchKind::kDomain;
    case v1::WATCH_KIND_DEVICE:
      return WatchKind::kDevice;
    case v1::WATCH_KIND_VIOMMU:
      return WatchKind::kViommu;
    case v1::WATCH_KIND_VDEVICE:
      return WatchKind::kVdevice;
    case v1::WATCH_KIND_EVENT_QUEUE:
      return WatchKind::kEventQueue;
    case v1::WATCH_KIND_HARDWARE_QUEUE:
      return WatchKind::kHardwareQueue;
    case v1::WATCH_KIND_FAULT_QUEUE:
      return WatchKind::kFaultQueue;
    default: {
      const std::string field = absl::StrCat("kinds[", index, "]");
      return Error(absl::StatusCode::kInvalidArgument, "UNKNOWN_ENUM_VALUE",
                   absl::StrCat(field, ": ", value, " is no kind"))
          .Errno("EINVAL")
          .Field(field)
          .ToStatus();
    }
  }
}

absl::StatusOr<WatchOptions> ParseOptions(const v1::WatchRequest& request) {
  WatchOptions options;
  for (int i = 0; i < request.kinds_size(); ++i) {
    ASSIGN_OR_RETURN(const WatchKind kind, ParseKind(request.kinds(i), i));
    options.kinds.push_back(kind);
  }
  if (!request.has_resume()) return options;
  RETURN_IF_ERROR(Require(!request.resume().boot_id().empty(), "resume.boot_id"));
  options.resume = {request.resume().boot_id(), request.resume().revision()};
  return options;
}

}  // namespace

absl::Status WatchService::Run(const grpc::ServerContext& context, const CallContext& call,
                               const v1::WatchRequest& request, ClientWatchdog::Guard* guard,
                               Writer* writer) {
  ASSIGN_OR_RETURN(const WatchOptions options, ParseOptions(request));
  ASSIGN_OR_RETURN(const std::unique_ptr<viommu::Watch> watch, engine_.OpenWatch(call, options));
  WatchEvent event;
  // gRPC ends a call whose deadline has passed, too.
  while (!context.IsCancelled()) {
    RETURN_IF_ERROR(admission_.CheckServing());
    ASSIGN_OR_RETURN(const bool is_event, watch->Next(kLook, &event));
    if (!is_event) continue;
    guard->Begin(ClientWatchdog::Wait::kAnswerTaken);
    const bool taken = writer->Write(Describe(event, call));
    guard->End();
    if (!taken || (request.until_sync() && event.type == WatchEvent::Type::kSync)) break;
  }
  return absl::OkStatus();
}

absl::Status WatchService::Serve(grpc::ServerContext* context, const v1::WatchRequest& request,
                                 Writer* writer) {
  ASSIGN_OR_RETURN(const Admission::Ticket ticket,
                   admission_.Admit(CallKind::kStream, TransportOf(*context)));
  ASSIGN_OR_RETURN(const CallContext call, MakeCallContext(*context, admission_.caller(), request));
  ClientWatchdog::Guard guard(&watchdog_, context);
  absl::Status status = Run(*context, call, request, &guard, writer);
  RETURN_IF_ERROR(guard.status());
  return status;
}

grpc::Status WatchService::Watch(grpc::ServerContext* context, const v1::WatchRequest* request,
                                 Writer* writer) {
  return ToGrpcStatus(Serve(context, *request, writer));
}

}  // namespace viommu
