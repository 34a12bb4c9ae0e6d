// tests/conformance/reserved_cases.cc -- Reserved regions by their type, and cache coherency.
#include "tests/conformance/cases.h"
#include "tests/conformance/verbs.h"

namespace viommu::conformance {
namespace {

using Steps = std::vector<Step>;

constexpr uint64_t k48 = (uint64_t{1} << 48) - 1;

// A domain for the device, which is not attached, with one page mapped.
Steps MappedAt(const std::string& device, uint64_t iova) {
  return DomainFor(device) + Steps{Map("a", {At(iova)})};
}

std::vector<Case> Regions() {
  return {
      {"7",
       "a relaxable region is nobody's once the device is claimed",
       MappedAt("relaxable", 0x7b000000),
       Attach("relaxable", "d"),
       {},
       {Reads("relaxable", 0x7b000000, 1), Usable("a", {{0, k48}})}},
      {"7", "a mapping in a region that is never usable", MappedAt("pair.b", 0x200000),
       Attach("pair.b", "d"), Conflict().Blames("0x200000")},
      {"7", "a mapping in an interrupt window of the hardware", MappedAt("plain", 0xfeeff000),
       Attach("plain", "d"), Conflict().Blames("0xfeeff000")},
      {"7", "a mapping in an interrupt window of software", MappedAt("sw-msi", 0x8000000),
       Attach("sw-msi", "d"), Conflict().Blames("0x8000000")},
      {"7",
       "an interrupt window of software is reserved",
       DomainFor("sw-msi"),
       Attach("sw-msi", "d"),
       {},
       {Usable("a", {{0, 0x7ffffff}, {0x8100000, k48}})}},
      {"7",
       "nothing is reserved while nobody is attached",
       DomainFor("plain"),
       Map("a", {At(0xfee00000)}),
       {},
       {}},
      {"7", "two devices that reserve the same",
       Attached("plain") + Steps{Claim("second"), Attach("second", "d"), Detach("plain")},
       Map("a", {At(0xfee00000)}), Invalid("IOVA_RESERVED").Says("0xfee00000")},
      {"7",
       "the regions of a device",
       {},
       ReservedRegions("pair.b"),
       {},
       {AnswerSays("RESERVED_REGION_TYPE_RESERVED"), AnswerSays("RESERVED_REGION_TYPE_MSI")}},
      {"7",
       "blocked reserves nothing",
       DomainFor("plain") + Steps{Attach("plain", "blocked")},
       Map("a", {At(0xfee00000)}),
       {},
       {}},
  };
}

std::vector<Case> Coherency() {
  return {
      OnVtd({"8", "a domain that forces snooping behind a unit that can not",
             DomainFor("plain") + Steps{Claim("loose")}, Attach("loose", "d"),
             Precondition("INCOMPATIBLE_DOMAIN", "EINVAL")}),
      OnVtd({"8",
             "a domain that does not force it behind a unit that could",
             MappedAt("loose", 0x10000) + Steps{Claim("plain")},
             Attach("plain", "d"),
             {},
             {Reads("plain", 0x10000, 1)}}),
      {"8",
       "it is fixed by the device that the domain was made for",
       {NewIoas("a"), Claim("loose")},
       NewDomain("d", "a", "loose"),
       {},
       {AnswerLacks("enforces_cache_coherency")}},
  };
}

}  // namespace

std::vector<Case> ReservedCases() {
  std::vector<Case> all = Regions();
  for (Case& row : Coherency()) all.push_back(std::move(row));
  return all;
}

}  // namespace viommu::conformance
