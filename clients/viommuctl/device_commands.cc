// Devices: who has them, what they are attached to, what must not be mapped for them.
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "clients/viommuctl/columns.h"
#include "clients/viommuctl/commands.h"
#include "clients/viommuctl/values.h"
#include "viommu/v1/common.pb.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/host.pb.h"

namespace viommu {
namespace {

// "(hitless)", or why it was not.
std::string Told(const v1::Transition& transition) {
  if (transition.hitless()) return "(hitless)";
  return absl::StrCat("(not hitless: ", transition.reason(), ")");
}

// ", closes 1 reserved region"; empty for none.
std::string Counted(absl::string_view verb, int count) {
  if (count == 0) return "";
  return absl::StrCat(", ", verb, " ", count,
                      count == 1 ? " reserved region" : " reserved regions");
}

// What a dry run says beside: ", closes 2 reserved regions, moves devices/y".
std::string Foretold(const Invocation& call, const v1::AttachmentEffects& effects) {
  if (!call.DryRun()) return "";
  std::string text = absl::StrCat(Counted("closes", effects.reserved_regions_gained_size()),
                                  Counted("opens", effects.reserved_regions_lost_size()));
  if (effects.siblings_moved_size() == 0) return text;
  return absl::StrCat(text, ", moves ", absl::StrJoin(effects.siblings_moved(), " and "));
}

// "devices/x", or "devices/x pasid 5".
template <typename Request>
std::string PlaceOf(const Request& request) {
  if (!request.has_pasid()) return request.name();
  return absl::StrCat(request.name(), " pasid ", request.pasid());
}

template <typename Response>
std::string ToWhere(const Invocation& call, const Response& done) {
  return absl::StrCat("to ", done.attachment().domain(), " ", Told(done.transition()),
                      Foretold(call, done.effects()));
}

// What is to be attached, and to what.
template <typename Request>
absl::Status FillPlace(const Invocation& call, Request* request) {
  if (call.Has("DOMAIN") == call.Has("ioas")) {
    return absl::InvalidArgumentError("say to what: either DOMAIN or --ioas");
  }
  request->set_name(call.Name("DEVICE"));
  request->set_domain(call.Name(call.Has("ioas") ? "ioas" : "DOMAIN"));
  if (call.Has("pasid")) request->set_pasid(call.Number("pasid"));
  return absl::OkStatus();
}

std::string OthersOf(const v1::Device& device) {
  if (device.group_members_size() == 0) return "";
  return absl::StrCat("with its group ", device.group());
}

}  // namespace

absl::Status Claim(Invocation& call) {
  v1::ClaimDeviceRequest request;
  request.set_name(call.Name("DEVICE"));
  request.set_owner(call.Text("owner"));
  request.set_from_owner(call.Text("from-owner"));
  const auto device = call.Call(&v1::DeviceService::Stub::ClaimDevice, request);
  if (!device.ok()) return device.status();
  call.Did(*device, device->name(), "claimed", OthersOf(*device));
  return absl::OkStatus();
}

absl::Status Release(Invocation& call) {
  v1::ReleaseDeviceRequest request;
  request.set_name(call.Name("DEVICE"));
  request.set_owner(call.Text("owner"));
  const auto device = call.Call(&v1::DeviceService::Stub::ReleaseDevice, request);
  if (!device.ok()) return device.status();
  call.Did(*device, device->name(), "released", OthersOf(*device));
  return absl::OkStatus();
}

absl::Status Attach(Invocation& call) {
  v1::AttachDeviceRequest request;
  absl::Status filled = FillPlace(call, &request);
  if (!filled.ok()) return filled;
  const auto done = call.Call(&v1::DeviceService::Stub::AttachDevice, request);
  if (!done.ok()) return done.status();
  call.Did(*done, PlaceOf(request), "attached", ToWhere(call, *done));
  return absl::OkStatus();
}

absl::Status Replace(Invocation& call) {
  v1::ReplaceAttachmentRequest request;
  absl::Status filled = FillPlace(call, &request);
  if (!filled.ok()) return filled;
  const auto done = call.Call(&v1::DeviceService::Stub::ReplaceAttachment, request);
  if (!done.ok()) return done.status();
  call.Did(*done, PlaceOf(request), "moved", ToWhere(call, *done));
  return absl::OkStatus();
}

absl::Status Detach(Invocation& call) {
  v1::DetachDeviceRequest request;
  request.set_name(call.Name("DEVICE"));
  request.set_owner(call.Text("owner"));
  if (call.Has("pasid")) request.set_pasid(call.Number("pasid"));
  const auto done = call.Call(&v1::DeviceService::Stub::DetachDevice, request);
  if (!done.ok()) return done.status();
  call.Did(*done, PlaceOf(request), "detached",
           absl::StrCat(Told(done->transition()), Foretold(call, done->effects())));
  return absl::OkStatus();
}

absl::Status Reset(Invocation& call) {
  v1::ResetDeviceRequest request;
  request.set_name(call.Name("DEVICE"));
  const auto device = call.Call(&v1::DeviceService::Stub::ResetDevice, request);
  if (!device.ok()) return device.status();
  call.Did(*device, device->name(), "reset");
  return absl::OkStatus();
}

absl::Status SetDefaultDomain(Invocation& call) {
  const std::string type = call.Text("TYPE");
  v1::DefaultDomainType value = v1::DEFAULT_DOMAIN_TYPE_UNSPECIFIED;
  v1::DefaultDomainType_Parse(
      absl::StrCat("DEFAULT_DOMAIN_TYPE_",
                   absl::StrReplaceAll(absl::AsciiStrToUpper(type), {{"-", "_"}})),
      &value);
  v1::SetDefaultDomainRequest request;
  request.set_name(call.Name("DEVICE"));
  request.set_default_domain(value);
  const auto device = call.Call(&v1::DeviceService::Stub::SetDefaultDomain, request);
  if (!device.ok()) return device.status();
  const std::string& fallback = device->default_domain_fallback();
  if (fallback.empty()) {
    call.Did(*device, device->name(), "set", absl::StrCat("to the default domain ", type));
  } else {
    call.Did(*device, device->name(), "set",
             absl::StrCat("to dma instead of ", type, ": ", fallback));
  }
  return absl::OkStatus();
}

absl::Status ReservedRegions(Invocation& call) {
  v1::ListReservedRegionsRequest request;
  request.set_parent(call.Name("DEVICE"));
  const auto listing = call.Call(&v1::DeviceService::Stub::ListReservedRegions, request);
  if (!listing.ok()) return listing.status();
  call.ShowListing(*listing, /*is_cut=*/false, TableOf(listing->reserved_regions()));
  return absl::OkStatus();
}

absl::Status HardwareInfo(Invocation& call) {
  v1::GetHardwareInfoRequest request;
  request.set_name(call.Name("DEVICE"));
  const auto info = call.Call(&v1::DeviceService::Stub::GetHardwareInfo, request);
  if (!info.ok()) return info.status();
  const bool smmu = info->has_arm_smmu_v3();
  Table table({"ARCHITECTURE", smmu ? "IDR0" : "CAP", smmu ? "IDR5" : "ECAP", "NESTING",
               "FIRST-STAGE", "PASID-BITS", "ATS", "DIRTY-TRACKING"});
  const v1::HardwareCapabilities& can = info->capabilities();
  const auto yes_no = [](bool value) { return value ? "yes" : "no"; };
  const auto add = [&](const char* architecture, uint64_t first, uint64_t second) {
    table.Add({architecture, FormatAddress(first), FormatAddress(second), yes_no(can.nesting()),
               yes_no(can.first_stage()), absl::StrCat(can.max_pasid_log2()), yes_no(can.ats()),
               yes_no(can.dirty_tracking())});
  };
  if (info->has_vtd()) add("vtd", info->vtd().capability(), info->vtd().extended_capability());
  if (smmu && info->arm_smmu_v3().idr_size() == 6) {
    add("smmu-v3", info->arm_smmu_v3().idr(0), info->arm_smmu_v3().idr(5));
  }
  call.Show(*info, table);
  return absl::OkStatus();
}

}  // namespace viommu
