// tests/conformance/auto_cases.cc -- Auto domains: what an attachment to an address space makes.
#include "tests/conformance/cases.h"
#include "tests/conformance/nested_verbs.h"
#include "tests/conformance/pasid_verbs.h"
#include "tests/conformance/verbs.h"
#include "viommu/v1/common.pb.h"

namespace viommu::conformance {
namespace {

using Steps = std::vector<Step>;

// "a" maps byte 1 at 0x10000; the devices are claimed.
Steps Space(const std::vector<std::string>& devices) {
  Steps steps{NewRegion("r"), NewIoas("a"), Map("a", {At(0x10000)})};
  for (const std::string& device : devices) steps.push_back(Claim(device));
  return steps;
}

std::vector<Case> Picking() {
  const Steps manual = Steps{NewDomain("d", "a", "plain")};
  const Steps mixed =
      Space({"plain", "loose", "second"}) + Steps{AttachTo("plain", "a"), AttachTo("loose", "a")};
  return {
      Accepted("4.6", "the first attachment makes one", Space({"plain"}), AttachTo("plain", "a"),
               {Reads("plain", 0x10000, 1), PickedSays(0, "auto: true"),
                PickedSays(0, "ioas: \"ioas/conf-a\""), DeviceSays("plain", "attached: true")}),
      OnVtd(Accepted(
          "4.6", "it is neither a parent nor for PASIDs", Space({"nested"}),
          AttachTo("nested", "a"),
          {PickedSays(0, "format: \"x86-first-stage\""), PickedSays(0, "auto: true paging")})),
      Accepted("4.6", "the next one takes the same",
               Space({"plain", "second"}) + Steps{AttachTo("plain", "a")}, AttachTo("second", "a"),
               {Picked("aa"), Reads("second", 0x10000, 1)}),
      OnVtd(Accepted("4.6", "a device of another unit that can use it takes it too",
                     Space({"plain", "elsewhere"}) + Steps{AttachTo("plain", "a")},
                     AttachTo("elsewhere", "a"), {Picked("aa")})),
      Accepted("4.6", "a device that can not use it gets another",
               Space({"plain", "narrow"}) + Steps{AttachTo("plain", "a")}, AttachTo("narrow", "a"),
               {Picked("ab"), Reads("narrow", 0x10000, 1), PickedSays(1, "levels: 3")}),
      Accepted("4.6", "of two that fit the older is taken", mixed, AttachTo("second", "a"),
               {Picked("aba")}),
      OnVtd(Accepted("4.6", "the younger when the older is gone", mixed + Steps{Detach("plain")},
                     AttachTo("second", "a"), {Picked("abb")})),
      Accepted("4.6", "the first that fits, not the first",
               Space({"narrow", "plain", "second"}) +
                   Steps{AttachTo("narrow", "a"), AttachTo("plain", "a")},
               AttachTo("second", "a"), {Picked("abb")}),
      Accepted("4.6", "never one that somebody made", Space({"plain"}) + manual,
               AttachTo("plain", "a"),
               {PickedSays(0, "auto: true"), DomainLacks("d", "attached_devices")}),
      Accepted("4.6", "not even when a device is on it",
               Space({"plain", "second"}) + manual + Steps{Attach("plain", "d")},
               AttachTo("second", "a"),
               {PickedSays(0, "auto: true"), PickedSays(0, "attached_devices")}),
      Accepted("4.6", "a member of a group joins its mate",
               Space({"pair.a"}) + Steps{AttachTo("pair.a", "a")}, AttachTo("pair.b", "a"),
               {Picked("aa"), Reads("pair.b", 0x10000, 1)}),
      Accepted("4.6", "moving to an address space",
               Attached("plain") + Steps{NewIoas("b"), Map("b", {At(0x10000, kPage, kPage)})},
               ReplaceTo("plain", "b"),
               {Reads("plain", 0x10000, 2), PickedSays(0, "auto: true"), DeleteDomain("d")}),
      Accepted("4.6", "moving from one that somebody made to an auto domain of the same",
               Attached("plain"), ReplaceTo("plain", "a"), {PickedSays(0, "auto: true")}),
      Accepted("4.6/2", "moving to the address space it is on changes nothing",
               Space({"plain"}) + Steps{AttachTo("plain", "a"), Remember()},
               ReplaceTo("plain", "a"), {Picked("aa"), NothingChanged()}),
  };
}

std::vector<Case> Going() {
  const Steps attached = Space({"plain"}) + Steps{AttachTo("plain", "a")};
  const auto gone = [] { return NotFound("DOMAIN_NOT_FOUND"); };
  return {
      Refused("4.6", "it goes with its last attachment", attached + Steps{Detach("plain")},
              GetPicked(0), gone()),
      Refused("4.6", "deleting one that went", attached + Steps{Detach("plain")}, DeletePicked(0),
              gone()),
      Refused("4.6", "deleting one that a device is on", attached, DeletePicked(0),
              Precondition("IN_USE", "EBUSY").Blames("plain")),
      Refused("4.6", "it goes when its last device moves",
              attached + Steps{NewDomain("d", "a", "plain"), Replace("plain", "d")}, GetPicked(0),
              gone()),
      Refused("4.6", "it goes when its last device moves to another address space",
              attached + Steps{NewIoas("b"), ReplaceTo("plain", "b")}, GetPicked(0), gone()),
      Accepted("4.6", "it stays while another device is on it",
               Space({"plain", "second"}) + Steps{AttachTo("plain", "a"), AttachTo("second", "a")},
               Detach("plain"), {GetPicked(0), Reads("second", 0x10000, 1)}),
      Accepted("4.6", "its address space can go after it", attached + Steps{Detach("plain")},
               DeleteIoas("a")),
      Accepted("4.6", "its device can be released after it", attached + Steps{Detach("plain")},
               Release("plain")),
      Refused("3.2", "an address space with an auto domain", attached, DeleteIoas("a"),
              Precondition("IN_USE", "EBUSY")),
  };
}

std::vector<Case> Refusals() {
  const Steps pair = Space({"pair.a"}) + Steps{NewDomain("d", "a", "pair.a")};
  return {
      Refused("4.6", "an address space that is not there", Space({"plain"}),
              AttachTo("plain", "none"), NotFound("IOAS_NOT_FOUND").Blames("ioas/conf-none")),
      Refused("4.6", "moving to one that is not there", Attached("plain"),
              ReplaceTo("plain", "none"), NotFound("IOAS_NOT_FOUND").Blames("ioas/conf-none")),
      Refused("4.6", "a device that the host has", Space({}), AttachTo("plain", "a"),
              Precondition("DEVICE_NOT_CLAIMED", "EPERM").Blames("plain")),
      Refused("4.6", "a device that is attached already", Attached("plain"), AttachTo("plain", "a"),
              Precondition("ALREADY_ATTACHED", "EBUSY").Blames("plain")),
      Refused("4.6", "moving what is not attached", Space({"plain"}), ReplaceTo("plain", "a"),
              Precondition("NOT_ATTACHED", "EINVAL").Blames("plain")),
      Refused("4.6", "a member whose mate is on a domain that somebody made",
              pair + Steps{Attach("pair.a", "d")}, AttachTo("pair.b", "a"),
              Precondition("GROUP_MISMATCH", "EINVAL").Blames("pair.a")),
      Refused("4.6", "a mapping where the device reserves",
              Space({"plain"}) + Steps{Map("a", {At(0xfee00000)})}, AttachTo("plain", "a"),
              Conflict().Blames("0xfee00000")),
      Refused("4.6", "moving to a mapping where the device reserves",
              Attached("plain") + Steps{NewIoas("b"), Map("b", {At(0xfee00000)})},
              ReplaceTo("plain", "b"), Conflict().Blames("0xfee00000")),
      Refused("4.6", "a mapping that its tables can not hold",
              Space({"nested"}) + Steps{Map("a", {With(At(0x20000), v1::PERMISSION_WRITE)})},
              AttachTo("nested", "a"),
              Precondition("PERMISSION_UNAVAILABLE", "EINVAL").Blames("0x20000")),
      Refused("4.6", "a mapping beyond its addresses",
              Space({"narrow"}) + Steps{Map("a", {At(uint64_t{1} << 39)})}, AttachTo("narrow", "a"),
              Conflict().Blames("0x8000000000")),
      Refused("5.6", "a PASID on an address space", Space({"trusted"}), AttachTo("trusted", "a", 5),
              Precondition("PASID_INCOMPATIBLE", "EINVAL").Blames("trusted")),
      Refused("5.6", "moving a PASID to an address space",
              Space({"trusted"}) + Steps{NewPaging("d", "a", "trusted", ForPasids()),
                                         AttachPasid("trusted", 5, "d")},
              ReplaceTo("trusted", "a", 5),
              Precondition("PASID_INCOMPATIBLE", "EINVAL").Blames("trusted")),
      Refused("5.6", "an address space beside a PASID",
              Space({"trusted"}) + Steps{NewPaging("d", "a", "trusted", ForPasids()),
                                         AttachPasid("trusted", 5, "d")},
              AttachTo("trusted", "a"),
              Precondition("PASID_INCOMPATIBLE", "EINVAL").Blames("trusted")),
  };
}

}  // namespace

std::vector<Case> AutoCases() {
  std::vector<Case> all;
  for (auto* const part : {Picking, Going, Refusals}) {
    for (Case& row : part()) all.push_back(std::move(row));
  }
  return all;
}

}  // namespace viommu::conformance
