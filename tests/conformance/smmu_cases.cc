// tests/conformance/smmu_cases.cc -- What an SMMUv3 answers where a row of another file is VT-d's.
#include "absl/strings/str_cat.h"
#include "tests/conformance/cases.h"
#include "tests/conformance/nested_verbs.h"
#include "tests/conformance/pasid_verbs.h"
#include "tests/conformance/verbs.h"
#include "viommu/v1/common.pb.h"
#include "viommu/v1/device.pb.h"
#include "viommu/v1/host.pb.h"

namespace viommu::conformance {
namespace {

using Steps = std::vector<Step>;

constexpr uint64_t k36 = (uint64_t{1} << 36) - 1;
constexpr uint64_t k48 = (uint64_t{1} << 48) - 1;
constexpr uint64_t kCoarse = 0x10000;  // Pages of "coarse".
constexpr v1::Permission kRead = v1::PERMISSION_READ;
constexpr v1::Permission kWrite = v1::PERMISSION_WRITE;

Steps Claimed(const std::string& device) { return {NewRegion("r"), NewIoas("a"), Claim(device)}; }

Step Make(const std::string& device, const Flags& flags) {
  return NewPaging("d", "a", device, flags);
}

std::vector<Case> Tables() {
  const auto no_pasids = [] { return Unimplemented("PASID_DOMAIN_UNSUPPORTED"); };
  return {
      Accepted(
          "4.9", "no flag, and the SMMU walks first stages", Claimed("nested"), Make("nested", {}),
          {DomainSays("d", "format: \"arm-stage1-4k\""),
           DomainSays("d", "supports_read_only: true"), DomainLacks("d", "supports_write_only")}),
      Accepted("4.9", "no flag, and the SMMU walks second stages only", Claimed("plain"),
               Make("plain", {}),
               {DomainSays("d", "format: \"arm-stage2-4k\""),
                DomainSays("d", "supports_read_only: true"),
                DomainSays("d", "supports_write_only: true")}),
      Accepted("4.9", "a nest parent is a second stage that holds every permission",
               Claimed("nested"), Make("nested", {/*nest_parent=*/true}),
               {DomainSays("d", "format: \"arm-stage2-4k\""), DomainSays("d", "nest_parent: true"),
                DomainSays("d", "supports_read_only: true"),
                DomainSays("d", "supports_write_only: true")}),
      Accepted("4.9", "for PASIDs, a first stage behind an SMMU", Claimed("trusted"),
               Make("trusted", ForPasids()), {DomainSays("d", "format: \"arm-stage1-4k\"")}),
      Refused("4.9", "for PASIDs, and the SMMU walks no first stage", Claimed("plain"),
              Make("plain", ForPasids()), no_pasids()),
      Refused("4.9", "a nest parent for PASIDs behind an SMMU", Claimed("nested"),
              Make("nested", {true, true}), no_pasids()),
      Accepted("4.9", "a nest parent over a mapping that is read only behind an SMMU",
               Claimed("nested") + Steps{Map("a", {With(At(0x10000), kRead)})},
               Make("nested", {/*nest_parent=*/true})),
      Accepted("4.9", "a first stage has no halves that are closed",
               Claimed("nested") + Steps{Map("a", {At(uint64_t{1} << 47)})}, Make("nested", {})),
      Accepted("4.3", "the depth of 36 bits", Claimed("narrow"), Make("narrow", {}),
               {DomainSays("d", "levels: 3")}),
      Accepted("4.3", "the depth of a first stage", Claimed("wide"), Make("wide", {}),
               {DomainSays("d", "levels: 4")}),
      Accepted("20", "read only in a nest parent behind an SMMU",
               Claimed("nested") + Steps{NewParent("d", "a", "nested"), Attach("nested", "d")},
               Map("a", {With(At(0x10000), kRead)}),
               {Reads("nested", 0x10000, 1), FaultsAtWrite("nested", 0x10000)}),
      Refused("20", "write only in the first stage of an SMMU", Attached("trusted"),
              Map("a", {With(At(0x10000), kWrite)}),
              Precondition("PERMISSION_UNAVAILABLE", "EINVAL").Field("mappings[0].permission")),
  };
}

std::vector<Case> Granules() {
  const Steps coarse = Attached("coarse");
  return {
      Accepted("3.10", "pages of 64 KiB raise it to that", Claimed("coarse"), Make("coarse", {}),
               {HasAlignment("a", kCoarse), DomainSays("d", "format: \"arm-stage1-64k\"")}),
      Accepted("3.10", "pages of 16 KiB raise it to that", Claimed("middling"),
               Make("middling", {}),
               {HasAlignment("a", 0x4000), DomainSays("d", "format: \"arm-stage2-16k\"")}),
      Accepted("3.10", "the larger pages of two domains count",
               Claimed("coarse") + Steps{Claim("middling"), NewDomain("e", "a", "middling")},
               Make("coarse", {}), {HasAlignment("a", kCoarse)}),
      Accepted("3.10", "the larger pages go, and the smaller count",
               Claimed("coarse") + Steps{Claim("middling"), NewDomain("e", "a", "middling"),
                                         NewDomain("d", "a", "coarse")},
               DeleteDomain("d"), {HasAlignment("a", 0x4000)}),
      Refused("3.10", "a mapping of 4 KiB stands in the way of pages of 64 KiB",
              Claimed("coarse") + Steps{Map("a", {At(kCoarse)})}, Make("coarse", {}),
              Conflict().Blames("0x10000")),
      Refused("3.5/8", "a length that is no multiple of 64 KiB", coarse, Map("a", {At(kCoarse)}),
              Invalid("MISALIGNED").Field("mappings[0].length").Says("0x1000")),
      Refused("3.5/9b", "an address that is no multiple of 64 KiB", coarse,
              Map("a", {At(kCoarse + kPage, kCoarse)}),
              Invalid("MISALIGNED").Field("mappings[0].iova").Says("0x11000")),
      Refused("3.5/10", "a source that is no multiple of 64 KiB", coarse,
              Map("a", {At(kCoarse, kCoarse, kPage)}),
              Invalid("MISALIGNED").Field("mappings[0].offset").Says("0x1000")),
      Accepted("3.5/11", "a page of 64 KiB", coarse, Map("a", {At(kCoarse, kCoarse)}),
               {Reads("coarse", kCoarse, 1), Reads("coarse", kCoarse + 0xffff, 16),
                Faults("coarse", 2 * kCoarse)}),
      Accepted("3.6", "a page of 64 KiB is aligned to itself", coarse,
               Map("a", {Anywhere(kCoarse)}), {Chose({kCoarse})}),
      Accepted("3.7", "a page of 64 KiB goes", coarse + Steps{Map("a", {At(kCoarse, kCoarse)})},
               Unmap("a", {{kCoarse, kCoarse}}), {Faults("coarse", kCoarse)}),
  };
}

std::vector<Case> Units() {
  const auto incompatible = [] { return Precondition("INCOMPATIBLE_DOMAIN", "EINVAL"); };
  const Steps here = Claimed("plain") + Steps{Map("a", {At(0x10000)}), Claim("elsewhere")};
  return {
      Refused("4.8", "a domain is its SMMU's, though another can do the same",
              here + Steps{NewDomain("d", "a", "plain")}, Attach("elsewhere", "d"), incompatible()),
      Refused("4.8", "moving to a domain of another SMMU",
              here + Steps{NewDomain("d", "a", "plain"), NewDomain("e", "a", "elsewhere"),
                           Attach("elsewhere", "e")},
              Replace("elsewhere", "d"), incompatible()),
      Accepted("4.6", "a device of another SMMU gets a domain of its own",
               here + Steps{AttachTo("plain", "a")}, AttachTo("elsewhere", "a"),
               {Picked("ab"), Reads("elsewhere", 0x10000, 1), Reads("plain", 0x10000, 1)}),
      Accepted("4.6", "it is a first stage and not a parent behind an SMMU", Claimed("nested"),
               AttachTo("nested", "a"),
               {PickedSays(0, "format: \"arm-stage1-4k\""), PickedSays(0, "auto: true paging")}),
      Accepted("3.13", "a domain of 36 bits closes what it can not reach", Claimed("narrow"),
               Make("narrow", {}), {Usable("a", {{0, k36}})}),
      Accepted("3.13", "a first stage reaches 48 bits", Claimed("wide"), Make("wide", {}),
               {Usable("a", {{0, k48}})}),
      Accepted("3.13", "the domain of 36 bits of two counts",
               DomainFor("plain") + Steps{Claim("narrow")}, NewDomain("e", "a", "narrow"),
               {Usable("a", {{0, k36}})}),
      Accepted("13/4", "an SMMU as what it is", {},
               HardwareInfo("plain", v1::HARDWARE_TYPE_ARM_SMMU_V3),
               {AnswerSays("type: HARDWARE_TYPE_ARM_SMMU_V3"), AnswerSays("idr")}),
      Refused(
          "13/4", "an SMMU as VT-d", {}, HardwareInfo("plain", v1::HARDWARE_TYPE_VTD),
          Unimplemented("HARDWARE_TYPE_MISMATCH").Field("type").Says("HARDWARE_TYPE_ARM_SMMU_V3")),
      Accepted("13", "of an SMMU with PASIDs", {}, HardwareInfo("nested"),
               {AnswerSays("max_pasid_log2: 16"), AnswerSays("ats: true")}),
      Accepted("15", "any SMMU passes addresses through", {},
               SetDefault("loose", v1::DEFAULT_DOMAIN_TYPE_IDENTITY),
               {DeviceSays("loose", "domain: \"domains/identity\"")}),
      Accepted("5.7", "identity behind any SMMU", {Claim("loose")}, Attach("loose", "identity"),
               {DeviceSays("loose", "domain: \"domains/identity\"")}),
  };
}

// "tags" is behind an SMMU of 8 bits of ASIDs: a domain for each of its 255, all attached, and
// "last".
Steps AllTagsTaken() {
  Steps steps = Claimed("tags") + Steps{NewPaging("last", "a", "tags", ForPasids())};
  for (uint32_t pasid = 1; pasid <= 255; ++pasid) {
    const std::string domain = absl::StrCat("d", pasid);
    steps.push_back(NewPaging(domain, "a", "tags", ForPasids()));
    steps.push_back(AttachPasid("tags", pasid, domain));
  }
  return steps;
}

std::vector<Case> Pasids() {
  const uint64_t doorbell = 0xfee00000;
  const Steps for_pasids = Claimed("nested") + Steps{Make("nested", ForPasids())};
  return {
      Refused("5.6/1", "a device that has none, behind an SMMU that has",
              Claimed("wide") + Steps{Make("wide", ForPasids())}, AttachPasid("wide", 1, "d"),
              Unimplemented("PASID_UNAVAILABLE").Blames("wide")),
      Accepted("5.6/4", "no region is reserved for a PASID behind an SMMU",
               for_pasids + Steps{Map("a", {At(doorbell)})}, AttachPasid("nested", 5, "d"),
               {PasidReads("nested", 5, doorbell, 1), Usable("a", {{0, k48}})}),
      Refused("5.6/3", "a second stage beside a PASID",
              for_pasids + Steps{AttachPasid("nested", 5, "d"), NewParent("p", "a", "nested")},
              Attach("nested", "p"), Precondition("PASID_INCOMPATIBLE", "EINVAL").Blames("nested")),
      Refused("5.7", "no ASID is left for another domain", AllTagsTaken(),
              AttachPasid("tags", 300, "last"), Exhausted("DOMAIN_IDS_EXHAUSTED").WhenDone()),
      Accepted("5.7", "a domain that has its ASID takes no other", AllTagsTaken(),
               AttachPasid("tags", 300, "d7")),
  };
}

}  // namespace

std::vector<Case> SmmuCases() {
  std::vector<Case> all;
  for (auto* const part : {Tables, Granules, Units, Pasids}) {
    for (Case& row : part()) all.push_back(std::move(row));
  }
  return AllOnSmmuV3(std::move(all));
}

}  // namespace viommu::conformance
