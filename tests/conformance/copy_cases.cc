// tests/conformance/copy_cases.cc -- CopyMappings.
#include "tests/conformance/cases.h"
#include "tests/conformance/verbs.h"
#include "viommu/v1/common.pb.h"

namespace viommu::conformance {
namespace {

// "a" maps two pages at 0x10000, one after them from elsewhere, and a page apart; "b" is empty.
std::vector<Step> Source() {
  return {NewRegion("r"), NewIoas("a"), NewIoas("b"),
          Map("a", {At(0x10000, 2 * kPage), At(0x12000, kPage, 8 * kPage), At(0x20000)})};
}

// The same, and a device on a domain over "b".
std::vector<Step> Watched() {
  return Source() +
         std::vector<Step>{Claim("plain"), NewDomain("d", "b", "plain"), Attach("plain", "d")};
}

Copy Of(uint64_t source_iova, uint64_t length, std::optional<uint64_t> iova) {
  Copy copy;
  copy.source_iova = source_iova;
  copy.length = length;
  copy.iova = iova;
  return copy;
}

Copy Within(Copy copy, const std::string& source, const std::string& into) {
  copy.source = source;
  copy.into = into;
  return copy;
}

Copy Granting(Copy copy, v1::Permission permission) {
  copy.permission = permission;
  return copy;
}

std::vector<Case> Refusals() {
  return {
      {"3.5/copy.3", "neither reading nor writing", Source(),
       CopyMappings(Granting(Of(0x10000, kPage, 0), v1::PERMISSION_NONE)),
       Invalid("INVALID_PERMISSION").Field("permission")},
      {"3.5/copy.4", "a source that is not there", Source(),
       CopyMappings(Within(Of(0x10000, kPage, 0), "none", "b")),
       NotFound("IOAS_NOT_FOUND").Blames("ioas/conf-none")},
      {"3.5/copy.5", "a length of 0", Source(), CopyMappings(Of(0x10000, 0, 0)),
       Invalid("INVALID_LENGTH").Field("length")},
      {"3.5/copy.5", "a source that wraps", Source(), CopyMappings(Of(kTop, 2, 0)),
       OutOfRange("IOVA_OVERFLOW").Field("source_iova").Says("0xffffffffffffffff")},
      {"3.5/copy.5", "a source where nothing is mapped", Source(),
       CopyMappings(Of(0x80000, kPage, 0)),
       NotFound("IOVA_NOT_COVERED").Field("source_iova").Says("0x80000")},
      {"3.5/copy.5", "a source with a hole", Source(), CopyMappings(Of(0x10000, 17 * kPage, 0)),
       NotFound("IOVA_NOT_COVERED").Says("0x13000")},
      {"3.5/copy.5", "a source that ends beyond its mapping", Source(),
       CopyMappings(Of(0x20000, kPage + 1, 0)), NotFound("IOVA_NOT_COVERED").Says("0x21000")},
      {"3.5/copy.6", "a destination that is not there", Source(),
       CopyMappings(Within(Of(0x10000, kPage, 0), "a", "none")), NotFound("IOAS_NOT_FOUND")},
      {"3.5/copy.7", "a destination that wraps", Source(),
       CopyMappings(Of(0x10000, 2 * kPage, kTop - kPage + 1)),
       OutOfRange("IOVA_OVERFLOW").Field("iova").Says("0xfffffffffffff000")},
      {"3.5/copy.7", "a destination that is mapped",
       Watched() + std::vector<Step>{Map("b", {At(0x42000)})},
       CopyMappings(Of(0x10000, 3 * kPage, 0x40000)),
       Exists("IOVA_OCCUPIED").Field("iova").Says("0x42000")},
      {"3.5/copy.7", "a destination over the source itself", Source(),
       CopyMappings(Within(Of(0x10000, 2 * kPage, 0x11000), "a", "a")), Exists("IOVA_OCCUPIED")},
      {"3.5/copy.7", "a destination that is reserved", Watched(),
       CopyMappings(Of(0x10000, 3 * kPage, 0xfedfe000)), Invalid("IOVA_RESERVED").Field("iova")},
      {"3.5/copy.7", "a length that is not aligned", Watched(),
       CopyMappings(Of(0x10000, 0x800, 0x40000)),
       Invalid("MISALIGNED").Field("length").Says("0x800")},
      {"3.5/copy.7", "a destination that is not aligned", Watched(),
       CopyMappings(Of(0x10000, kPage, 0x40800)),
       Invalid("MISALIGNED").Field("iova").Says("0x40800")},
      {"3.5/copy.7", "a source that is not aligned", Watched(),
       CopyMappings(Of(0x10800, kPage, 0x40000)),
       Invalid("MISALIGNED").Field("source_iova").Says("0x800")},
      {"3.5/copy.7", "a source that is not aligned, at a chosen address", Watched(),
       CopyMappings(Of(0x10800, kPage, {})), Invalid("MISALIGNED").Field("source_iova")},
      {"3.5/copy.7", "a mapped destination is told before a source that is not aligned",
       Watched() + std::vector<Step>{Map("b", {At(0x40000)})},
       CopyMappings(Of(0x10800, kPage, 0x40000)), Exists("IOVA_OCCUPIED").Field("iova")},
      {"3.5/copy.7", "no room where an address may be chosen",
       Source() + std::vector<Step>{Allow("b", {{0x8000, 0x8fff}})},
       CopyMappings(Of(0x10000, 2 * kPage, {})), Exhausted("IOVA_EXHAUSTED")},
  };
}

std::vector<Case> Acceptances() {
  return {
      {"3.5/copy",
       "one new mapping for each source",
       Watched(),
       CopyMappings(Of(0x10000, 3 * kPage, 0x40000)),
       {},
       {Maps("b", {"0x40000+0x2000@0x0", "0x42000+0x1000@0x8000"}), Reads("plain", 0x41000, 2),
        Reads("plain", 0x42000, 9), Faults("plain", 0x43000)}},
      {"3.5/copy",
       "a part of a mapping",
       Watched(),
       CopyMappings(Of(0x11000, kPage, 0x40000)),
       {},
       {Maps("b", {"0x40000+0x1000@0x1000"}), Reads("plain", 0x40000, 2)}},
      {"3.5/copy",
       "parts of two mappings",
       Watched(),
       CopyMappings(Of(0x11000, 2 * kPage, 0)),
       {},
       {Maps("b", {"0x0+0x1000@0x1000", "0x1000+0x1000@0x8000"})}},
      {"3.5/copy",
       "within one address space",
       Source(),
       CopyMappings(Within(Of(0x10000, 2 * kPage, 0x12000 + kPage), "a", "a")),
       {},
       {Maps("a", {"0x10000+0x2000@0x0", "0x12000+0x1000@0x8000", "0x13000+0x2000@0x0",
                   "0x20000+0x1000@0x0"})}},
      {"3.5/copy",
       "a permission of its own",
       Watched(),
       CopyMappings(Granting(Of(0x10000, kPage, 0x40000), v1::PERMISSION_READ)),
       {},
       {Reads("plain", 0x40000, 1), FaultsAtWrite("plain", 0x40000)}},
      {"3.5/copy",
       "it stays when the source goes",
       Watched() + std::vector<Step>{CopyMappings(Of(0x10000, kPage, 0x40000))},
       UnmapAll("a"),
       {},
       {Reads("plain", 0x40000, 1)}},
      {"3.6/copy",
       "one place is chosen for all pieces",
       Source(),
       CopyMappings(Of(0x10000, 3 * kPage, {})),
       {},
       {Chose({0x4000, 0x6000})}},
  };
}

}  // namespace

std::vector<Case> CopyCases() {
  std::vector<Case> all = Refusals();
  for (Case& row : Acceptances()) all.push_back(std::move(row));
  return all;
}

}  // namespace viommu::conformance
