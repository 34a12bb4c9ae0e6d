// tests/conformance/host_cases.cc -- Hardware information, default domains, the host's own
// mappings.
#include "tests/conformance/cases.h"
#include "tests/conformance/verbs.h"
#include "viommu/v1/common.pb.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/host.pb.h"

namespace viommu::conformance {
namespace {

using Steps = std::vector<Step>;

constexpr v1::DefaultDomainType kIdentity = v1::DEFAULT_DOMAIN_TYPE_IDENTITY;
constexpr v1::DefaultDomainType kDma = v1::DEFAULT_DOMAIN_TYPE_DMA;
constexpr v1::DefaultDomainType kDmaFq = v1::DEFAULT_DOMAIN_TYPE_DMA_FQ;

Step HardwareInfoOfNobody(v1::HardwareType type = v1::HARDWARE_TYPE_UNSPECIFIED) {
  return [=](World& world) {
    v1::GetHardwareInfoRequest request;
    request.set_name("devices/conf-none");
    request.set_type(type);
    return world.Call(&v1::DeviceService::Stub::GetHardwareInfo, std::move(request)).status();
  };
}

std::vector<Case> Information() {
  return {
      {"13/3",
       "a device that is not there",
       {},
       HardwareInfoOfNobody(),
       NotFound("DEVICE_NOT_FOUND").Blames("devices/conf-none")},
      {"13/3",
       "a device that is not there is told before the type",
       {},
       HardwareInfoOfNobody(v1::HARDWARE_TYPE_AMD),
       NotFound("DEVICE_NOT_FOUND")},
      OnVtd({"13/4",
             "as an Arm SMMU",
             {},
             HardwareInfo("plain", v1::HARDWARE_TYPE_ARM_SMMU_V3),
             Unimplemented("HARDWARE_TYPE_MISMATCH").Field("type").Says("HARDWARE_TYPE_VTD")}),
      {"13/4",
       "as an AMD IOMMU",
       {},
       HardwareInfo("plain", v1::HARDWARE_TYPE_AMD),
       Unimplemented("HARDWARE_TYPE_MISMATCH").Field("type")},
      OnVtd({"13/4",
             "as what it is",
             {},
             HardwareInfo("plain", v1::HARDWARE_TYPE_VTD),
             {},
             {AnswerSays("type: HARDWARE_TYPE_VTD")}}),
      {"13",
       "what a plain unit can do",
       {},
       HardwareInfo("plain"),
       {},
       {AnswerSays("second_stage_page_sizes_bytes: 4096"), AnswerSays("snoop_control: true"),
        AnswerSays("pass_through: true"), AnswerLacks(" nesting"), AnswerLacks(" first_stage"),
        AnswerLacks("max_pasid_log2"), AnswerLacks("dirty_tracking"),
        AnswerLacks("page_requests")}},
      OnVtd({"13",
             "what a unit with both stages can do",
             {},
             HardwareInfo("nested"),
             {},
             {AnswerSays(" nesting: true first_stage: true"),
              AnswerSays("supervisor_requests: true"), AnswerSays("max_pasid_log2: 16"),
              AnswerSays("ats: true"), AnswerSays("first_stage_page_sizes_bytes: 4096"),
              AnswerSays("nest_parent_refuses_read_only: true"), AnswerLacks("first_stage_5_level"),
              AnswerLacks("extended_accessed"), AnswerLacks("dirty_tracking")}}),
      OnVtd({"13",
             "what another unit with both stages can do",
             {},
             HardwareInfo("deep"),
             {},
             {AnswerSays("first_stage_5_level: true"), AnswerSays("extended_accessed: true"),
              AnswerSays("max_pasid_log2: 8"), AnswerSays("dirty_tracking: true"),
              AnswerLacks("supervisor_requests")}}),
      OnVtd({"13",
             "what a unit without snoop control can do",
             {},
             HardwareInfo("loose"),
             {},
             {AnswerLacks("snoop_control"), AnswerLacks("pass_through")}}),
      OnVtd({"13",
             "of a device that is there",
             {},
             HardwareInfo("plain"),
             {},
             {AnswerSays("capability"), AnswerSays("extended_capability")}}),
  };
}

std::vector<Case> Defaults() {
  return {
      {"15",
       "no type",
       {},
       SetDefault("trusted", v1::DEFAULT_DOMAIN_TYPE_UNSPECIFIED),
       Invalid("MISSING_FIELD").Field("default_domain")},
      {"15",
       "a device that is claimed",
       {Claim("trusted")},
       SetDefault("trusted", kIdentity),
       Precondition("DEVICE_CLAIMED", "EBUSY").Blames("trusted")},
      {"15",
       "a device whose mate is claimed",
       {Claim("pair.b")},
       SetDefault("pair.a", kDma),
       Precondition("DEVICE_CLAIMED", "EBUSY").Blames("pair.a")},
      {"15",
       "a device for which the host maps memory",
       {NewRegion("r"), HostMap("trusted")},
       SetDefault("trusted", kIdentity),
       Precondition("HOST_MAPPINGS", "EBUSY").Blames("trusted")},
      {"15",
       "identity for a device that may not",
       {},
       SetDefault("plain", kIdentity),
       Denied("IDENTITY_NOT_ALLOWED").Blames("plain")},
      {"15",
       "one that is not to be trusted gets DMA",
       {},
       SetDefault("untrusted", kIdentity),
       {},
       {DeviceSays("untrusted", "default_domain: DEFAULT_DOMAIN_TYPE_DMA"),
        DeviceSays("untrusted", "default_domain_fallback")}},
      OnVtd({"15",
             "a unit that can not pass through gives DMA",
             {},
             SetDefault("loose", kIdentity),
             {},
             {DeviceSays("loose", "default_domain: DEFAULT_DOMAIN_TYPE_DMA"),
              DeviceSays("loose", "default_domain_fallback")}}),
      {"15",
       "identity where it is allowed",
       {},
       SetDefault("trusted", kIdentity),
       {},
       {DeviceSays("trusted", "domain: \"domains/identity\"")}},
      {"15",
       "from identity to DMA",
       {},
       SetDefault("identity", kDma),
       {},
       {DeviceSays("identity", "default_domain: DEFAULT_DOMAIN_TYPE_DMA"),
        Faults("identity", 0x10000)}},
      {"15",
       "from DMA to deferred flushes while the host maps memory",
       {NewRegion("r"), HostMap("plain")},
       SetDefault("plain", kDmaFq),
       {},
       {DeviceSays("plain", "default_domain: DEFAULT_DOMAIN_TYPE_DMA_FQ"),
        [](World& world) { return Reads("plain", world.iovas.at(0), 1)(world); }}},
      {"15",
       "one that is not to be trusted is always strict",
       {},
       SetDefault("untrusted", kDmaFq),
       {},
       {DeviceSays("untrusted", "default_domain: DEFAULT_DOMAIN_TYPE_DMA "),
        DeviceSays("untrusted", "default_domain_fallback")}},
      {"15", "what it is already", {Remember()}, SetDefault("plain", kDma), {}, {NothingChanged()}},
  };
}

std::vector<Case> HostMappings() {
  return {
      {"15/map",
       "a device that is claimed",
       {NewRegion("r"), Claim("plain")},
       HostMap("plain"),
       Precondition("DEVICE_CLAIMED", "EBUSY").Blames("plain")},
      {"15/map",
       "a region that is not there",
       {},
       HostMap("plain"),
       NotFound("MEMORY_REGION_NOT_FOUND").Blames("memoryRegions/conf-r")},
      {"15/map",
       "a length of 0",
       {NewRegion("r")},
       HostMap("plain", 0),
       Invalid("INVALID_LENGTH").Field("length").Says("0")},
      {"15/map",
       "a length that is not aligned",
       {NewRegion("r")},
       HostMap("plain", 0x800),
       Invalid("MISALIGNED").Says("0x800")},
      {"15/map",
       "a source beyond the region",
       {NewRegion("r")},
       HostMap("plain", kPage, kMiB),
       OutOfRange("SOURCE_OUT_OF_BOUNDS", "EINVAL").Field("offset").Says("0x100000")},
      {"15/map",
       "neither reading nor writing",
       {NewRegion("r")},
       HostMap("plain", kPage, 0, v1::PERMISSION_NONE),
       Invalid("INVALID_PERMISSION")},
      {"15/map",
       "the first page is never chosen",
       {NewRegion("r")},
       HostMap("plain"),
       {},
       {[](World& world) {
         return world.iovas.at(0) >= kPage ? absl::OkStatus()
                                           : absl::InternalError("the first page was chosen");
       }}},
      {"15/unmap",
       "an address at which nothing is",
       {},
       HostUnmap("plain", 0x10000, kPage),
       NotFound("IOVA_NOT_COVERED").Field("iova").Says("0x10000")},
      {"15/unmap",
       "a part of a mapping",
       {NewRegion("r"), HostMap("plain", 2 * kPage)},
       HostUnmapLast("plain", kPage),
       NotFound("IOVA_NOT_COVERED")},
      {"15/unmap",
       "strictly: nothing is reached after it",
       {NewRegion("r"), HostMap("plain")},
       HostUnmapLast("plain"),
       {},
       {[](World& world) { return Faults("plain", world.iovas.at(0))(world); }}},
  };
}

}  // namespace

std::vector<Case> HostCases() {
  std::vector<Case> all;
  for (auto* const part : {Information, Defaults, HostMappings}) {
    for (Case& row : part()) all.push_back(std::move(row));
  }
  return all;
}

}  // namespace viommu::conformance
