// tests/conformance/unmap_cases.cc -- Unmap: whole mappings, all of a batch or none.
#include "tests/conformance/cases.h"
#include "tests/conformance/verbs.h"
#include "viommu/v1/ioas.pb.h"

namespace viommu::conformance {
namespace {

// A device that reaches two pages at 0x10000, one at 0x20000 and one at 0x30000.
std::vector<Step> Mapped() {
  return Attached("plain") +
         std::vector<Step>{Map("a", {At(0x10000, 2 * kPage), At(0x20000), At(0x30000)})};
}

v1::UnmapRequest AllAndMore() {
  v1::UnmapRequest request;
  request.set_name(World::Ioas("a"));
  request.set_all(true);
  request.add_ranges()->set_iova(0x20000);
  request.mutable_ranges(0)->set_length(kPage);
  return request;
}

v1::UnmapRequest WithoutIova() {
  v1::UnmapRequest request;
  request.set_name(World::Ioas("a"));
  request.add_ranges()->set_length(kPage);
  return request;
}

std::vector<Case> Refusals() {
  return {
      {"3.7/1",
       "an address space that is not there",
       {},
       Unmap("none", {{0x10000}}),
       NotFound("IOAS_NOT_FOUND").Blames("ioas/conf-none")},
      {"3.7/2", "the magic range is not everything", Mapped(), Unmap("a", {{0, kTop}}),
       Invalid("INVALID_LENGTH").Field("ranges[0].length").Index(0)},
      {"3.7/2", "everything together with ranges", Mapped(), SendUnmap(AllAndMore()),
       Invalid("CONFLICTING_FIELDS").Field("ranges")},
      {"3.7/3", "a range without an address", Mapped(), SendUnmap(WithoutIova()),
       Invalid("MISSING_FIELD").Field("ranges[0].iova")},
      {"3.7/3", "no ranges", Mapped(), Unmap("a", {}), Invalid("EMPTY_BATCH").Field("ranges")},
      {"3.7/3", "a length of 0", Mapped(), Unmap("a", {{0x20000}, {0x30000, 0}}),
       Invalid("INVALID_LENGTH").Field("ranges[1].length").Index(1)},
      {"3.7/3", "a range that wraps", Mapped(), Unmap("a", {{0x20000}, {kTop, 2}}),
       OutOfRange("IOVA_OVERFLOW").Field("ranges[1].iova").Index(1).Says("0xffffffffffffffff")},
      {"3.7", "nothing in the range", Mapped(), Unmap("a", {{0x20000}, {0x50000, 16 * kPage}}),
       NotFound("IOVA_NOT_COVERED").Field("ranges[1].iova").Index(1).Says("0x50000")},
      {"3.7", "the end of a mapping", Mapped(), Unmap("a", {{0x11000}}),
       NotFound("IOVA_NOT_COVERED").Index(0).Says("0x11000")},
      {"3.7", "the start of a mapping", Mapped(), Unmap("a", {{0x30000}, {0x10000}}),
       NotFound("IOVA_NOT_COVERED").Index(1).Says("0x10000")},
      {"3.7", "whole mappings and then a part of one",
       Mapped() + std::vector<Step>{Map("a", {At(0x40000, 4 * kPage)})},
       Unmap("a", {{0x10000, 0x32000}}), NotFound("IOVA_NOT_COVERED").Index(0).Says("0x40000")},
      {"3.7", "the same mapping twice in a batch", Mapped(), Unmap("a", {{0x20000}, {0x20000}}),
       NotFound("IOVA_NOT_COVERED").Index(1)},
      {"3.7", "a mapping that is gone", Mapped() + std::vector<Step>{Unmap("a", {{0x20000}})},
       Unmap("a", {{0x20000}}), NotFound("IOVA_NOT_COVERED").Index(0)},
  };
}

std::vector<Case> Acceptances() {
  return {
      {"3.7/2",
       "everything",
       Mapped(),
       UnmapAll("a"),
       {},
       {AnswerSays("unmapped_bytes: 16384"), AnswerSays("unmapped_count: 3"), Maps("a", {}),
        Faults("plain", 0x10000), Faults("plain", 0x30000)}},
      {"3.7/2",
       "everything of nothing",
       Attached("plain"),
       UnmapAll("a"),
       {},
       {AnswerLacks("unmapped_bytes")}},
      {"3.7",
       "one mapping",
       Mapped(),
       Unmap("a", {{0x10000, 2 * kPage}}),
       {},
       {AnswerSays("unmapped_bytes: 8192"), Faults("plain", 0x10000), Faults("plain", 0x11fff),
        Reads("plain", 0x20000, 1)}},
      {"3.7",
       "more than what is mapped",
       Mapped(),
       Unmap("a", {{0x18000, 0x10000}}),
       {},
       {AnswerSays("unmapped_bytes: 4096"), Faults("plain", 0x20000), Reads("plain", 0x11000, 2)}},
      {"3.7",
       "holes between mappings",
       Mapped(),
       Unmap("a", {{0x0, 0x28000}}),
       {},
       {AnswerSays("unmapped_bytes: 12288"), AnswerSays("unmapped_count: 2"),
        Maps("a", {"0x30000+0x1000@0x0"})}},
      {"3.7",
       "several ranges, in any order",
       Mapped(),
       Unmap("a", {{0x30000}, {0x10000, 2 * kPage}}),
       {},
       {Maps("a", {"0x20000+0x1000@0x0"})}},
      {"3.7",
       "the address can be mapped again",
       Mapped() + std::vector<Step>{UnmapAll("a")},
       Map("a", {At(0x10000, kPage, 4 * kPage)}),
       {},
       {Reads("plain", 0x10000, 5)}},
      {"3.7",
       "in every domain of the address space",
       Mapped() +
           std::vector<Step>{Claim("second"), NewDomain("e", "a", "second"), Attach("second", "e")},
       Unmap("a", {{0x20000}}),
       {},
       {Faults("plain", 0x20000), Faults("second", 0x20000), Reads("second", 0x30000, 1)}},
  };
}

}  // namespace

std::vector<Case> UnmapCases() {
  std::vector<Case> all = Refusals();
  for (Case& row : Acceptances()) all.push_back(std::move(row));
  return all;
}

}  // namespace viommu::conformance
