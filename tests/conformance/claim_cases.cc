// tests/conformance/claim_cases.cc -- Taking devices from the host, and giving them back.
#include "tests/conformance/cases.h"
#include "tests/conformance/verbs.h"
#include "viommu/v1/device.grpc.pb.h"

namespace viommu::conformance {
namespace {

Step ClaimNobody() {
  return [](World& world) {
    v1::ClaimDeviceRequest request;
    request.set_name("devices/conf-none");
    return world.Call(&v1::DeviceService::Stub::ClaimDevice, std::move(request)).status();
  };
}

Step ClaimWithOldEtag() {
  return [](World& world) {
    v1::ClaimDeviceRequest request;
    request.set_name(world.Device("plain"));
    request.set_etag("0");
    return world.Call(&v1::DeviceService::Stub::ClaimDevice, std::move(request)).status();
  };
}

Refusal Stale() { return {absl::StatusCode::kAborted, "ETAG_MISMATCH", ""}; }

}  // namespace

std::vector<Case> ClaimCases() {
  const std::vector<Step> host_mapping{NewRegion("r"), HostMap("plain")};
  return {
      {"5.1",
       "a device that is not there",
       {},
       ClaimNobody(),
       NotFound("DEVICE_NOT_FOUND").Blames("devices/conf-none")},
      {"5.1", "a device that changed meanwhile", {}, ClaimWithOldEtag(), Stale()},
      {"5.1/4",
       "a device that must stay mapped one to one",
       {},
       Claim("direct"),
       Precondition("DIRECT_REGION", "EINVAL").Says("0x7a000000").Blames("direct")},
      {"5.1/4",
       "a device whose mate must stay mapped one to one",
       {},
       Claim("direct.mate"),
       Precondition("DIRECT_REGION", "EINVAL").Blames("direct")},
      {"5.1/4", "a device for which the host maps memory", host_mapping, Claim("plain"),
       Precondition("HOST_MAPPINGS", "EBUSY").Blames("plain")},
      {"5.1/4",
       "a device that is not well",
       {SetHealth("plain", v1::DEVICE_HEALTH_UNHEALTHY)},
       Claim("plain"),
       Precondition("DEVICE_UNHEALTHY", "ENODEV").Blames("plain")},
      {"5.1/4",
       "a device whose mate is not well",
       {SetHealth("pair.b", v1::DEVICE_HEALTH_UNHEALTHY)},
       Claim("pair.a"),
       Precondition("DEVICE_UNHEALTHY", "ENODEV").Blames("pair.b")},
      {"5.1",
       "a device is blocked when it is claimed",
       {},
       Claim("plain"),
       {},
       {DeviceSays("plain", "domain: \"domains/blocked\""), Faults("plain", 0x10000)}},
      {"5.1",
       "its whole group is claimed",
       {},
       Claim("pair.a"),
       {},
       {DeviceSays("pair.b", "DEVICE_OWNERSHIP_CLAIMED"), Faults("pair.b", 0x10000)}},
      {"5.1",
       "claiming again changes nothing",
       {Claim("pair.a"), Remember()},
       Claim("pair.b"),
       {},
       {NothingChanged()}},
      {"5.1",
       "a device on identity is blocked too",
       {},
       Claim("identity"),
       {},
       {DeviceSays("identity", "domain: \"domains/blocked\""), Faults("identity", 0x10000)}},
      {"5.2",
       "a device that nobody has claimed",
       {},
       Release("plain"),
       Precondition("DEVICE_NOT_CLAIMED", "EPERM").Blames("plain")},
      {"5.2", "a device that is attached", Attached("plain"), Release("plain"),
       Precondition("STILL_ATTACHED", "EBUSY").Blames("plain")},
      {"5.2", "a device whose mate is attached", Attached("pair.a"), Release("pair.b"),
       Precondition("STILL_ATTACHED", "EBUSY").Blames("pair.a")},
      {"5.2",
       "a device that is attached to blocked",
       {Claim("plain"), Attach("plain", "blocked")},
       Release("plain"),
       Precondition("STILL_ATTACHED", "EBUSY").Blames("plain")},
      {"5.2",
       "the whole group goes back to its default domain",
       {Claim("pair.a")},
       Release("pair.b"),
       {},
       {DeviceSays("pair.a", "DEVICE_OWNERSHIP_HOST")}},
      {"5.2",
       "and to identity where that is its default",
       {Claim("identity")},
       Release("identity"),
       {},
       {DeviceSays("identity", "domain: \"domains/identity\"")}},
      {"5.2",
       "its domains stay",
       DomainFor("plain"),
       Release("plain"),
       {},
       {DomainSays("d", "type: DOMAIN_TYPE_PAGING")}},
  };
}

}  // namespace viommu::conformance
