// tests/conformance/pasid_cases.cc -- Attach, replace and detach of PASIDs.
#include "tests/conformance/cases.h"
#include "tests/conformance/nested_verbs.h"
#include "tests/conformance/pasid_verbs.h"
#include "tests/conformance/verbs.h"

namespace viommu::conformance {
namespace {

using Steps = std::vector<Step>;

// For PASIDs "d", which maps byte 1 at 0x10000, and "e" over "b", which maps byte 2 there; "f" over
// "a" is not for PASIDs.
Steps Domains(const std::string& device = "trusted") {
  return {NewRegion("r"),
          NewIoas("a"),
          NewIoas("b"),
          Map("a", {At(0x10000)}),
          Map("b", {At(0x10000, kPage, kPage)}),
          Claim(device),
          NewPaging("d", "a", device, ForPasids()),
          NewPaging("e", "b", device, ForPasids()),
          NewDomain("f", "a", device)};
}

Refusal Incompatible() { return Precondition("PASID_INCOMPATIBLE", "EINVAL"); }
Refusal TooHigh() { return OutOfRange("PASID_OUT_OF_RANGE", "EINVAL").Field("pasid"); }

std::vector<Case> Numbers() {
  const uint32_t wide = uint32_t{1} << 20;
  return {
      Refused("5.6/1", "PASID 0", Domains(), AttachPasid("trusted", 0, "d"),
              Invalid("INVALID_PASID").Field("pasid")),
      Refused("5.6/1", "beyond 20 bits", Domains(), AttachPasid("trusted", wide, "d"),
              TooHigh().Says("1048576")),
      Refused("5.6/1", "beyond what the device issues", Domains("deep"),
              AttachPasid("deep", 256, "d"), TooHigh().Says("256")),
      Refused("5.6/1", "beyond what the narrowest of a group issues", Domains("stream.a"),
              AttachPasid("stream.a", 64, "d"), TooHigh().Says("64")),
      Refused("5.6/1", "the highest that there is", Domains(),
              AttachPasid("trusted", ~uint32_t{0}, "d"), TooHigh()),
      OnVtd(Refused("5.6/1", "a device that has none", Domains("plain"),
                    AttachPasid("plain", 1, "d"),
                    Unimplemented("PASID_UNAVAILABLE").Blames("plain"))),
      Refused("5.6/1", "a device whose mate has none", Domains("mixed.a"),
              AttachPasid("mixed.a", 1, "d"), Unimplemented("PASID_UNAVAILABLE").Blames("mixed.b")),
      Accepted("5.6/1", "the highest that it issues", Domains(),
               AttachPasid("trusted", wide - 1, "d"),
               {PasidReads("trusted", wide - 1, 0x10000, 1)}),
      Accepted("5.6/1", "the highest of a group", Domains("stream.a"),
               AttachPasid("stream.a", 63, "d"), {PasidReads("stream.a", 63, 0x10000, 1)}),
  };
}

std::vector<Case> Attaching() {
  const Steps one = Domains() + Steps{AttachPasid("trusted", 5, "d")};
  const Steps pair = Domains("stream.a") + Steps{AttachPasid("stream.a", 5, "d")};
  const auto attached = [] { return Precondition("ALREADY_ATTACHED", "EBUSY").Blames("trusted"); };
  return {
      Refused("5.6/2", "a domain that is not there", Domains(), AttachPasid("trusted", 5, "none"),
              NotFound("DOMAIN_NOT_FOUND").Blames("domains/conf-none")),
      Refused("5.6/2", "a device that the host has", {}, AttachPasid("trusted", 5, "blocked"),
              Precondition("DEVICE_NOT_CLAIMED", "EPERM").Blames("trusted")),
      Refused("5.6/2", "a PASID that is attached already", one, AttachPasid("trusted", 5, "e"),
              attached()),
      Refused("5.6/2", "even to the same domain", one, AttachPasid("trusted", 5, "d"), attached()),
      Refused("5.6/2", "a member of a group elsewhere than its mate", pair,
              AttachPasid("stream.b", 5, "e"),
              Precondition("GROUP_MISMATCH", "EINVAL").Blames("stream.a")),
      Refused("5.6/2", "a domain that is not for PASIDs", Domains(), AttachPasid("trusted", 5, "f"),
              Incompatible().Blames("trusted")),
      Refused("5.6/2", "beside a domain that is not for PASIDs",
              Domains() + Steps{Attach("trusted", "f")}, AttachPasid("trusted", 5, "d"),
              Incompatible().Blames("trusted")),
      Refused("5.6/2", "even blocked, beside a domain that is not for PASIDs",
              Domains() + Steps{Attach("trusted", "f")}, AttachPasid("trusted", 5, "blocked"),
              Incompatible()),
      Refused("5.6/2", "a domain that the unit can not use",
              Domains("deep") + Steps{Claim("trusted")}, AttachPasid("trusted", 5, "d"),
              Precondition("INCOMPATIBLE_DOMAIN", "EINVAL")),
      Refused("5.6/2", "identity for a device that may not", Domains("stream.a"),
              AttachPasid("stream.a", 5, "identity"),
              Denied("IDENTITY_NOT_ALLOWED").Blames("stream.a")),
      Refused("5.6/3", "a domain that is not for PASIDs beside one", one, Attach("trusted", "f"),
              Incompatible().Blames("trusted")),
      Refused("5.6/3", "moving to one beside a PASID", one + Steps{Attach("trusted", "e")},
              Replace("trusted", "f"), Incompatible().Blames("trusted")),
      Refused("5.6/3", "moving to one beside the PASID of a mate",
              pair + Steps{Attach("stream.b", "e")}, Replace("stream.b", "f"), Incompatible()),
      Accepted("5.6/2", "one PASID", Domains(), AttachPasid("trusted", 5, "d"),
               {PasidReads("trusted", 5, 0x10000, 1), Faults("trusted", 0x10000),
                PasidFaults("trusted", 6, 0x10000), Taken("trusted", "5:attached")}),
      Accepted("5.6/2", "beside another PASID", one, AttachPasid("trusted", 6, "e"),
               {PasidReads("trusted", 5, 0x10000, 1), PasidReads("trusted", 6, 0x10000, 2)}),
      Accepted("5.6/2", "beside a domain that is for PASIDs",
               Domains() + Steps{Attach("trusted", "e")}, AttachPasid("trusted", 5, "d"),
               {PasidReads("trusted", 5, 0x10000, 1), Reads("trusted", 0x10000, 2)}),
      Accepted("5.6/2", "beside identity", Domains() + Steps{Attach("trusted", "identity")},
               AttachPasid("trusted", 5, "d"), {PasidReads("trusted", 5, 0x10000, 1)}),
      Accepted("5.6/2", "blocked", Domains(), AttachPasid("trusted", 5, "blocked"),
               {PasidFaults("trusted", 5, 0x10000), Taken("trusted", "5:attached")}),
      Accepted("5.6/2", "a member of a group joins its mate", pair, AttachPasid("stream.b", 5, "d"),
               {PasidReads("stream.b", 5, 0x10000, 1), Taken("stream.b", "5:attached")}),
      Accepted("5.6/2", "a member of a group at another PASID", pair,
               AttachPasid("stream.b", 6, "e"),
               {PasidReads("stream.b", 6, 0x10000, 2), PasidReads("stream.a", 5, 0x10000, 1)}),
      OnVtd(Accepted(
          "5.6/4", "no region of the device is reserved for a PASID",
          Domains("nested") + Steps{Map("a", {At(0xfee00000)})}, AttachPasid("nested", 5, "d"),
          {PasidReads("nested", 5, 0xfee00000, 1), Usable("a", {{0, (uint64_t{1} << 47) - 1}})})),
      Accepted("5.6/3", "a domain that is for PASIDs beside one", one, Attach("trusted", "e"),
               {Reads("trusted", 0x10000, 2), PasidReads("trusted", 5, 0x10000, 1)}),
      Accepted("5.6/3", "one that is not, when the last PASID is gone",
               one + Steps{DetachPasid("trusted", 5)}, Attach("trusted", "f")),
  };
}

std::vector<Case> Replacing() {
  const Steps one = Domains() + Steps{AttachPasid("trusted", 5, "d")};
  const Steps pair =
      Domains("stream.a") + Steps{AttachPasid("stream.a", 5, "d"), AttachPasid("stream.b", 5, "d")};
  const auto nothing = [] { return Precondition("NOT_ATTACHED", "EINVAL").Blames("trusted"); };
  return {
      Refused("5.6/replace", "a PASID that is not attached", Domains(),
              ReplacePasid("trusted", 5, "d"), nothing()),
      Refused("5.6/replace", "a PASID that is not, though the device is",
              Domains() + Steps{Attach("trusted", "d")}, ReplacePasid("trusted", 5, "e"),
              nothing()),
      Refused("5.6/replace", "a PASID that is not, though another is", one,
              ReplacePasid("trusted", 6, "e"), nothing()),
      Refused("5.6/replace", "the device, when only a PASID is attached", one,
              Replace("trusted", "e"), nothing()),
      Refused("5.6/replace", "moving to a domain that is not for PASIDs", one,
              ReplacePasid("trusted", 5, "f"), Incompatible().Blames("trusted")),
      Refused("5.6/replace", "moving to a domain that is not there", one,
              ReplacePasid("trusted", 5, "none"), NotFound("DOMAIN_NOT_FOUND")),
      Refused("5.6/replace", "moving to a domain that the unit can not use",
              one + Steps{NewIoas("c"), Claim("deep"), NewPaging("g", "c", "deep", ForPasids())},
              ReplacePasid("trusted", 5, "g"), Precondition("INCOMPATIBLE_DOMAIN", "EINVAL")),
      Accepted("5.6/replace", "it reaches the new mappings only",
               one + Steps{Attach("trusted", "d")}, ReplacePasid("trusted", 5, "e"),
               {PasidReads("trusted", 5, 0x10000, 2), Reads("trusted", 0x10000, 1)}),
      Accepted("5.6/replace", "the group's PASID moves", pair, ReplacePasid("stream.b", 5, "e"),
               {PasidReads("stream.a", 5, 0x10000, 2), PasidReads("stream.b", 5, 0x10000, 2)}),
      Accepted("5.6/replace", "the old domain can go", one + Steps{ReplacePasid("trusted", 5, "e")},
               DeleteDomain("d")),
      Accepted("5.4/2", "the domain that the PASID is on changes nothing", one + Steps{Remember()},
               ReplacePasid("trusted", 5, "d"), {NothingChanged()}),
      Accepted("5.4/2", "even when the PASID of a whole group is on it", pair + Steps{Remember()},
               ReplacePasid("stream.a", 5, "d"), {NothingChanged()}),
  };
}

std::vector<Case> Detaching() {
  const Steps one = Domains() + Steps{Attach("trusted", "e"), AttachPasid("trusted", 5, "d")};
  const Steps pair =
      Domains("stream.a") + Steps{AttachPasid("stream.a", 5, "d"), AttachPasid("stream.b", 5, "d")};
  return {
      Accepted("5.5/pasid", "one that is not attached", one + Steps{Remember()},
               DetachPasid("trusted", 6), {NothingChanged()}),
      Accepted("5.5/pasid", "one that the device does not have", one + Steps{Remember()},
               DetachPasid("trusted", ~uint32_t{0}), {NothingChanged()}),
      Accepted("5.5/pasid", "the only one", one, DetachPasid("trusted", 5),
               {PasidFaults("trusted", 5, 0x10000), Reads("trusted", 0x10000, 2),
                Taken("trusted", ""), DeleteDomain("d")}),
      Accepted("5.5/pasid", "the device, and its PASIDs stay", one, Detach("trusted"),
               {Faults("trusted", 0x10000), PasidReads("trusted", 5, 0x10000, 1)}),
      Accepted("5.5/pasid", "one member, and the other stays", pair, DetachPasid("stream.a", 5),
               {PasidReads("stream.b", 5, 0x10000, 1), Taken("stream.a", "5:attached")}),
      Accepted("5.5/pasid", "the last member", pair + Steps{DetachPasid("stream.a", 5)},
               DetachPasid("stream.b", 5),
               {PasidFaults("stream.b", 5, 0x10000), Taken("stream.a", "")}),
      Refused("5.5/pasid", "of a device that nobody has claimed", {}, DetachPasid("trusted", 5),
              Precondition("DEVICE_NOT_CLAIMED", "EPERM").Blames("trusted")),
      Refused("5.2", "releasing while a PASID is attached",
              Domains() + Steps{AttachPasid("trusted", 5, "d")}, Release("trusted"),
              Precondition("STILL_ATTACHED", "EBUSY").Blames("pasid 5")),
      Refused("5.2", "releasing while a PASID of a mate is attached",
              Domains("stream.a") + Steps{AttachPasid("stream.b", 5, "d")}, Release("stream.a"),
              Precondition("STILL_ATTACHED", "EBUSY").Blames("stream.b")),
      Refused("4.7", "a domain that a PASID is on",
              Domains() + Steps{AttachPasid("trusted", 5, "d")}, DeleteDomain("d"),
              Precondition("IN_USE", "EBUSY").Blames("trusted")),
  };
}

}  // namespace

std::vector<Case> PasidCases() {
  std::vector<Case> all;
  for (auto* const part : {Numbers, Attaching, Replacing, Detaching}) {
    for (Case& row : part()) all.push_back(std::move(row));
  }
  return all;
}

}  // namespace viommu::conformance
