// tests/conformance/guest_cases.cc -- Invalidation of a guest's first stage, resets, watches.
#include "tests/conformance/cases.h"
#include "tests/conformance/nested_verbs.h"
#include "tests/conformance/pasid_verbs.h"
#include "tests/conformance/verbs.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/watch.pb.h"

namespace viommu::conformance {
namespace {

using Steps = std::vector<Step>;

constexpr uint64_t kAllPages = kTop;
constexpr size_t kTooMany = 16384 + 1;

Steps OnGuest() { return Guest("nested") + Steps{Attach("nested", "n")}; }

std::vector<Case> Invalidating() {
  const Refusal not_nested = Precondition("NOT_NESTED", "EINVAL");
  const auto batch = std::vector<Command>(kTooMany);
  return {
      Refused("10/2", "too many commands, told before the domain", {}, Invalidate("none", batch),
              Invalid("BATCH_TOO_LARGE").Field("commands").Says("16385")),
      Refused("10/3", "a domain that is not there", {}, Invalidate("none", {{0, 1}}),
              NotFound("DOMAIN_NOT_FOUND").Blames("domains/conf-none")),
      Refused("10/4", "a PAGING domain", DomainFor("plain"), Invalidate("d", {{0, 1}}), not_nested),
      Refused("10/4", "a nest parent", Guest("nested"), Invalidate("p", {{0, 1}}), not_nested),
      Refused("10/4", "a static domain", {}, Invalidate("blocked", {{0, 1}}), not_nested),
      Refused("10/4", "asking a PAGING domain whether it takes any", DomainFor("plain"),
              Invalidate("d", {}), not_nested),
      Refused("10/4", "a PAGING domain is told before the commands' kind", DomainFor("plain"),
              InvalidateAsArm("d"), not_nested),
      Refused("10/5", "commands of another architecture", Guest("nested"), InvalidateAsArm("n"),
              Unimplemented("COMMANDS_UNAVAILABLE").Field("commands")),
      OnVtd(Accepted("10", "asking whether it takes any", Guest("nested"), Invalidate("n", {}),
                     {Handled(0)})),
      OnVtd(Accepted("10/5", "one page", OnGuest() + Steps{GuestMaps(3)},
                     Invalidate("n", {{kGuestPage, 1}}),
                     {Handled(1), Reads("nested", kGuestPage, 4)})),
      OnVtd(Accepted("10/5", "one page that was read before",
                     OnGuest() + Steps{Reads("nested", kGuestPage, 3), GuestMaps(3)},
                     Invalidate("n", {{kGuestPage, 1, /*leaves_only=*/true}}),
                     {Handled(1), Reads("nested", kGuestPage, 4)})),
      OnVtd(Accepted(
          "10/5", "all pages", OnGuest() + Steps{Reads("nested", kGuestPage, 3), GuestMaps(3)},
          Invalidate("n", {{0, kAllPages}}), {Handled(1), Reads("nested", kGuestPage, 4)})),
      OnVtd(Accepted("10/5", "no page covers nothing", OnGuest() + Steps{Remember()},
                     Invalidate("n", {{kGuestPage, 0}}), {Handled(1), NothingChanged()})),
      OnVtd(Accepted("10/5", "several, and up to the last page of all", Guest("nested"),
                     Invalidate("n", {{0, 1}, {kPage, 2}, {kTop - kPage + 1, 1}, {0, kTop >> 12}}),
                     {Handled(4)})),
      OnVtd(Accepted("10/5", "it changes nothing that can be seen", OnGuest() + Steps{Remember()},
                     Invalidate("n", {{0, kAllPages}}), {NothingChanged()})),
  };
}

// What is wrong with one command is in the answer; those before it are done.
std::vector<Case> FirstErrors() {
  const auto field = [](int index, const std::string& name) {
    return "commands.vtd.invalidations[" + std::to_string(index) + "]." + name;
  };
  return {
      OnVtd(Accepted(
          "10/5", "an address that is not aligned", Guest("nested"), Invalidate("n", {{0x1800, 1}}),
          {HandledUntil(
              0, Invalid("MISALIGNED").Field(field(0, "address")).Index(0).Says("0x1800"))})),
      OnVtd(Accepted("10/5", "all pages, but not from 0", Guest("nested"),
                     Invalidate("n", {{0, 1}, {kPage, kAllPages}}),
                     {HandledUntil(1, Invalid("ALL_PAGES_WITH_ADDRESS")
                                          .Field(field(1, "address"))
                                          .Index(1)
                                          .Says("0x1000"))})),
      OnVtd(Accepted("10/5", "alignment is told before all pages", Guest("nested"),
                     Invalidate("n", {{0x1800, kAllPages}}),
                     {HandledUntil(0, Invalid("MISALIGNED"))})),
      OnVtd(Accepted(
          "10/5", "pages beyond the last", Guest("nested"),
          Invalidate("n", {{kTop - kPage + 1, 2}}),
          {HandledUntil(0, OutOfRange("ADDRESS_OVERFLOW").Field(field(0, "page_count")))})),
      OnVtd(Accepted("10/5", "one page more than there are", Guest("nested"),
                     Invalidate("n", {{kPage, (kTop >> 12) + 1}}),
                     {HandledUntil(0, OutOfRange("ADDRESS_OVERFLOW").Says("0x1000"))})),
      OnVtd(Accepted("10/5", "those before the first that is wrong are done",
                     OnGuest() + Steps{Reads("nested", kGuestPage, 3), GuestMaps(3)},
                     Invalidate("n", {{kGuestPage, 1}, {1, 1}, {0x1800, 1}}),
                     {HandledUntil(1, Invalid("MISALIGNED").Index(1).Says("0x1")),
                      Reads("nested", kGuestPage, 4)})),
  };
}

std::vector<Case> Resets() {
  const Steps attached = Attached("plain") + Steps{Map("a", {At(0x10000)})};
  const Steps pasids = {NewRegion("r"),
                        NewIoas("a"),
                        Map("a", {At(0x10000)}),
                        Claim("trusted"),
                        NewPaging("d", "a", "trusted", ForPasids()),
                        Attach("trusted", "d"),
                        AttachPasid("trusted", 5, "d"),
                        ReservePasid("trusted", 7)};
  return {
      Accepted("5.9", "of a device that the host has", {}, Reset("plain"),
               {DeviceSays("plain", "DEVICE_OWNERSHIP_HOST")}),
      Accepted("5.9", "for which the host maps memory", {NewRegion("r"), HostMap("plain")},
               Reset("plain"),
               {[](World& world) { return Reads("plain", world.iovas.at(0), 1)(world); }}),
      Accepted("5.9", "of a device that is not attached", {Claim("plain")}, Reset("plain"),
               {Faults("plain", 0x10000), DeviceSays("plain", "domain: \"domains/blocked\"")}),
      Accepted("5.9", "what it is attached to stays", attached, Reset("plain"),
               {Reads("plain", 0x10000, 1), DeviceSays("plain", "domain: \"domains/conf-d\""),
                DomainSays("d", "attached_devices"), Map("a", {At(0x20000, kPage, kPage)}),
                Reads("plain", 0x20000, 2)}),
      Accepted("5.9", "its PASIDs stay", pasids, Reset("trusted"),
               {Reads("trusted", 0x10000, 1), PasidReads("trusted", 5, 0x10000, 1),
                Taken("trusted", "5:attached 7:reserved")}),
      Accepted("5.9", "its guest stays", OnGuest(), Reset("nested"),
               {Reads("nested", kGuestPage, 3)}),
      Accepted("5.9", "its mates stay",
               Attached("pair.a") + Steps{Attach("pair.b", "d"), Map("a", {At(0x10000)})},
               Reset("pair.a"), {Reads("pair.a", 0x10000, 1), Reads("pair.b", 0x10000, 1)}),
      Accepted("5.9", "it can be moved after it",
               attached + Steps{Reset("plain"), NewDomain("e", "a", "plain")},
               Replace("plain", "e"), {Reads("plain", 0x10000, 1)}),
      Accepted("5.9", "what an operator said of its health stays",
               {SetHealth("plain", v1::DEVICE_HEALTH_UNHEALTHY)}, Reset("plain"),
               {DeviceSays("plain", "DEVICE_HEALTH_UNHEALTHY")}),
  };
}

Step ResetNobody() {
  return [](World& world) {
    v1::ResetDeviceRequest request;
    request.set_name("devices/conf-none");
    return world.Call(&v1::DeviceService::Stub::ResetDevice, std::move(request)).status();
  };
}

v1::WatchRequest From(const std::string& boot_id, uint64_t revision) {
  v1::WatchRequest request;
  request.mutable_resume()->set_boot_id(boot_id);
  request.mutable_resume()->set_revision(revision);
  return request;
}

v1::WatchRequest Of(v1::WatchKind kind) {
  v1::WatchRequest request;
  request.add_kinds(kind);
  return request;
}

std::vector<Case> Others() {
  return {
      Refused("5.9", "of a device that is not there", {}, ResetNobody(),
              NotFound("DEVICE_NOT_FOUND").Blames("devices/conf-none")),
      Refused("watch", "resuming without a boot", {}, Watch(From("", 1)),
              Invalid("MISSING_FIELD").Field("resume.boot_id")),
      Refused("watch", "resuming in another boot", {}, Watch(From("conf-other", 1)),
              OutOfRange("REVISION_COMPACTED", "ERANGE").Field("resume")),
      Refused("watch", "resuming in the future", {}, Resume(1000000),
              OutOfRange("REVISION_IN_FUTURE", "ERANGE").Field("resume.revision")),
      Refused("watch", "no kind", {}, Watch(Of(v1::WATCH_KIND_UNSPECIFIED)),
              Invalid("UNKNOWN_ENUM_VALUE").Field("kinds[0]")),
      Accepted("watch", "resuming at the last revision", {NewIoas("a")}, Resume(0)),
      Accepted("watch", "a snapshot of one kind", {NewIoas("a")}, Watch(Of(v1::WATCH_KIND_IOAS))),
  };
}

}  // namespace

std::vector<Case> GuestCases() {
  std::vector<Case> all;
  for (auto* const part : {Invalidating, FirstErrors, Resets, Others}) {
    for (Case& row : part()) all.push_back(std::move(row));
  }
  return all;
}

}  // namespace viommu::conformance
