// server/handler.h -- The shape of every unary call: context in, engine call, status out.
#ifndef VIOMMU_SERVER_HANDLER_H_
#define VIOMMU_SERVER_HANDLER_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/types.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/status.h"
#include "server/call_context.h"
#include "server/page_token.h"
#include "server/status.h"

namespace viommu {

// Runs `body(const CallContext&) -> absl::Status` unless the request is refused already.
template <typename Request, typename Body>
grpc::Status Handle(const grpc::ServerContext& context, const Request& request, Body body) {
  const absl::StatusOr<CallContext> call = MakeCallContext(context, request);
  if (!call.ok()) return ToGrpcStatus(call.status());
  return ToGrpcStatus(body(*call));
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
