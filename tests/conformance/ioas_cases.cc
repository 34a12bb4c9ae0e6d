// tests/conformance/ioas_cases.cc -- Address spaces: making, deleting, ranges, alignment, domains.
#include "tests/conformance/cases.h"
#include "tests/conformance/verbs.h"

namespace viommu::conformance {
namespace {

constexpr Range kAll{0, kTop};
constexpr uint64_t k48 = (uint64_t{1} << 48) - 1;
constexpr uint64_t k39 = (uint64_t{1} << 39) - 1;
constexpr uint64_t k57 = (uint64_t{1} << 57) - 1;
constexpr uint64_t kMsi = 0xfee00000;
constexpr uint64_t kMsiLast = 0xfeefffff;

std::vector<Step> Space() { return {NewRegion("r"), NewIoas("a")}; }

std::vector<Case> Making() {
  return {
      {"3.2",
       "a new address space has everything, aligned to nothing",
       {},
       NewIoas("a"),
       {},
       {Usable("a", {kAll}), HasAlignment("a", 1), Maps("a", {})}},
      {"3.2",
       "the same name twice",
       {NewIoas("a")},
       NewIoas("a"),
       Exists("IOAS_EXISTS").Blames("ioas/conf-a")},
      {"3.2",
       "deleting one that maps",
       Space() + std::vector<Step>{Map("a", {At(0)})},
       DeleteIoas("a"),
       {},
       {DeleteRegion("r")}},
      {"3.2", "deleting one over which a domain lies", DomainFor("plain"), DeleteIoas("a"),
       Precondition("IN_USE", "EBUSY").Blames("domains/conf-d")},
      {"3.2",
       "deleting one that is not there",
       {},
       DeleteIoas("none"),
       NotFound("IOAS_NOT_FOUND").Blames("ioas/conf-none")},
      {"3.2", "looking at one that is not there", {}, GetIoas("none"), NotFound("IOAS_NOT_FOUND")},
  };
}

std::vector<Case> Ranges() {
  return {
      {"3.3/2",
       "ranges of an address space that is not there",
       {},
       ListRanges("none"),
       NotFound("IOAS_NOT_FOUND").Blames("ioas/conf-none")},
      {"3.3",
       "mappings and allowed ranges take nothing away",
       Space() + std::vector<Step>{Map("a", {At(0x10000)}), Allow("a", {{0x0, 0xfffff}})},
       ListRanges("a"),
       {},
       {Usable("a", {kAll})}},
      {"3.3",
       "reserved regions and what a domain can not reach are holes",
       Attached("plain"),
       ListRanges("a"),
       {},
       {Usable("a", {{0, kMsi - 1}, {kMsiLast + 1, k48}})}},
  };
}

std::vector<Case> Allowing() {
  return {
      {"3.4/2",
       "of an address space that is not there",
       {},
       Allow("none", {{0, 1}}),
       NotFound("IOAS_NOT_FOUND")},
      {"3.4/3",
       "a range that ends before it begins",
       {NewIoas("a")},
       Allow("a", {{0x2000, 0x1fff}}),
       Invalid("RANGE_INVALID").Field("ranges[0]").Index(0).Says("0x2000")},
      {"3.4/3",
       "a range of one byte",
       {NewIoas("a")},
       Allow("a", {{0x1000, 0x1fff}, {0x3000, 0x3000}}),
       Invalid("RANGE_INVALID").Field("ranges[1]").Index(1).Says("0x3000")},
      {"3.4/3",
       "a range that overlaps an earlier one",
       {NewIoas("a")},
       Allow("a", {{0x4000, 0x5fff}, {0x1000, 0x1fff}, {0x5fff, 0x6fff}}),
       Invalid("RANGE_OVERLAP").Field("ranges[2]").Index(2).Says("0x5fff")},
      {"3.4/3",
       "ranges side by side",
       {NewIoas("a")},
       Allow("a", {{0x2000, 0x2fff}, {0x1000, 0x1fff}}),
       {},
       {AnswerSays("first: 8192")}},
      {"3.4/3", "everything", {NewIoas("a")}, Allow("a", {kAll}), {}, {}},
      {"3.4/4", "a range that meets a reserved one",
       Attached("plain") + std::vector<Step>{Allow("a", {{0x1000, 0xffff}})},
       Allow("a", {{0x1000, 0x1fff}, {kMsiLast, kMsiLast + kPage}}),
       Conflict().Field("ranges[1]").Index(1).Says("0xfeefffff")},
      {"3.4/4", "a range beyond what a domain can reach", DomainFor("narrow"),
       Allow("a", {{k39, k39 + 1}}), Conflict().Index(0).Blames("aperture")},
      {"3.4/3", "is told before a reserved range in an earlier entry", Attached("plain"),
       Allow("a", {{kMsi, kMsiLast}, {0x3000, 0x3000}}), Invalid("RANGE_INVALID").Index(1)},
      {"3.4",
       "replaces the whole list",
       {NewIoas("a"), Allow("a", {{0x1000, 0x1fff}})},
       Allow("a", {{0x8000, 0x8fff}}),
       {},
       {AnswerLacks("first: 4096")}},
      {"3.4",
       "no range takes every wish back",
       DomainFor("narrow") + std::vector<Step>{Allow("a", {{0x1000, 0x1fff}})},
       Allow("a", {}),
       {},
       {AnswerLacks("allowed_ranges"), Map("a", {Anywhere(0x10000)})}},
      {"3.4/a",
       "an address is chosen inside the allowed ranges",
       Space() + std::vector<Step>{Allow("a", {{0x700000, 0x7fffff}, {0x30000, 0x30fff}})},
       Map("a", {Anywhere(kPage), Anywhere(kPage)}),
       {},
       {Chose({0x30000, 0x700000})}},
      {"3.4/a", "nothing is chosen outside them",
       Space() + std::vector<Step>{Allow("a", {{0x30000, 0x30fff}})}, Map("a", {Anywhere(0x2000)}),
       Exhausted("IOVA_EXHAUSTED").Index(0)},
      {"3.4/b", "attaching a device that reserves an allowed address",
       DomainFor("plain") + std::vector<Step>{Allow("a", {{kMsiLast, kMsiLast + 1}})},
       Attach("plain", "d"), Conflict().Blames("0xfeefffff")},
      {"3.4/b",
       "a domain that can not reach an allowed address",
       {NewIoas("a"), Claim("narrow"), Allow("a", {{k39 + 1, k39 + 2}})},
       NewDomain("d", "a", "narrow"),
       Conflict().Blames("allowed range")},
      {"3.4",
       "does not restrict what is mapped at a given address",
       Space() + std::vector<Step>{Allow("a", {{0x1000, 0x1fff}})},
       Map("a", {At(0x900000)}),
       {},
       {Maps("a", {"0x900000+0x1000@0x0"})}},
  };
}

std::vector<Case> Alignment() {
  return {
      {"3.10",
       "a domain raises it to its smallest page",
       {NewIoas("a"), Claim("plain")},
       NewDomain("d", "a", "plain"),
       {},
       {HasAlignment("a", kPage)}},
      {"3.10",
       "the last domain lowers it again",
       DomainFor("plain"),
       DeleteDomain("d"),
       {},
       {HasAlignment("a", 1)}},
      {"3.10",
       "one domain of two does not lower it",
       DomainFor("plain") + std::vector<Step>{NewDomain("e", "a", "plain")},
       DeleteDomain("d"),
       {},
       {HasAlignment("a", kPage)}},
      {"3.10", "a mapping at an odd address stands in the way",
       Space() + std::vector<Step>{Map("a", {At(0x10800)}), Claim("plain")},
       NewDomain("d", "a", "plain"), Conflict().Blames("0x10800")},
      {"3.10", "a mapping of odd length stands in the way",
       Space() + std::vector<Step>{Map("a", {At(0x10000, 0x800)}), Claim("plain")},
       NewDomain("d", "a", "plain"), Conflict().Blames("0x10000")},
      {"3.10", "a mapping with an odd source stands in the way",
       Space() + std::vector<Step>{Map("a", {At(0x10000, kPage, 0x800)}), Claim("plain")},
       NewDomain("d", "a", "plain"), Conflict().Blames("0x10000")},
      {"3.10",
       "nothing odd stands in the way",
       Space() + std::vector<Step>{Map("a", {At(0x800, 8, 3)}), UnmapAll("a"), Claim("plain")},
       NewDomain("d", "a", "plain"),
       {},
       {}},
  };
}

std::vector<Case> Domains() {
  const std::vector<Step> two = DomainFor("plain") + std::vector<Step>{Claim("narrow")};
  return {
      OnVtd({"3.13",
             "a domain closes what it can not reach",
             {NewIoas("a"), Claim("narrow")},
             NewDomain("d", "a", "narrow"),
             {},
             {Usable("a", {{0, k39}})}}),
      OnVtd({"3.13",
             "five levels reach further",
             {NewIoas("a"), Claim("wide")},
             NewDomain("d", "a", "wide"),
             {},
             {Usable("a", {{0, k57}})}}),
      OnVtd({"3.13",
             "the narrower of two domains counts",
             two,
             NewDomain("e", "a", "narrow"),
             {},
             {Usable("a", {{0, k39}})}}),
      {"3.13",
       "going, it opens that again",
       two + std::vector<Step>{NewDomain("e", "a", "narrow")},
       DeleteDomain("e"),
       {},
       {Usable("a", {{0, k48}})}},
      {"3.13", "a mapping beyond its reach stands in the way",
       Space() + std::vector<Step>{Map("a", {At(k39 + 1)}), Claim("narrow")},
       NewDomain("d", "a", "narrow"), Conflict().Blames("0x8000000000")},
      {"3.13", "a mapping across its end stands in the way",
       Space() + std::vector<Step>{Map("a", {At(k39 + 1 - kPage, 2 * kPage)}), Claim("narrow")},
       NewDomain("d", "a", "narrow"), Conflict().Blames("0x7ffffff000")},
      {"3.13", "an odd mapping is told before one beyond its reach",
       Space() + std::vector<Step>{Map("a", {At(0x10800), At(k39 + 1)}), Claim("narrow")},
       NewDomain("d", "a", "narrow"), Conflict().Blames("0x10800")},
      {"3.13",
       "what is mapped already is there at once",
       Space() + std::vector<Step>{Map("a", {At(0x10000, kPage, 2 * kPage)}), Claim("plain"),
                                   NewDomain("d", "a", "plain")},
       Attach("plain", "d"),
       {},
       {Reads("plain", 0x10000, 3), Faults("plain", 0x11000)}},
      {"3.13",
       "the other domain keeps what one that goes had too",
       Space() + std::vector<Step>{Map("a", {At(0x10000)}), Claim("plain"),
                                   NewDomain("d", "a", "plain"), NewDomain("e", "a", "plain"),
                                   Attach("plain", "d")},
       DeleteDomain("e"),
       {},
       {Reads("plain", 0x10000, 1)}},
  };
}

}  // namespace

std::vector<Case> IoasCases() {
  std::vector<Case> all;
  for (auto* const part : {Making, Ranges, Allowing, Alignment, Domains}) {
    for (Case& row : part()) all.push_back(std::move(row));
  }
  return all;
}

}  // namespace viommu::conformance
