// tests/conformance/map_cases.cc -- Map, at given addresses and at chosen ones.
#include "tests/conformance/cases.h"
#include "tests/conformance/verbs.h"
#include "viommu/v1/common.pb.h"
#include "viommu/v1/ioas.pb.h"

namespace viommu::conformance {
namespace {

constexpr uint64_t kHuge = 2 * kMiB;
constexpr uint64_t kMsi = 0xfee00000;

std::vector<Step> Space(uint64_t size_bytes = kMiB) {
  return {NewRegion("r", size_bytes), NewIoas("a")};
}
std::vector<Step> SpaceWith(const std::vector<Entry>& entries) {
  return Space() + std::vector<Step>{Map("a", entries)};
}
std::vector<Step> AttachedWith(const std::vector<Entry>& entries) {
  return Attached("plain") + std::vector<Step>{Map("a", entries)};
}

v1::MapRequest WithUnknownField() {
  v1::MapRequest request = MapRequestFor("a", {At(0x10000)});
  request.mutable_mappings(0)
      ->GetReflection()
      ->MutableUnknownFields(request.mutable_mappings(0))
      ->AddVarint(900, 1);
  return request;
}

v1::MapRequest TooMany() {
  v1::MapRequest request = MapRequestFor("a", {});
  const v1::MapRequest one = MapRequestFor("a", {Anywhere(1)});
  for (int i = 0; i < 16385; ++i) *request.add_mappings() = one.mappings(0);
  return request;
}

v1::MapRequest WithPermission(int value) {
  v1::MapRequest request = MapRequestFor("a", {At(0x10000)});
  request.mutable_mappings(0)->set_permission(static_cast<v1::Permission>(value));
  return request;
}

std::vector<Case> Arguments() {
  return {
      {"3.5/1", "a field that nobody knows", Space(), SendMap(WithUnknownField()),
       Invalid("UNKNOWN_FIELD", "E2BIG").Field("mappings[0].900")},
      {"3.5/1", "a permission that nobody knows", Space(), SendMap(WithPermission(77)),
       Invalid("UNKNOWN_ENUM_VALUE").Field("mappings[0].permission").Says("77")},
      {"3.5/1", "a batch without entries", Space(), Map("a", {}),
       Invalid("EMPTY_BATCH").Field("mappings")},
      {"3.5/1", "a batch with too many entries", Space(), SendMap(TooMany()),
       Invalid("BATCH_TOO_LARGE").Field("mappings").Says("16385")},
      {"3.5/3", "neither reading nor writing", Space(),
       Map("a", {At(0x10000), With(At(0x20000), v1::PERMISSION_NONE)}),
       Invalid("INVALID_PERMISSION").Field("mappings[1].permission").Index(1)},
      {"3.5/4",
       "an address space that is not there",
       {NewRegion("r")},
       Map("none", {At(0x10000)}),
       NotFound("IOAS_NOT_FOUND").Blames("ioas/conf-none")},
      {"3.5/4", "a region that is not there", Space(), Map("a", {At(0), Of("none", At(0x10000))}),
       NotFound("MEMORY_REGION_NOT_FOUND").Index(1).Blames("memoryRegions/conf-none")},
      {"3.5/5", "a source that begins beyond the region", Space(), Map("a", {At(0, kPage, kMiB)}),
       OutOfRange("SOURCE_OUT_OF_BOUNDS", "EINVAL").Field("mappings[0].offset").Says("0x100000")},
      {"3.5/5", "a source that ends beyond the region", Space(),
       Map("a", {At(0, 2 * kPage, kMiB - kPage)}),
       OutOfRange("SOURCE_OUT_OF_BOUNDS", "EINVAL").Index(0).Says("0xff000")},
      {"3.5/5", "a source whose end wraps", Space(), Map("a", {At(0, 2 * kPage, kTop - kPage + 1)}),
       OutOfRange("SOURCE_OUT_OF_BOUNDS", "EINVAL").Index(0)},
      {"3.5/6", "a length of 0", Space(), Map("a", {At(0x10000), At(0x20000, 0)}),
       Invalid("INVALID_LENGTH").Field("mappings[1].length").Index(1)},
      {"3.5/6", "a length of 0 at a chosen address", Space(), Map("a", {Anywhere(0)}),
       Invalid("INVALID_LENGTH").Index(0)},
      {"3.5/2", "a length of 2^64 - 1", Space(), Map("a", {At(0x1000, kTop)}),
       OutOfRange("IOVA_OVERFLOW").Field("mappings[0].iova").Says("0xffffffffffffffff")},
      {"3.5/9b", "a range that wraps", Space(), Map("a", {At(kTop - kPage + 2)}),
       OutOfRange("IOVA_OVERFLOW").Field("mappings[0].iova").Index(0).Says("0xfffffffffffff001")},
  };
}

std::vector<Case> Places() {
  return {
      {"3.5/8", "a length that is not aligned", Attached("plain"), Map("a", {At(0x10000, 0x1800)}),
       Invalid("MISALIGNED").Field("mappings[0].length").Index(0).Says("0x1800")},
      {"3.5/9b", "an address that is not aligned", Attached("plain"), Map("a", {At(0x10800)}),
       Invalid("MISALIGNED").Field("mappings[0].iova").Index(0).Says("0x10800")},
      {"3.5/10", "a source that is not aligned", Attached("plain"),
       Map("a", {At(0x10000, kPage, 0x800)}),
       Invalid("MISALIGNED").Field("mappings[0].offset").Index(0).Says("0x800")},
      {"3.5/10", "a misaligned address is told before a misaligned source", Attached("plain"),
       Map("a", {At(0x10800, kPage, 0x800)}), Invalid("MISALIGNED").Field("mappings[0].iova")},
      {"3.5/10", "a reserved address is told before a misaligned source", Attached("plain"),
       Map("a", {At(kMsi, kPage, 0x800)}), Invalid("IOVA_RESERVED").Field("mappings[0].iova")},
      {"3.5/10", "a mapped address is told before a misaligned source", AttachedWith({At(0x10000)}),
       Map("a", {At(0x10000, kPage, 0x800)}), Exists("IOVA_OCCUPIED").Field("mappings[0].iova")},
      {"3.5/2",
       "the last address of all",
       Space(),
       Map("a", {At(kTop, 1)}),
       {},
       {Maps("a", {"0xffffffffffffffff+0x1@0x0"}), Unmap("a", {{kTop, 1}}), Maps("a", {})}},
      {"3.5/8",
       "nothing need be aligned without a domain",
       Space(),
       Map("a", {At(0x801, 7, 3)}),
       {},
       {Maps("a", {"0x801+0x7@0x3"})}},
      {"3.5/9b", "a reserved address", Attached("plain"), Map("a", {At(0x10000), At(kMsi)}),
       Invalid("IOVA_RESERVED").Field("mappings[1].iova").Index(1).Says("0xfee00000")},
      {"3.5/9b", "a range that ends in a reserved one", Attached("plain"),
       Map("a", {At(kMsi - kPage, 2 * kPage)}), Invalid("IOVA_RESERVED").Index(0)},
      {"3.5/9b", "an address that no domain reaches", Attached("plain"),
       Map("a", {At(uint64_t{1} << 48)}), Invalid("IOVA_RESERVED").Says("aperture")},
      {"3.5/9b",
       "right up to a reserved address",
       Attached("plain"),
       Map("a", {At(kMsi - kPage)}),
       {},
       {Reads("plain", kMsi - kPage, 1)}},
      {"3.5/9b", "an address that is mapped", AttachedWith({At(0x10000, 2 * kPage)}),
       Map("a", {At(0x30000), At(0x11000)}),
       Exists("IOVA_OCCUPIED").Field("mappings[1].iova").Index(1).Says("0x11000")},
      {"3.5/9b", "the same address twice in a batch", Attached("plain"),
       Map("a", {At(0x10000), At(0x20000), At(0x10000)}),
       Exists("IOVA_OCCUPIED").Index(2).Says("0x10000")},
      {"3.5/9b", "the same mapping again", AttachedWith({At(0x10000)}), Map("a", {At(0x10000)}),
       Exists("IOVA_OCCUPIED").Index(0)},
      {"3.5/9b", "a range around what is mapped", SpaceWith({At(0x11000)}),
       Map("a", {At(0x10000, 3 * kPage)}), Exists("IOVA_OCCUPIED").Says("0x11000")},
      {"3.5/9b", "a reserved address is told before one that is mapped",
       AttachedWith({At(kMsi - kPage)}), Map("a", {At(kMsi - kPage, 2 * kPage)}),
       Invalid("IOVA_RESERVED").Index(0)},
      {"3.5/9b", "a misaligned address is told before a reserved one", Attached("plain"),
       Map("a", {At(kMsi + 1)}), Invalid("MISALIGNED").Field("mappings[0].iova")},
      {"3.5/8", "a misaligned length is told before a misaligned address", Attached("plain"),
       Map("a", {At(0x10800, 0x801)}), Invalid("MISALIGNED").Field("mappings[0].length")},
      {"3.5",
       "address 0 is like any other",
       Attached("plain"),
       Map("a", {At(0)}),
       {},
       {Reads("plain", 0, 1)}},
      {"3.5",
       "side by side",
       AttachedWith({At(0x10000), At(0x12000)}),
       Map("a", {At(0x11000, kPage, 5 * kPage)}),
       {},
       {Reads("plain", 0x10fff, 1), Reads("plain", 0x11000, 6), Reads("plain", 0x12000, 1)}},
      {"3.5/11",
       "what may only be read is not written",
       Attached("plain"),
       Map("a", {With(At(0x10000), v1::PERMISSION_READ)}),
       {},
       {Reads("plain", 0x10000, 1), FaultsAtWrite("plain", 0x10000)}},
      {"3.5/11",
       "what may only be written is not read",
       Attached("plain"),
       Map("a", {With(At(0x10000), v1::PERMISSION_WRITE)}),
       {},
       {Faults("plain", 0x10000)}},
      {"3.5",
       "one region at two addresses",
       Attached("plain"),
       Map("a", {At(0x10000), At(0x20000), Of("r", At(0x30000, kPage, 0))}),
       {},
       {Reads("plain", 0x20000, 1), Reads("plain", 0x30000, 1)}},
      {"3.5", "a region that is mapped can not be deleted", SpaceWith({At(0)}), DeleteRegion("r"),
       Precondition("IN_USE", "EBUSY").Blames("ioas/conf-a")},
  };
}

std::vector<Case> Choices() {
  return {
      {"3.6",
       "the first page is never chosen",
       Space(),
       Map("a", {Anywhere()}),
       {},
       {Chose({kPage})}},
      {"3.6",
       "the lowest gap that is large enough",
       SpaceWith({At(0x1000), At(0x3000), At(0x6000, kPage)}),
       Map("a", {Anywhere(2 * kPage)}),
       {},
       {Chose({0x4000})}},
      {"3.6",
       "a power of two is aligned to itself",
       SpaceWith({At(0x1000)}),
       Map("a", {Anywhere(4 * kPage)}),
       {},
       {Chose({0x4000})}},
      {"3.6",
       "another length to the next power of two",
       Space(),
       Map("a", {Anywhere(3 * kPage)}),
       {},
       {Chose({0x4000})}},
      {"3.6",
       "the source's alignment is enough",
       Space(),
       Map("a", {Anywhere(4 * kPage, kPage)}),
       {},
       {Chose({0x1000})}},
      {"3.6",
       "no more than 2 MiB",
       Space(8 * kMiB),
       Map("a", {Anywhere(8 * kMiB)}),
       {},
       {Chose({kHuge})}},
      {"3.6",
       "the place in the page is that of the source",
       Space(),
       Map("a", {Anywhere(16, 0x234)}),
       {},
       {Chose({0x1234})}},
      {"3.6", "reserved addresses are not chosen",
       Attached("plain") + std::vector<Step>{Allow("a", {{kMsi - kPage, kMsi - 1}})},
       Map("a", {Anywhere(2 * kPage)}), Exhausted("IOVA_EXHAUSTED").Index(0).Says("0x2000")},
      {"3.6", "each entry leaves less for the next",
       Space() + std::vector<Step>{Allow("a", {{0x10000, 0x11fff}})},
       Map("a", {Anywhere(), Anywhere(), Anywhere()}), Exhausted("IOVA_EXHAUSTED").Index(2)},
      {"3.6", "the last page is never chosen",
       Space() + std::vector<Step>{Allow("a", {{kTop - kPage + 1, kTop}})}, Map("a", {Anywhere()}),
       Exhausted("IOVA_EXHAUSTED").Index(0)},
      {"3.6", "a source that can not be aligned", Attached("plain"),
       Map("a", {Anywhere(kPage, 0x80)}),
       Invalid("MISALIGNED").Field("mappings[0].offset").Index(0)},
      {"3.6",
       "given and chosen addresses in one batch",
       Space(),
       Map("a", {At(0x1000), Anywhere(), At(0x9000), Anywhere()}),
       {},
       {Chose({0x1000, 0x2000, 0x9000, 0x3000})}},
  };
}

}  // namespace

std::vector<Case> MapCases() {
  std::vector<Case> all;
  for (auto* const part : {Arguments, Places, Choices}) {
    for (Case& row : part()) all.push_back(std::move(row));
  }
  return all;
}

}  // namespace viommu::conformance
