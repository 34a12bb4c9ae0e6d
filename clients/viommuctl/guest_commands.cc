// What a guest does to its virtual IOMMU, done for it: domains on its tables, invalidations.
#include <cstdint>
#include <limits>

#include "absl/strings/str_cat.h"
#include "clients/client/call_error.h"
#include "clients/viommuctl/commands.h"
#include "clients/viommuctl/values.h"
#include "viommu/v1/viommu.grpc.pb.h"

namespace viommu {
namespace {

constexpr uint64_t kPageBytes = 4096;

absl::Status CheckInvalidate(const Invocation& call) {
  const bool ranged = call.Has("address") || call.Has("size");
  if (call.Has("all") && ranged) {
    return absl::InvalidArgumentError("--all stands alone, without --address and --size");
  }
  if (!call.Has("all") && !(call.Has("address") && call.Has("size"))) {
    return absl::InvalidArgumentError("say what: --address and --size, or --all");
  }
  if (call.Size("size") % kPageBytes != 0) {
    return absl::InvalidArgumentError("--size is not a multiple of 4K");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Invalidate(Invocation& call) {
  absl::Status checked = CheckInvalidate(call);
  if (!checked.ok()) return checked;
  v1::InvalidateRequest request;
  request.set_name(call.Name("DOMAIN"));
  v1::VtdStage1Invalidation& command =
      *request.mutable_commands()->mutable_vtd()->add_invalidations();
  command.set_leaves_only(call.Has("leaves-only"));
  if (call.Has("all")) {
    command.set_page_count(std::numeric_limits<uint64_t>::max());
  } else {
    command.set_address(call.Address("address"));
    command.set_page_count(call.Size("size") / kPageBytes);
  }
  const auto done = call.Call(&v1::ViommuService::Stub::Invalidate, request);
  if (!done.ok()) return done.status();
  if (done->has_first_error()) return ToStatus(done->first_error());
  call.Did(*done, request.name(), "invalidated",
           call.Has("all") ? "whole"
                           : absl::StrCat(FormatSize(call.Size("size")), " at ",
                                          FormatAddress(command.address())));
  return absl::OkStatus();
}

}  // namespace viommu
