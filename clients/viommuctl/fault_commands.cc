// Fault queues and page faults: what waits for an answer, answering it; and devices that ask.
#include <cstdint>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "clients/client/call_error.h"
#include "clients/viommuctl/columns.h"
#include "clients/viommuctl/commands.h"
#include "clients/viommuctl/values.h"
#include "viommu/v1/fault.grpc.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu {
namespace {

v1::PageResponseCode CodeCalled(absl::string_view word) {
  return word == "success" ? v1::PAGE_RESPONSE_CODE_SUCCESS : v1::PAGE_RESPONSE_CODE_INVALID;
}

// "fault 3  0000:01:00.0  pasid 5  group 7  domain vm0  0x1000 w".
std::string LineOf(const v1::Fault& fault) {
  std::string line = absl::StrCat("fault ", fault.cookie(), "  ", ShortName(fault.device()), "  ");
  if (fault.has_pasid()) absl::StrAppend(&line, "pasid ", fault.pasid(), "  ");
  absl::StrAppend(&line, "group ", fault.group(), "  domain ", ShortName(fault.domain()), "  ",
                  PagesOf(fault), "\n");
  return line;
}

std::string LineOf(const v1::StreamFaultsResponse& message) {
  if (message.has_fault()) return LineOf(message.fault());
  return absl::StrCat("lost  ", message.lost().lost_groups(), " groups so far\n");
}

}  // namespace

absl::Status ListFaults(Invocation& call) {
  v1::ListFaultsRequest request;
  request.set_name(call.Name("QUEUE"));
  const auto all =
      call.CallPages(&v1::FaultService::Stub::ListFaults, std::move(request), call.Limit());
  if (!all.ok()) return all.status();
  call.ShowListing(*all, !all->next_page_token().empty(), TableOf(all->faults()));
  return absl::OkStatus();
}

absl::Status RespondFault(Invocation& call) {
  v1::RespondFaultRequest request;
  request.set_name(call.Name("QUEUE"));
  for (const std::string& text : call.Texts("COOKIE")) {
    uint32_t cookie = 0;
    if (!absl::SimpleAtoi(text, &cookie)) {
      return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is no cookie"));
    }
    v1::FaultResponse& response = *request.add_responses();
    response.set_cookie(cookie);
    response.set_code(CodeCalled(call.Text("CODE")));
  }
  if (request.responses().empty()) return absl::InvalidArgumentError("say which: COOKIE");
  const auto done = call.Call(&v1::FaultService::Stub::RespondFault, request);
  if (!done.ok()) return done.status();
  const int groups = request.responses_size();
  call.Did(*done, absl::StrCat(groups, groups == 1 ? " group of " : " groups of ", request.name()),
           "answered", call.Text("CODE"));
  return absl::OkStatus();
}

absl::Status WatchFaults(Invocation& call) {
  const absl::StatusOr<Client*> client = call.Connected();
  if (!client.ok()) return client.status();
  grpc::ClientContext context;
  const auto stream = (*client)->Of<v1::FaultService>().StreamFaults(&context);
  v1::StreamFaultsRequest open;
  open.mutable_open()->set_name(call.Name("QUEUE"));
  stream->Write(open);
  v1::StreamFaultsResponse message;
  const uint64_t wanted = call.Has("count") ? call.Number("count") : 0;
  for (uint64_t shown = 0; call.out() && (wanted == 0 || shown < wanted); ++shown) {
    if (!stream->Read(&message)) return ToStatus(stream->Finish());
    if (call.ForPrograms()) {
      call.Show(message, Table());
    } else {
      call.Print(LineOf(message));
    }
    call.out().flush();
  }
  // What was shown waits on: whoever streams next gets it again. When this returns, the queue has
  // no stream any more.
  stream->WritesDone();
  while (stream->Read(&message)) {
  }
  return ToStatus(stream->Finish());
}

absl::Status RaiseFault(Invocation& call) {
  v1::RaisePageFaultRequest request;
  request.set_name(call.Name("DEVICE"));
  request.set_iova(call.Address("ADDRESS"));
  if (call.Has("pasid")) request.set_pasid(call.Number("pasid"));
  if (call.Has("group")) request.set_group(call.Number("group"));
  request.set_write(call.Has("write"));
  request.set_more(call.Has("more"));
  const auto done = call.Call(&v1::SimulationService::Stub::RaisePageFault, request);
  if (!done.ok()) return done.status();
  call.Did(*done, absl::StrCat("page ", FormatAddress(request.iova()), " of ", request.name()),
           "asked for");
  return absl::OkStatus();
}

absl::Status PageResponses(Invocation& call) {
  v1::ListPageResponsesRequest request;
  request.set_name(call.Name("DEVICE"));
  const auto told = call.Call(&v1::SimulationService::Stub::ListPageResponses, request);
  if (!told.ok()) return told.status();
  call.Show(*told, TableOf(told->responses()));
  return absl::OkStatus();
}

}  // namespace viommu
