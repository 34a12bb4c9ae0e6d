#include "server/listener_service.h"

#include <string>

#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "server/convert.h"
#include "server/handler.h"
#include "server/names.h"
#include "server/no_listener_service.h"
#include "server/request_check.h"

namespace viommu {
namespace {

absl::Status Unavailable() {
  return Error(absl::StatusCode::kUnimplemented, "LISTENERS_UNAVAILABLE",
               "the daemon has no listeners: it runs without listener_dir")
      .Errno("EOPNOTSUPP");
}

SocketAccess ParseAccess(const v1::Listener& listener) {
  SocketAccess access;
  if (listener.mode() != 0) access.mode = listener.mode();
  if (listener.has_uid()) access.uid = listener.uid();
  if (listener.has_gid()) access.gid = listener.gid();
  return access;
}

v1::Listener Describe(const ListenerView& view) {
  v1::Listener out;
  out.set_name(HostName(NameKind::kListener, view.owner));
  out.set_owner(view.owner);
  // That of a dry run is not known.
  if (view.create_time != absl::Time()) *out.mutable_create_time() = ToProto(view.create_time);
  out.set_path(view.path);
  out.set_connections(view.connections);
  out.set_mode(view.access.mode);
  if (view.access.uid.has_value()) out.set_uid(*view.access.uid);
  if (view.access.gid.has_value()) out.set_gid(*view.access.gid);
  return out;
}

absl::StatusOr<std::string> ParseListener(absl::string_view name) {
  return ParseHostName(NameKind::kListener, "name", name);
}

}  // namespace

// Only operators are behind the door of this service; the engine's rule for everything else is
// asked for here as well.
absl::Status ListenerService::CheckUsable(const CallContext& call) const {
  if (!call.is_operator) return ListenersAreForOperators();
  return listeners_ == nullptr ? Unavailable() : absl::OkStatus();
}

grpc::Status ListenerService::CreateListener(grpc::ServerContext* context,
                                             const v1::CreateListenerRequest* request,
                                             v1::Listener* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    RETURN_IF_ERROR(CheckUsable(call));
    RETURN_IF_ERROR(Require(!request->listener_id().empty(), "listener_id"));
    ASSIGN_OR_RETURN(const ListenerView view, listeners_->Create(call, request->listener_id(),
                                                                 ParseAccess(request->listener())));
    *response = Describe(view);
    return absl::OkStatus();
  });
}

grpc::Status ListenerService::GetListener(grpc::ServerContext* context,
                                          const v1::GetListenerRequest* request,
                                          v1::Listener* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    RETURN_IF_ERROR(CheckUsable(call));
    ASSIGN_OR_RETURN(const std::string owner, ParseListener(request->name()));
    ASSIGN_OR_RETURN(const ListenerView view, listeners_->Get(owner));
    *response = Describe(view);
    return absl::OkStatus();
  });
}

grpc::Status ListenerService::ListListeners(grpc::ServerContext* context,
                                            const v1::ListListenersRequest* request,
                                            v1::ListListenersResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    RETURN_IF_ERROR(CheckUsable(call));
    return AnswerPage(
        *request, "", [&](const PageRequest& page) { return listeners_->List(page); },
        [&](const ListenerView& view) { *response->add_listeners() = Describe(view); }, response);
  });
}

grpc::Status ListenerService::DeleteListener(grpc::ServerContext* context,
                                             const v1::DeleteListenerRequest* request,
                                             google::protobuf::Empty*) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    RETURN_IF_ERROR(CheckUsable(call));
    ASSIGN_OR_RETURN(const std::string owner, ParseListener(request->name()));
    return listeners_->Delete(call, owner);
  });
}

}  // namespace viommu
