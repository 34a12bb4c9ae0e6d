// clients/viommuctl/object_verbs.h -- Get, list, create and delete, of whatever kind.
#ifndef VIOMMU_CLIENTS_VIOMMUCTL_OBJECT_VERBS_H_
#define VIOMMU_CLIENTS_VIOMMUCTL_OBJECT_VERBS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/viommuctl/columns.h"
#include "clients/viommuctl/invocation.h"
#include "clients/viommuctl/kinds.h"
#include "google/protobuf/empty.pb.h"

namespace viommu {

template <typename Stub, typename Request, typename Response>
using Method = grpc::Status (Stub::*)(grpc::ClientContext*, const Request&, Response*);

template <typename Stub, typename Request, typename Response>
absl::Status Get(Invocation& call, Method<Stub, Request, Response> method) {
  Request request;
  request.set_name(call.FirstName());
  const auto object = call.Call(method, request);
  if (!object.ok()) return object.status();
  call.Show(*object, TableOf(std::vector<Response>{*object}));
  return absl::OkStatus();
}

template <typename Stub, typename Request, typename Response, typename Items>
absl::Status List(Invocation& call, Method<Stub, Request, Response> method, Request request,
                  const Items& (Response::*items)() const) {
  const auto listing = call.CallPages(method, std::move(request), call.Limit());
  if (!listing.ok()) return listing.status();
  call.ShowListing(*listing, !listing->next_page_token().empty(), TableOf((*listing.*items)()));
  return absl::OkStatus();
}

template <typename Stub, typename Request>
absl::Status Delete(Invocation& call, Method<Stub, Request, google::protobuf::Empty> method) {
  Request request;
  request.set_name(call.FirstName());
  const auto done = call.Call(method, request);
  if (!done.ok()) return done.status();
  call.Did(*done, request.name(), "deleted");
  return absl::OkStatus();
}

// Answers a creation, if it went well.
template <typename Object>
absl::Status Created(Invocation& call, const absl::StatusOr<Object>& object) {
  if (!object.ok()) return object.status();
  // What a script takes along.
  if (call.Quiet() && !call.ForPrograms() && !call.DryRun()) call.Print(object->name() + "\n");
  call.Did(*object, object->name(), "created");
  return absl::OkStatus();
}

template <typename Stub, typename Request, typename Response, typename Items>
std::vector<std::string> Names(Invocation& call, Method<Stub, Request, Response> method,
                               const Items& (Response::*items)() const) {
  std::vector<std::string> names;
  const auto listing = call.CallPages(method, Request(), /*limit=*/0);
  if (!listing.ok()) return names;
  for (const auto& item : (*listing.*items)()) names.push_back(ShortName(item.name()));
  return names;
}

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_VIOMMUCTL_OBJECT_VERBS_H_
