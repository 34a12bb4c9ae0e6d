// tests/conformance/attach_cases.cc -- Attach, replace and detach of requests without PASID.
#include "absl/strings/str_cat.h"
#include "tests/conformance/cases.h"
#include "tests/conformance/pasid_verbs.h"
#include "tests/conformance/verbs.h"

namespace viommu::conformance {
namespace {

using Steps = std::vector<Step>;

constexpr uint64_t kPairRegion = 0x200000;  // Reserved by pair.b only.

// "plain" is on "d", which maps byte 1 at 0x10000; "e" over "b" maps byte 2 there.
Steps Two(const std::string& device = "plain") {
  return Attached(device) + Steps{Map("a", {At(0x10000)}), NewIoas("b"),
                                  NewDomain("e", "b", device),
                                  Map("b", {At(0x10000, kPage, kPage)})};
}

Case Row(std::string section, std::string name, Steps set_up, Step call, Refusal refusal) {
  return {std::move(section), std::move(name),    std::move(set_up),
          std::move(call),    std::move(refusal), {}};
}

std::vector<Case> Attaching() {
  const Refusal attached = Precondition("ALREADY_ATTACHED", "EBUSY").Blames("plain");
  return {
      Row("5.3/0", "a domain that is not there", {Claim("plain")}, Attach("plain", "none"),
          NotFound("DOMAIN_NOT_FOUND").Blames("domains/conf-none")),
      Row("5.3/0", "a device that the host has", DomainFor("plain"), Attach("second", "d"),
          Precondition("DEVICE_NOT_CLAIMED", "EPERM").Blames("second")),
      Row("5.3/1", "a device that is attached already", Two(), Attach("plain", "e"), attached),
      Row("5.3/1", "even to the same domain", Two(), Attach("plain", "d"), attached),
      Row("5.3/1", "and to blocked", Two(), Attach("plain", "blocked"), attached),
      Row("5.3/2", "a member of a group elsewhere than its mate", Two("pair.a"),
          Attach("pair.b", "e"), Precondition("GROUP_MISMATCH", "EINVAL").Blames("pair.a")),
      Row("5.3/2", "a member on blocked and its mate not", Two("pair.a"),
          Attach("pair.b", "blocked"), Precondition("GROUP_MISMATCH", "EINVAL").Blames("pair.a")),
      Row("5.3/2", "a mismatch is told before a reserved region in the way",
          Attached("pair.a") +
              Steps{NewIoas("b"), NewDomain("e", "b", "pair.a"), Map("b", {At(kPairRegion)})},
          Attach("pair.b", "e"), Precondition("GROUP_MISMATCH", "EINVAL")),
      Row("5.3/3", "a mapping where the device reserves",
          DomainFor("plain") + Steps{Map("a", {At(0xfee00000)})}, Attach("plain", "d"),
          Conflict().Blames("0xfee00000")),
      Row("5.3/3", "a mapping that reaches into what it reserves",
          DomainFor("plain") + Steps{Map("a", {At(0xfedff000, 2 * kPage)})}, Attach("plain", "d"),
          Conflict().Blames("0xfedff000")),
      Row("5.3/3", "a member of a group brings its own reserved regions",
          Attached("pair.a") + Steps{Map("a", {At(kPairRegion)})}, Attach("pair.b", "d"),
          Conflict().Blames("0x200000")),
      Row("5.3/3", "a mapping in the way is told before a unit that can not use the domain",
          DomainFor("narrow") + Steps{Claim("plain"), Map("a", {At(0xfee00000)})},
          Attach("plain", "d"), Conflict().Blames("0xfee00000")),
      Row("5.3/3", "a mapping in the way is told before a PASID",
          Steps{NewRegion("r"), NewIoas("a"), Claim("nested"), NewDomain("d", "a", "nested"),
                AttachPasid("nested", 5, "blocked"), Map("a", {At(0xfee00000)})},
          Attach("nested", "d"), Conflict().Blames("0xfee00000")),
      {"5.3/4",
       "a member of a group joins its mate",
       Attached("pair.a") + Steps{Map("a", {At(0x10000)})},
       Attach("pair.b", "d"),
       {},
       {Reads("pair.b", 0x10000, 1), Reads("pair.a", 0x10000, 1), AnswerLacks("reserved")}},
      {"5.3/3",
       "each device's regions are reserved",
       Attached("pair.a"),
       Attach("pair.b", "d"),
       {},
       {Usable("a", {{0, kPairRegion - 1},
                     {kPairRegion + kPage, 0xfedfffff},
                     {0xfef00000, (uint64_t{1} << 48) - 1}})}},
      {"5.3/5",
       "a domain knows who is attached",
       DomainFor("plain"),
       Attach("plain", "d"),
       {},
       {DomainSays("d", "attached_devices"), DeviceSays("plain", "attached: true")}},
      {"5.3",
       "mappings made before and after are reached",
       DomainFor("plain") + Steps{Map("a", {At(0x10000)})},
       Attach("plain", "d"),
       {},
       {Map("a", {At(0x20000, kPage, kPage)}), Reads("plain", 0x10000, 1),
        Reads("plain", 0x20000, 2), Faults("plain", 0x30000)}},
      {"5.3",
       "two devices on one domain",
       Attached("plain") + Steps{Claim("second")},
       Attach("second", "d"),
       {},
       {Map("a", {At(0x10000)}), Reads("second", 0x10000, 1)}},
  };
}

std::vector<Case> Replacing() {
  const Refusal nothing = Precondition("NOT_ATTACHED", "EINVAL");
  return {
      Row("5.4/1", "a device that is not attached", DomainFor("plain"), Replace("plain", "d"),
          nothing),
      Row("5.4/1", "a member that is not, though its mate is", Two("pair.a"),
          Replace("pair.b", "e"), nothing),
      Row("5.4/1", "a domain that is not there", Two(), Replace("plain", "none"),
          NotFound("DOMAIN_NOT_FOUND").Blames("domains/conf-none")),
      Row("5.4/3", "a mapping of the new address space where the device reserves",
          Attached("plain") +
              Steps{NewIoas("b"), NewDomain("e", "b", "plain"), Map("b", {At(0xfee00000)})},
          Replace("plain", "e"), Conflict().Blames("0xfee00000")),
      Row("5.4/3",
          "a mapping in the way of moving is told before a unit that can not use the domain",
          Attached("plain") + Steps{NewIoas("b"), Claim("narrow"), NewDomain("e", "b", "narrow"),
                                    Map("b", {At(0xfee00000)})},
          Replace("plain", "e"), Conflict().Blames("0xfee00000")),
      {"5.4/2",
       "the domain that it is on changes nothing",
       Two() + Steps{Remember()},
       Replace("plain", "d"),
       {},
       {NothingChanged()}},
      {"5.4/2",
       "even when a whole group is on it",
       Two("pair.a") + Steps{Attach("pair.b", "d"), Remember()},
       Replace("pair.b", "d"),
       {},
       {NothingChanged()}},
      {"5.4/2",
       "nor when it is blocked",
       {Claim("plain"), Attach("plain", "blocked"), Remember()},
       Replace("plain", "blocked"),
       {},
       {NothingChanged()}},
      Row("5.4/3", "a mapping where only the mate reserves",
          Two("pair.a") + Steps{Attach("pair.b", "d"), Map("b", {At(kPairRegion)})},
          Replace("pair.a", "e"), Conflict().Blames("0x200000")),
      {"5.4/5",
       "the device reaches the new mappings only",
       Two(),
       Replace("plain", "e"),
       {},
       {Reads("plain", 0x10000, 2), Usable("a", {{0, (uint64_t{1} << 48) - 1}})}},
      {"5.4/5",
       "the whole group moves",
       Two("pair.a") + Steps{Attach("pair.b", "d")},
       Replace("pair.b", "e"),
       {},
       {Reads("pair.a", 0x10000, 2), Reads("pair.b", 0x10000, 2)}},
      {"5.4/5",
       "the old domain can go",
       Two() + Steps{Replace("plain", "e")},
       DeleteDomain("d"),
       {},
       {}},
      {"5.4",
       "from paging to blocked",
       Two(),
       Replace("plain", "blocked"),
       {},
       {Faults("plain", 0x10000), DeviceSays("plain", "attached: true")}},
      {"5.4",
       "from blocked to paging",
       Two() + Steps{Replace("plain", "blocked")},
       Replace("plain", "e"),
       {},
       {Reads("plain", 0x10000, 2)}},
      {"5.4/3",
       "between two domains of one address space",
       Attached("plain") + Steps{Map("a", {At(0x10000)}), NewDomain("e", "a", "plain")},
       Replace("plain", "e"),
       {},
       {Reads("plain", 0x10000, 1),
        Usable("a", {{0, 0xfedfffff}, {0xfef00000, (uint64_t{1} << 48) - 1}})}},
  };
}

std::vector<Case> Detaching() {
  return {
      Row("5.5", "a device that nobody has claimed", {}, Detach("plain"),
          Precondition("DEVICE_NOT_CLAIMED", "EPERM").Blames("plain")),
      {"5.5",
       "what is not attached",
       DomainFor("plain") + Steps{Remember()},
       Detach("plain"),
       {},
       {NothingChanged()}},
      {"5.5",
       "a member that is not, though its mate is",
       Two("pair.a") + Steps{Remember()},
       Detach("pair.b"),
       {},
       {NothingChanged()}},
      {"5.5",
       "the last of a group is blocked",
       Two(),
       Detach("plain"),
       {},
       {Faults("plain", 0x10000), Usable("a", {{0, (uint64_t{1} << 48) - 1}})}},
      {"5.5",
       "another of a group is not",
       Two("pair.a") + Steps{Attach("pair.b", "d")},
       Detach("pair.a"),
       {},
       {Reads("pair.b", 0x10000, 1), DeviceSays("pair.b", "attached: true")}},
      {"5.5",
       "its own regions are free again",
       Two("pair.a") + Steps{Attach("pair.b", "d")},
       Detach("pair.b"),
       {},
       {Usable("a", {{0, 0xfedfffff}, {0xfef00000, (uint64_t{1} << 48) - 1}})}},
  };
}

// Fourteen devices on a domain each: all the tags that their unit has.
Steps AllTagsTaken() {
  Steps steps{NewIoas("a")};
  for (int i = 0; i < 15; ++i) {
    const std::string device = absl::StrCat("tag.", i);
    const std::string domain = absl::StrCat("d", i);
    steps = std::move(steps) + Steps{Claim(device), NewDomain(domain, "a", device)};
    if (i < 14) steps.push_back(Attach(device, domain));
  }
  return steps;
}

std::vector<Case> Hardware() {
  const Steps loose{Claim("loose")};
  return {
      OnVtd(Row("5.7", "no tag is left for another domain", AllTagsTaken(), Attach("tag.14", "d14"),
                Exhausted("DOMAIN_IDS_EXHAUSTED").WhenDone())),
      OnVtd({"5.7",
             "a domain that has its tag takes no other",
             AllTagsTaken(),
             Attach("tag.14", "d0"),
             {},
             {}}),
      OnVtd({"5.7",
             "a tag that is given back is free",
             AllTagsTaken() + Steps{Detach("tag.3")},
             Attach("tag.14", "d14"),
             {},
             {}}),
      Row("5.7", "identity for a device that may not", {Claim("plain")},
          Attach("plain", "identity"), Denied("IDENTITY_NOT_ALLOWED").Blames("plain")),
      Row("5.7", "identity for one that is not to be trusted", {Claim("untrusted")},
          Attach("untrusted", "identity"), Denied("IDENTITY_NOT_ALLOWED").Blames("untrusted")),
      OnVtd(Row("5.7", "identity behind a unit that can not", loose, Attach("loose", "identity"),
                Unimplemented("IDENTITY_UNAVAILABLE").Blames("loose"))),
      Row("5.7", "moving to identity where it is not allowed", Two(), Replace("plain", "identity"),
          Denied("IDENTITY_NOT_ALLOWED").Blames("plain")),
      {"5.7",
       "identity where it is allowed",
       {Claim("trusted")},
       Attach("trusted", "identity"),
       {},
       {DeviceSays("trusted", "domain: \"domains/identity\"")}},
      {"5.7",
       "from identity to blocked",
       {Claim("trusted"), Attach("trusted", "identity")},
       Replace("trusted", "blocked"),
       {},
       {Faults("trusted", 0x10000)}},
  };
}

}  // namespace

std::vector<Case> AttachCases() {
  std::vector<Case> all;
  for (auto* const part : {Attaching, Replacing, Detaching, Hardware}) {
    for (Case& row : part()) all.push_back(std::move(row));
  }
  return all;
}

}  // namespace viommu::conformance
