// version: which viommuctl this is, and which viommud answers.
#include "absl/strings/str_cat.h"
#include "clients/viommuctl/commands.h"
#include "viommu/v1/host.grpc.pb.h"

namespace viommu {
namespace {

// The same as viommud's: they are released together.
constexpr char kVersion[] = "0.1.0";
// Whoever wants to know the one version does not wait for the other, unless somebody is there.
constexpr absl::Duration kPatience = absl::Milliseconds(400);

}  // namespace

absl::Status Version(Invocation& call) {
  call.Print(absl::StrCat("viommuctl ", kVersion, "\n"));
  if (!call.Has("timeout") && !call.IsListenedAt()) call.MakeImpatient(kPatience);
  const auto host = call.Call(&v1::HostService::Stub::GetHost, v1::GetHostRequest());
  if (host.ok()) {
    call.Print(absl::StrCat("viommud ", host->version(), " at ", call.target(), "\n"));
  } else if (!call.Quiet()) {
    call.err() << "viommud: " << host.status().message() << "\n";
  }
  return absl::OkStatus();
}

}  // namespace viommu
