// What people see of Viommus and of what belongs to them.
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "clients/viommuctl/columns.h"
#include "clients/viommuctl/kinds.h"
#include "clients/viommuctl/values.h"

namespace viommu {
namespace {

// "arm-smmu-v3" of VIOMMU_TYPE_ARM_SMMU_V3.
std::string Word(absl::string_view name, absl::string_view prefix) {
  absl::ConsumePrefix(&name, prefix);
  return absl::StrReplaceAll(absl::AsciiStrToLower(name), {{"_", "-"}});
}

}  // namespace

Table::Cells Headings(const v1::Viommu&) {
  return {"VIOMMU", "TYPE", "IOMMU", "PARENT", "DOMAINS", "VDEVICES", "OWNER"};
}
Table::Cells Cells(const v1::Viommu& viommu) {
  return {ShortName(viommu.name()),
          Word(v1::ViommuType_Name(viommu.type()), "VIOMMU_TYPE_"),
          ShortName(viommu.iommu()),
          ShortName(viommu.parent()),
          absl::StrCat(viommu.domains_size()),
          absl::StrCat(viommu.vdevices_size()),
          viommu.owner()};
}

Table::Cells Headings(const v1::Vdevice&) { return {"VDEVICE", "DEVICE", "VIRTUAL-ID", "OWNER"}; }
Table::Cells Cells(const v1::Vdevice& vdevice) {
  return {ShortName(vdevice.name()), ShortName(vdevice.device()),
          absl::StrCat(vdevice.virtual_id()), vdevice.owner()};
}

Table::Cells Headings(const v1::EventQueue&) {
  return {"EVENT-QUEUE", "TYPE", "DEPTH", "QUEUED", "REPORTED", "LOST", "NEXT", "OWNER"};
}
Table::Cells Cells(const v1::EventQueue& queue) {
  return {ShortName(queue.name()),
          Word(v1::EventType_Name(queue.type()), "EVENT_TYPE_"),
          absl::StrCat(queue.depth()),
          absl::StrCat(queue.queued()),
          absl::StrCat(queue.reported()),
          absl::StrCat(queue.lost()),
          absl::StrCat(queue.next_sequence()),
          queue.owner()};
}

Table::Cells Headings(const v1::Event&) {
  return {"SEQUENCE", "EVENT", "STREAM", "PASID", "ACCESS", "ADDRESS"};
}
Table::Cells Cells(const v1::Event& event) {
  const std::string sequence = absl::StrCat(event.sequence());
  if (event.lost()) return {sequence, "lost", "", "", "", ""};
  const v1::ArmSmmuV3Event& smmu = event.arm_smmu_v3();
  return {sequence,
          FormatAddress(smmu.id()),
          absl::StrCat(smmu.stream_id()),
          smmu.has_substream_id() ? absl::StrCat(smmu.substream_id()) : "",
          smmu.read() ? "read" : "write",
          FormatAddress(smmu.address())};
}

Table::Cells Headings(const v1::HardwareQueue&) {
  return {"HARDWARE-QUEUE", "TYPE", "INDEX", "BASE", "SIZE", "OWNER"};
}
Table::Cells Cells(const v1::HardwareQueue& queue) {
  return {ShortName(queue.name()),
          Word(v1::HardwareQueueType_Name(queue.type()), "HARDWARE_QUEUE_TYPE_"),
          absl::StrCat(queue.index()),
          FormatAddress(queue.base()),
          FormatSize(queue.length()),
          queue.owner()};
}

}  // namespace viommu
