// tests/conformance/dirty_cases.cc -- Which pages of a domain devices write: section 9.
#include <utility>

#include "tests/conformance/cases.h"
#include "tests/conformance/nested_verbs.h"
#include "tests/conformance/requests.h"
#include "tests/conformance/verbs.h"
#include "viommu/v1/domain.grpc.pb.h"

namespace viommu::conformance {
namespace {

using Steps = std::vector<Step>;
using Domains = v1::DomainService::Stub;

constexpr uint64_t kBase = 0x10000;
constexpr uint64_t kTooMany = (uint64_t{1} << 22) + 1;
const char* const kDevice = "deep";  // Its unit tracks.

Step Track(const std::string& domain, std::optional<bool> enabled) {
  return [=](World& world) {
    auto request = Named<v1::SetDirtyTrackingRequest>(World::Domain(domain));
    if (enabled.has_value()) request.set_enabled(*enabled);
    return world.Call(&Domains::SetDirtyTracking, std::move(request)).status();
  };
}

struct Pages {
  std::optional<uint64_t> iova = kBase;
  uint64_t length = 4 * kPage;
  uint64_t page = kPage;
  bool keep = false;
};
Step ReadDirty(const std::string& domain, const Pages& pages) {
  return [=](World& world) {
    auto request = Named<v1::ReadDirtyBitmapRequest>(World::Domain(domain));
    if (pages.iova.has_value()) request.set_iova(*pages.iova);
    request.set_length(pages.length);
    request.set_page_size_bytes(pages.page);
    request.set_no_clear(pages.keep);
    return world.Call(&Domains::ReadDirtyBitmap, std::move(request)).status();
  };
}

Step Tells(int pages) { return AnswerSays(" page_count: " + std::to_string(pages)); }
// Where there is a simulation: without, no device wrote anything.
Step Dirty(int pages) {
  return [=](World& world) {
    if (!world.simulated()) return absl::OkStatus();
    return AnswerSays("dirty_page_count: " + std::to_string(pages))(world);
  };
}
Step Clean() { return AnswerLacks("dirty_page_count"); }

Case Tracking(Case row) { return Needing(Feature::kDirtyTracking, std::move(row)); }

Flags Tracked() { return {/*nest_parent=*/false, /*pasid=*/false, /*dirty_tracking=*/true}; }

// A domain "d" that can track, attached, of four pages from kBase.
Steps Mapped() {
  return {NewRegion("r"),
          NewIoas("a"),
          Claim(kDevice),
          NewPaging("d", "a", kDevice, Tracked()),
          Attach(kDevice, "d"),
          Map("a", {At(kBase, 2 * kPage), At(kBase + 2 * kPage, 2 * kPage, 2 * kPage)})};
}
Steps On() { return Mapped() + Steps{Track("d", true)}; }

std::vector<Case> Making() {
  const std::string second = "format: \"vtd-second-stage\"";
  const Steps claimed = {NewIoas("a"), Claim(kDevice)};
  return {
      OnVtd(Accepted("4.9", "tracking takes a second stage", claimed,
                     NewPaging("d", "a", kDevice, Tracked()),
                     {DomainSays("d", second), DomainSays("d", "dirty_tracking: true"),
                      DomainLacks("d", "dirty_tracking_enabled")})),
      OnVtd(Accepted(
          "4.9", "tracking of a nest parent for PASIDs", claimed,
          NewPaging("d", "a", kDevice, {true, true, true}),
          {DomainSays("d", "nest_parent: true dirty_tracking: true"), DomainSays("d", second)})),
      OnSmmuV3(Tracking(Accepted(
          "4.9", "tracking takes a first stage", claimed, NewPaging("d", "a", kDevice, Tracked()),
          {DomainSays("d", "format: \"arm-stage1-4k\""), DomainSays("d", "dirty_tracking: true"),
           DomainLacks("d", "dirty_tracking_enabled")}))),
      OnSmmuV3(Tracking(Refused("4.9", "tracking of a nest parent", claimed,
                                NewPaging("d", "a", kDevice, {true, false, true}),
                                Unimplemented("DIRTY_TRACKING_UNAVAILABLE")))),
      Tracking(Refused(
          "9", "attaching behind a unit that does not track",
          {NewIoas("a"), Claim(kDevice), Claim("wide"), NewPaging("d", "a", kDevice, Tracked())},
          Attach("wide", "d"), Precondition("INCOMPATIBLE_DOMAIN", "EINVAL"))),
  };
}

std::vector<Case> Setting() {
  const auto not_paging = [] { return Precondition("NOT_PAGING", "ENOENT"); };
  return {
      Tracking(Refused("9/SET", "no value", Mapped(), Track("d", std::nullopt),
                       Invalid("MISSING_FIELD").Field("enabled"))),
      Refused("9/SET", "a domain that is not there", {}, Track("none", true),
              NotFound("DOMAIN_NOT_FOUND").Blames("domains/conf-none")),
      Refused("9/SET", "a NESTED domain", Guest("nested"), Track("n", true), not_paging()),
      Refused("9/SET", "a static domain", {}, Track("blocked", true), not_paging()),
      Refused("9/SET", "a domain that was made without", DomainFor(kDevice), Track("d", true),
              Unimplemented("DIRTY_TRACKING_UNAVAILABLE").Field("name").Blames("domains/conf-d")),
      Tracking(Accepted("9/SET", "on", Mapped(), Track("d", true),
                        {DomainSays("d", "dirty_tracking_enabled: true"), Writes(kDevice, kBase),
                         ReadDirty("d", {}), Tells(4), Dirty(1)})),
      Tracking(Accepted("9/SET", "on begins clean",
                        On() + Steps{Writes(kDevice, kBase), Track("d", false)}, Track("d", true),
                        {ReadDirty("d", {}), Clean()})),
      Tracking(Accepted("9/SET", "on, once more, takes nothing away",
                        On() + Steps{Writes(kDevice, kBase)}, Track("d", true),
                        {ReadDirty("d", {}), Dirty(1)})),
      OnVtd(Tracking(Accepted("9/SET", "off", On(), Track("d", false),
                              {DomainLacks("d", "dirty_tracking_enabled"), Writes(kDevice, kBase),
                               ReadDirty("d", {}), Clean()}))),
      OnSmmuV3(
          Tracking(Accepted("9/SET", "off, though leaves are marked on", On(), Track("d", false),
                            {DomainLacks("d", "dirty_tracking_enabled"), Writes(kDevice, kBase),
                             ReadDirty("d", {}), Dirty(1)}))),
      Tracking(Accepted("9/SET", "off while it is off", Mapped() + Steps{Remember()},
                        Track("d", false), {NothingChanged()})),
  };
}

std::vector<Case> RefusedReads() {
  const auto refused = [](const char* number, const char* name, const Pages& pages,
                          const Refusal& refusal) {
    return Tracking(
        Refused(std::string("9/GET ") + number, name, On(), ReadDirty("d", pages), refusal));
  };
  const std::string page_field = "page_size_bytes";
  const Steps plain = DomainFor(kDevice) + Steps{Map("a", {At(kBase, 4 * kPage)})};
  return {
      Refused("9/GET 2", "a domain that is not there", {}, ReadDirty("none", {}),
              NotFound("DOMAIN_NOT_FOUND").Blames("domains/conf-none")),
      Refused("9/GET 2", "a NESTED domain", Guest("nested"), ReadDirty("n", {}),
              Precondition("NOT_PAGING", "ENOENT")),
      refused("2", "no address", {std::nullopt}, Invalid("MISSING_FIELD").Field("iova")),
      refused("3", "no length", {kBase + 1, 0, 3}, Invalid("INVALID_LENGTH").Field("length")),
      refused("3", "past the last address", {kTop - 1, 3, 0},
              OutOfRange("IOVA_OVERFLOW").Field("iova").Says("0x3")),
      refused("4", "an address against the address space", {kBase + 1, kPage, 0},
              Invalid("MISALIGNED").Field("iova").Says("0x10001")),
      refused("4", "a length against the address space", {kBase, kPage + 1, 0},
              Invalid("MISALIGNED").Field("length").Says("0x1001")),
      refused("5", "no page size", {kBase, kPage, 0},
              Invalid("INVALID_PAGE_SIZE").Field(page_field)),
      refused("5", "a page size that is no power of two", {0x12000, 0x3000, 0x3000},
              Invalid("INVALID_PAGE_SIZE").Field(page_field).Says("12288")),
      refused("6", "an address against the page size", {kBase + kPage, 2 * kPage, 2 * kPage},
              Invalid("MISALIGNED").Field("iova").Says("0x2000")),
      refused("6", "a length against the page size", {kBase, kPage, 2 * kPage},
              Invalid("MISALIGNED").Field("length").Says("0x2000")),
      refused("8", "more pages than one answer tells of", {0, kTooMany * kPage},
              Invalid("BITMAP_TOO_LARGE").Field("length").Says("4194305")),
      Refused("9/GET 7", "a domain that was made without", plain, ReadDirty("d", {}),
              Unimplemented("DIRTY_TRACKING_UNAVAILABLE").Field("name")),
      Refused("9/GET 7", "what is wrong with the range is told before", plain,
              ReadDirty("d", {kBase, kPage, 0}), Invalid("INVALID_PAGE_SIZE")),
      // The kernel stops at a hole and answers success (quirk Q4).
      refused("9", "a hole at the start", {kBase - kPage},
              NotFound("IOVA_NOT_COVERED").Says("0xf000")),
      refused("9", "a hole at the end", {kBase, 5 * kPage},
              NotFound("IOVA_NOT_COVERED").Says("0x14000")),
  };
}

// A call is made twice, once to see what it would do: so those that take marks away are checks.
std::vector<Case> Reading() {
  const Step keep = ReadDirty("d", {kBase, 4 * kPage, kPage, /*keep=*/true});
  const Step take = ReadDirty("d", {});
  return {
      Tracking(Accepted("9/GET", "nothing was written", On(), take, {Tells(4), Clean()})),
      Tracking(Accepted("9/GET", "one page, and then it is clean",
                        On() + Steps{Writes(kDevice, kBase + kPage)}, keep,
                        {Dirty(1), take, Dirty(1), take, Clean(), Writes(kDevice, kBase + kPage),
                         take, Dirty(1)})),
      Tracking(Accepted("9/GET", "with NO_CLEAR it stays dirty",
                        On() + Steps{Writes(kDevice, kBase + kPage)}, keep,
                        {Dirty(1), take, Dirty(1)})),
      Tracking(Accepted("9/GET", "what is not asked for stays dirty",
                        On() + Steps{Writes(kDevice, kBase), Writes(kDevice, kBase + 3 * kPage)},
                        keep,
                        {Dirty(2), ReadDirty("d", {kBase + 2 * kPage, 2 * kPage}), Tells(2),
                         Dirty(1), take, Dirty(1)})),
      Tracking(Accepted("9/GET", "pages larger than the tables'",
                        On() + Steps{Writes(kDevice, kBase), Writes(kDevice, kBase + kPage)},
                        ReadDirty("d", {kBase, 4 * kPage, 2 * kPage, /*keep=*/true}),
                        {Tells(2), Dirty(1)})),
      Tracking(Accepted(
          "9/GET", "pages smaller than the tables'", On() + Steps{Writes(kDevice, kBase)},
          ReadDirty("d", {kBase, 2 * kPage, kPage / 4, /*keep=*/true}), {Tells(8), Dirty(4)})),
      Tracking(Accepted("9/GET", "while tracking is off",
                        On() + Steps{Writes(kDevice, kBase), Track("d", false)}, keep, {Dirty(1)})),
      Tracking(Accepted("9/GET", "an unmap loses it",
                        On() + Steps{Writes(kDevice, kBase), Unmap("a", {{kBase, 2 * kPage}}),
                                     Map("a", {At(kBase, 2 * kPage)})},
                        keep, {Clean()})),
      Tracking(Accepted("9/GET", "it changes nothing that can be seen",
                        On() + Steps{Writes(kDevice, kBase), Remember()}, take,
                        {NothingChanged()})),
  };
}

}  // namespace

std::vector<Case> DirtyCases() {
  std::vector<Case> all;
  for (const auto& some : {Making(), Setting(), RefusedReads(), Reading()}) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

}  // namespace viommu::conformance
