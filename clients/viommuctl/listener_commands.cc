// Listeners: sockets of tenants.
#include <cstdint>
#include <cstdlib>

#include "clients/viommuctl/commands.h"
#include "clients/viommuctl/object_verbs.h"
#include "viommu/v1/listener.grpc.pb.h"

namespace viommu {

absl::Status ListListeners(Invocation& call) {
  return List(call, &v1::ListenerService::Stub::ListListeners, v1::ListListenersRequest(),
              &v1::ListListenersResponse::listeners);
}

absl::Status GetListener(Invocation& call) {
  return Get(call, &v1::ListenerService::Stub::GetListener);
}

absl::Status CreateListener(Invocation& call) {
  v1::CreateListenerRequest request;
  request.set_listener_id(call.Text("OWNER"));
  v1::Listener& listener = *request.mutable_listener();
  // One of the choices; none is the default.
  listener.set_mode(static_cast<uint32_t>(std::strtoul(call.Text("mode").c_str(), nullptr, 8)));
  if (call.Has("uid")) listener.set_uid(call.Number("uid"));
  if (call.Has("gid")) listener.set_gid(call.Number("gid"));
  return Created(call, call.Call(&v1::ListenerService::Stub::CreateListener, request));
}

absl::Status DeleteListener(Invocation& call) {
  return Delete(call, &v1::ListenerService::Stub::DeleteListener);
}

}  // namespace viommu
