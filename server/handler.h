// server/handler.h -- The shape of every unary call: context in, engine call, status out.
#ifndef VIOMMU_SERVER_HANDLER_H_
#define VIOMMU_SERVER_HANDLER_H_

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "engine/base/status_macros.h"
#include "engine/types.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/status.h"
#include "server/admission.h"
#include "server/call_context.h"
#include "server/page_token.h"
#include "server/status.h"

namespace viommu {

// The kind of the method that takes a `Request`: every method M takes an MRequest of its own.
template <typename Request>
CallKind KindOfRequest() {
  static const CallKind kind =
      KindOf(absl::StripSuffix(absl::string_view(Request::descriptor()->name()), "Request"));
  return kind;
}

// Runs `body(const CallContext&) -> absl::Status` unless the request is refused already. What only
// gives or asks does not wait for its turn beyond max_wait: its client may be gone, and the engine
// can not know. What takes away may wait, and is done whether or not somebody still listens.
template <typename Request, typename Body>
grpc::Status RunAdmitted(const Admission& admission, CallKind kind,
                         const grpc::ServerContext& context, const Request& request, Body body) {
  absl::StatusOr<CallContext> call = MakeCallContext(context, admission.caller(), request);
  if (!call.ok()) return ToGrpcStatus(call.status());
  if (kind == CallKind::kCall) {
    call->deadline = std::min(call->deadline, absl::Now() + admission.limits().max_wait);
  }
  return ToGrpcStatus(body(*call));
}

// The same, unless as many calls run as may, or the server drains. The call counts until its client
// has the answer.
template <typename Request, typename Body>
grpc::Status Handle(Admission& admission, const grpc::ServerContext& context,
                    const Request& request, Body body) {
  const CallKind kind = KindOfRequest<Request>();
  absl::StatusOr<Admission::Ticket> ticket = admission.Admit(kind);
  if (!ticket.ok()) return ToGrpcStatus(ticket.status());
  grpc::Status status = RunAdmitted(admission, kind, context, request, std::move(body));
  // Sending the answer comes next, and may take a client's time.
  admission.Keep(context, *std::move(ticket));
  return status;
}

// Answers one page: `list(const PageRequest&) -> StatusOr<Page<T>>`, `add(const T&)` for each item.
// `filter` is everything in the request that selects items: a page token is good for it alone.
template <typename Request, typename Response, typename List, typename Add>
absl::Status AnswerPage(const Request& request, const std::string& filter, List list, Add add,
                        Response* response) {
  const std::string scope =
      absl::StrCat(std::string(Request::descriptor()->full_name()), "\n", filter);
  ASSIGN_OR_RETURN(const PageRequest page,
                   ParsePage(scope, request.page_size(), request.page_token()));
  ASSIGN_OR_RETURN(const auto items, list(page));
  for (const auto& item : items.items) add(item);
  response->set_next_page_token(EncodePageToken(scope, items.next_cursor));
  return absl::OkStatus();
}

}  // namespace viommu

#endif  // VIOMMU_SERVER_HANDLER_H_
