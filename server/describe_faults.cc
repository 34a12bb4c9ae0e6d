// The engine's fault queues and page faults as the API's.
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/convert.h"
#include "server/describe.h"
#include "server/names.h"

namespace viommu {

v1::FaultQueue Describe(const FaultQueueView& view, const CallContext& caller) {
  v1::FaultQueue out;
  out.set_name(FormatName(NameKind::kFaultQueue, view.object, caller));
  out.set_uid(absl::StrCat(view.object.uid));
  out.set_owner(view.object.owner);
  out.set_etag(view.object.etag);
  out.set_revision(view.object.revision);
  // A dry run has no time of creation.
  if (view.object.create_time != absl::Time()) {
    *out.mutable_create_time() = ToProto(view.object.create_time);
  }
  out.set_depth(view.depth);
  out.set_waiting_groups(view.waiting);
  out.set_lost_groups(view.lost);
  out.set_streamed(view.streamed);
  for (const std::string& domain : view.domains) out.add_domains(domain);
  return out;
}

v1::Fault Describe(const FaultView& view) {
  v1::Fault out;
  out.set_cookie(view.cookie);
  out.set_sequence(view.sequence);
  out.set_device(view.device);
  out.set_domain(view.domain);
  if (view.pasid.has_value()) out.set_pasid(*view.pasid);
  out.set_group(view.group);
  for (const FaultedPage& page : view.pages) {
    v1::FaultedPage& shown = *out.add_pages();
    shown.set_iova(page.address);
    shown.set_iova_text(Hex(page.address));
    shown.set_read(page.read);
    shown.set_write(page.write);
    shown.set_execute(page.execute);
    shown.set_privileged(page.privileged);
  }
  *out.mutable_time() = ToProto(view.time);
  return out;
}

v1::StreamFaultsResponse Describe(const FaultStreamEvent& event) {
  v1::StreamFaultsResponse out;
  if (const auto* lost = std::get_if<FaultsLost>(&event)) {
    out.mutable_lost()->set_lost_groups(lost->total);
  } else {
    *out.mutable_fault() = Describe(std::get<FaultView>(event));
  }
  return out;
}

v1::PageResponse Describe(const PageGroupResponse& response) {
  v1::PageResponse out;
  if (response.group.pasid.has_value()) out.set_pasid(*response.group.pasid);
  out.set_group(response.group.group);
  out.set_code(ToProto(response.code));
  return out;
}

}  // namespace viommu
