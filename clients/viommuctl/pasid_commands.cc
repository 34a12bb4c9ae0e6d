// PASIDs of a device's group: which are taken, taking and freeing them.
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/viommuctl/columns.h"
#include "clients/viommuctl/commands.h"
#include "viommu/v1/device.grpc.pb.h"

namespace viommu {
namespace {

absl::Status Took(Invocation& call, const absl::StatusOr<v1::Pasid>& taken,
                  absl::string_view participle) {
  if (!taken.ok()) return taken.status();
  call.Did(*taken, absl::StrCat("PASID ", taken->pasid(), " of ", taken->device()), participle);
  return absl::OkStatus();
}

}  // namespace

absl::Status ListPasids(Invocation& call) {
  v1::ListPasidsRequest request;
  request.set_parent(call.Name("DEVICE"));
  const auto all =
      call.CallPages(&v1::DeviceService::Stub::ListPasids, std::move(request), call.Limit());
  if (!all.ok()) return all.status();
  call.ShowListing(*all, !all->next_page_token().empty(), TableOf(all->pasids()));
  return absl::OkStatus();
}

absl::Status AllocatePasid(Invocation& call) {
  v1::AllocatePasidRequest request;
  request.set_name(call.Name("DEVICE"));
  if (call.Has("min")) request.set_min_pasid(call.Number("min"));
  if (call.Has("max")) request.set_max_pasid(call.Number("max"));
  request.set_label(call.Text("label"));
  return Took(call, call.Call(&v1::DeviceService::Stub::AllocatePasid, request), "allocated");
}

absl::Status ReservePasid(Invocation& call) {
  v1::ReservePasidRequest request;
  request.set_name(call.Name("DEVICE"));
  request.set_pasid(call.Number("PASID"));
  request.set_label(call.Text("label"));
  return Took(call, call.Call(&v1::DeviceService::Stub::ReservePasid, request), "reserved");
}

absl::Status FreePasid(Invocation& call) {
  v1::FreePasidRequest request;
  request.set_name(call.Name("DEVICE"));
  request.set_pasid(call.Number("PASID"));
  request.set_owner(call.Text("owner"));
  const auto done = call.Call(&v1::DeviceService::Stub::FreePasid, request);
  if (!done.ok()) return done.status();
  call.Did(*done, absl::StrCat("PASID ", request.pasid(), " of ", request.name()), "freed");
  return absl::OkStatus();
}

}  // namespace viommu
