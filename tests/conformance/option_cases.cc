// tests/conformance/option_cases.cc -- Large pages, cutting, and what VFIO's containers did.
#include "tests/conformance/cases.h"
#include "tests/conformance/verbs.h"
#include "viommu/v1/ioas.grpc.pb.h"

namespace viommu::conformance {
namespace {

using Steps = std::vector<Step>;
using IoasStub = v1::IoasService::Stub;

Step MakeIoas(const v1::Ioas& ioas) {
  return [=](World& world) -> absl::Status {
    v1::CreateIoasRequest request;
    request.set_ioas_id(World::Id("a"));
    *request.mutable_ioas() = ioas;
    absl::Status made = world.Call(&IoasStub::CreateIoas, std::move(request)).status();
    if (made.ok()) world.OnUndo([&world] { return DeleteIoas("a")(world); });
    return made;
  };
}

Step MakeIoas(v1::IoasMode mode) {
  v1::Ioas ioas;
  ioas.set_mode(mode);
  return MakeIoas(ioas);
}

Step MakeIoas(v1::IoasMode mode, bool large_pages) {
  v1::Ioas ioas;
  ioas.set_mode(mode);
  ioas.set_large_pages(large_pages);
  return MakeIoas(ioas);
}

Step SetLargePages(const std::string& ioas, std::optional<bool> value) {
  return [=](World& world) {
    v1::SetLargePagesRequest request;
    request.set_name(World::Ioas(ioas));
    if (value.has_value()) request.set_large_pages(*value);
    return world.Call(&IoasStub::SetLargePages, std::move(request)).status();
  };
}

Steps Space(v1::IoasMode mode) { return {NewRegion("r"), MakeIoas(mode)}; }

// A device that reaches four pages at 0x10000.
Steps Mapped(v1::IoasMode mode) {
  return Space(mode) + Steps{Claim("plain"), NewDomain("d", "a", "plain"), Attach("plain", "d"),
                             Map("a", {At(0x10000, 4 * kPage)})};
}

std::vector<Case> LargePages() {
  const Step off = SetLargePages("a", false);
  return {
      {"3.9",
       "an address space that is not there",
       {},
       SetLargePages("none", true),
       NotFound("IOAS_NOT_FOUND").Blames("ioas/conf-none")},
      {"3.9",
       "no value",
       {NewIoas("a")},
       SetLargePages("a", std::nullopt),
       Invalid("MISSING_FIELD").Field("large_pages")},
      {"3.9", "off while there are mappings and domains",
       Attached("plain") + Steps{Map("a", {At(0x10000)})}, off,
       Precondition("LARGE_PAGES_IN_USE", "EINVAL").Blames("ioas/conf-a")},
      {"3.9",
       "off while a mapping is odd",
       {NewRegion("r"), NewIoas("a"), Map("a", {At(0x10800)})},
       off,
       Conflict().Blames("0x10800")},
      {"3.9", "off raises the alignment", {NewIoas("a")}, off, {}, {HasAlignment("a", kPage)}},
      {"3.9", "off while there are domains only", DomainFor("plain"), off, {}, {}},
      {"3.9", "off again", {NewIoas("a"), off, Remember()}, off, {}, {NothingChanged()}},
      {"3.9",
       "on lowers the alignment",
       {NewIoas("a"), off},
       SetLargePages("a", true),
       {},
       {HasAlignment("a", 1)}},
      {"3.9", "on is the default", {}, NewIoas("a"), {}, {AnswerSays("large_pages: true")}},
  };
}

std::vector<Case> Cutting() {
  return {
      {"3.8",
       "a mapping is cut in the middle",
       Mapped(v1::IOAS_MODE_VFIO_TYPE1),
       Unmap("a", {{0x11000, 2 * kPage}}),
       {},
       {AnswerSays("unmapped_bytes: 8192"),
        Maps("a", {"0x10000+0x1000@0x0", "0x13000+0x1000@0x3000"}), Reads("plain", 0x10000, 1),
        Faults("plain", 0x11000), Faults("plain", 0x12000), Reads("plain", 0x13000, 4)}},
      {"3.8",
       "a mapping is cut at its end",
       Mapped(v1::IOAS_MODE_VFIO_TYPE1),
       Unmap("a", {{0x13000}}),
       {},
       {Maps("a", {"0x10000+0x3000@0x0"}), Faults("plain", 0x13000)}},
      {"3.8", "a cut that is not aligned", Mapped(v1::IOAS_MODE_VFIO_TYPE1),
       Unmap("a", {{0x10000}, {0x11800}}), Invalid("MISALIGNED").Index(1).Says("0x11800")},
      {"3.8", "nothing is cut with TYPE1v2", Mapped(v1::IOAS_MODE_VFIO_TYPE1V2),
       Unmap("a", {{0x11000}}), NotFound("IOVA_NOT_COVERED").Index(0).Says("0x11000")},
  };
}

std::vector<Case> Containers() {
  return {
      {"14",
       "TYPE1 has no large pages",
       {},
       MakeIoas(v1::IOAS_MODE_VFIO_TYPE1),
       {},
       {AnswerSays("large_pages: false"), HasAlignment("a", kPage)}},
      {"14",
       "TYPE1 can not be asked for them",
       {},
       MakeIoas(v1::IOAS_MODE_VFIO_TYPE1, true),
       Invalid("LARGE_PAGES_NOT_ALLOWED").Field("ioas.large_pages")},
      {"14",
       "TYPE1 does not get them later",
       {MakeIoas(v1::IOAS_MODE_VFIO_TYPE1)},
       SetLargePages("a", true),
       Precondition("LARGE_PAGES_NOT_ALLOWED", "EINVAL").Blames("ioas/conf-a")},
      {"14",
       "nesting never did anything",
       {},
       MakeIoas(v1::IOAS_MODE_VFIO_TYPE1_NESTING),
       Unimplemented("MODE_NOT_SUPPORTED")},
      {"14",
       "unmapping nothing is done with TYPE1",
       Mapped(v1::IOAS_MODE_VFIO_TYPE1),
       Unmap("a", {{0x90000}}),
       {},
       {AnswerLacks("unmapped_bytes"), Reads("plain", 0x10000, 1)}},
      {"14",
       "unmapping nothing is done with TYPE1v2",
       Mapped(v1::IOAS_MODE_VFIO_TYPE1V2),
       Unmap("a", {{0x90000}}),
       {},
       {AnswerLacks("unmapped_bytes"), Reads("plain", 0x10000, 1)}},
      {"14", "a length of 0 is not nothing", Mapped(v1::IOAS_MODE_VFIO_TYPE1),
       Unmap("a", {{0x90000, 0}}), Invalid("INVALID_LENGTH").Index(0)},
      {"14", "what is mapped stays as it is", Mapped(v1::IOAS_MODE_VFIO_TYPE1V2),
       Map("a", {At(0x11000)}), Exists("IOVA_OCCUPIED").Index(0)},
  };
}

}  // namespace

std::vector<Case> OptionCases() {
  std::vector<Case> all;
  for (auto* const part : {LargePages, Cutting, Containers}) {
    for (Case& row : part()) all.push_back(std::move(row));
  }
  return all;
}

}  // namespace viommu::conformance
