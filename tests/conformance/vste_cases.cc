// tests/conformance/vste_cases.cc -- NESTED domains of Arm guests: stream table entries on Viommus.
#include "tests/conformance/cases.h"
#include "tests/conformance/nested_verbs.h"
#include "tests/conformance/pasid_verbs.h"
#include "tests/conformance/verbs.h"
#include "tests/conformance/viommu_verbs.h"
#include "viommu/v1/domain.pb.h"

namespace viommu::conformance {
namespace {

using Steps = std::vector<Step>;

constexpr uint64_t kDescriptor = kGuestTables + 4 * kPage;  // Guest of nested_verbs.h has it there.
constexpr Vste kTranslating = Translating(kDescriptor);

// All of "r" is mapped at kGuestMemory of "a"; a nest parent "p" over it, and a Viommu "v" on that,
// which has no name for the device yet.
Steps OnParent(const std::string& device = "nested") {
  return {NewRegion("r"),
          NewIoas("a"),
          Map("a", {At(kGuestMemory, kMiB)}),
          Claim(device),
          NewParent("p", "a", device),
          NewViommu("v", device, "p")};
}

Step New(const Vste& vste) { return NewGuestStage("n", "v", "nested", vste); }

v1::Domain OnBoth() {
  v1::Domain domain = OnViommu("v", "nested", kBypass);
  domain.mutable_nested()->set_parent(World::Domain("p"));
  return domain;
}

v1::Domain OnParentAlone() {
  v1::Domain domain = OnViommu("v", "nested", kBypass);
  domain.mutable_nested()->clear_viommu();
  domain.mutable_nested()->set_parent(World::Domain("p"));
  return domain;
}

v1::Domain OfVtd() {
  v1::Domain domain = NestedOn("p", "nested", {});
  domain.mutable_nested()->clear_parent();
  domain.mutable_nested()->set_viommu(Viommu("v"));
  return domain;
}

v1::Domain ForPasidsOfGuest() {
  v1::Domain domain = OnViommu("v", "nested", kBypass);
  domain.mutable_nested()->set_pasid(true);
  return domain;
}

v1::Domain WithQueue() {
  v1::Domain domain = OnViommu("v", "plain", kBypass);
  domain.mutable_nested()->set_fault_queue("faultQueues/conf-q");
  return domain;
}

std::vector<Case> Places() {
  const auto stage1 = [](const char* field) {
    return Unimplemented("STAGE1_UNAVAILABLE").Field(field).Blames("nested");
  };
  return {
      Refused(
          "4.5/0", "a device behind another unit than the Viommu",
          OnParent() + Steps{Claim("deep")}, NewGuestStage("n", "v", "deep", kBypass),
          Precondition("IOMMU_MISMATCH", "EINVAL").Field("domain.nested.device").Blames("deep")),
      Refused("4.5/0", "which is told before a fault queue", OnParent() + Steps{Claim("plain")},
              SendNewDomain("n", WithQueue()), Precondition("IOMMU_MISMATCH", "EINVAL")),
      Refused("4.5", "a guest's entry for a device that the host has", OnParent(),
              NewGuestStage("n", "v", "nested.mate", kBypass),
              Precondition("DEVICE_NOT_CLAIMED", "EPERM").Blames("nested.mate")),
      Refused("4.5", "a Viommu together with its parent", OnParent(), SendNewDomain("n", OnBoth()),
              Invalid("CONFLICTING_FIELDS").Field("domain.nested.parent")),
      Refused("4.5/3", "a first stage of VT-d on a Viommu", OnParent(), SendNewDomain("n", OfVtd()),
              stage1("domain.nested.vtd")),
      Refused("4.4/1", "a guest's entry on a parent, without a Viommu", OnParent(),
              SendNewDomain("n", OnParentAlone()), stage1("domain.nested.arm_smmu_v3")),
      Refused("4.4/1", "a first stage of VT-d on a parent behind an SMMUv3", OnParent(),
              SendNewDomain("n", NestedOn("p", "nested", {})), stage1("domain.nested.vtd")),
      Refused("4.5/1", "for PASIDs, which are the guest's", OnParent(),
              SendNewDomain("n", ForPasidsOfGuest()),
              Unimplemented("PASID_UNAVAILABLE").Field("domain.nested.pasid")),
      Refused("4.2/7", "the name of a guest's entry twice", OnParent() + Steps{New(kBypass)},
              New(kBypass), Exists("DOMAIN_EXISTS").Blames("domains/conf-n")),
      Accepted(
          "4.5", "a guest's entry", OnParent(), New(kTranslating),
          {DomainSays("n", "type: DOMAIN_TYPE_NESTED"), DomainSays("n", "ioas: \"ioas/conf-a\""),
           DomainSays("n", "parent: \"domains/conf-p\""),
           DomainSays("n", "viommu: \"viommus/conf-v\""),
           DomainSays("n", "format: \"arm-stage1-guest\"")}),
      Accepted("4.5", "several on one Viommu", OnParent() + Steps{New(kTranslating)},
               NewGuestStage("m", "v", "nested", kBypass), {GetViommu("v"), AnswerSays("conf-m")}),
  };
}

// Of `bits` set in a word that is right otherwise.
std::vector<Case> Words() {
  const auto refused = [](const char* name, const Vste& vste, int word) {
    return Refused("4.9/vste", name, OnParent(), New(vste),
                   Invalid("INVALID_VSTE", "EIO")
                       .Field("domain.nested.arm_smmu_v3.ste_" + std::to_string(word)));
  };
  const auto accepted = [](const char* name, const Vste& vste) {
    return Accepted("4.9/vste", name, OnParent(), New(vste));
  };
  const auto eats = [](uint64_t value) { return Vste{kTranslating.ste_0, value << 28}; };
  return {
      refused("a second stage of the guest's own", {1 | 6 << 1}, 0),
      refused("both stages of the guest's own", {1 | 7 << 1}, 0),
      refused("a configuration that there is not", {1 | 1 << 1}, 0),
      refused("a bit between the fields of the first word", {kBypass.ste_0 | uint64_t{1} << 52}, 0),
      refused("a VMID is none of the guest's fields", {kTranslating.ste_0, uint64_t{1} << 44}, 1),
      refused("events that are merged", {kTranslating.ste_0, uint64_t{1} << 19}, 1),
      refused("a stream world", {kTranslating.ste_0, uint64_t{2} << 30}, 1),
      refused("split-stage ATS", eats(2), 1),
      refused("an ATS that there is not", eats(3), 1),
      accepted("full ATS", eats(1)),
      accepted("what is cacheable and what is shared", {kTranslating.ste_0, 0xfc}),
      accepted("what requests without substream get", {kTranslating.ste_0, 1}),
      accepted("no stalls", {kTranslating.ste_0, uint64_t{1} << 27}),
      accepted("a table of many descriptors", {kTranslating.ste_0 | uint64_t{8} << 59}),
      accepted("one that is not valid", kNotValid),
      accepted("abort", kAbort),
      accepted("bypass", kBypass),
  };
}

std::vector<Case> Attaching() {
  const Steps known = OnParent() + Steps{NewVdevice("v", "nested")};
  const auto missing = [] { return Precondition("VDEVICE_MISSING", "ENOENT").Blames("nested"); };
  const Step leave = DetachPasid("nested", 5);
  const Steps pasid =
      Guest("nested") + Steps{NewIoas("b"), NewPaging("s", "b", "nested", ForPasids()),
                              AttachPasid("nested", 5, "s")};
  return {
      Refused("12.2", "an entry that translates, of a device without name",
              OnParent() + Steps{New(kTranslating)}, Attach("nested", "n"), missing()),
      Refused("12.2", "moving to one", OnParent() + Steps{New(kTranslating), Attach("nested", "p")},
              Replace("nested", "n"), missing()),
      Accepted("12.2", "bypass needs no name", OnParent() + Steps{New(kBypass)},
               Attach("nested", "n"),
               {Reads("nested", kGuestMemory, 1), Faults("nested", 0x10000)}),
      Accepted("12.2", "abort needs no name", OnParent() + Steps{New(kAbort)},
               Attach("nested", "n"), {Faults("nested", kGuestMemory)}),
      Accepted("12.2", "nor does one that is not valid", OnParent() + Steps{New(kNotValid)},
               Attach("nested", "n"), {Faults("nested", kGuestMemory)}),
      Accepted("5.4", "from bypass to a guest's tables",
               Guest("nested") +
                   Steps{NewGuestStage("m", "v", "nested", kBypass), Attach("nested", "m")},
               Replace("nested", "n"),
               {Reads("nested", kGuestPage, 3), Faults("nested", kGuestMemory)}),
      Accepted("5.4", "from a guest's tables to bypass",
               Guest("nested") +
                   Steps{NewGuestStage("m", "v", "nested", kBypass), Attach("nested", "n")},
               Replace("nested", "m"),
               {Reads("nested", kGuestMemory, 1), Faults("nested", kGuestPage)}),
      Accepted(
          "5.4", "from a guest's tables to abort",
          Guest("nested") + Steps{NewGuestStage("m", "v", "nested", kAbort), Attach("nested", "n")},
          Replace("nested", "m"), {Faults("nested", kGuestPage), Faults("nested", kGuestMemory)}),
      Accepted("5.3", "a device without PCI address",
               OnParent("platform") + Steps{NewGuestStage("n", "v", "platform", kBypass)},
               Attach("platform", "n"), {Reads("platform", kGuestMemory, 1)}),
      Refused("5.6", "a guest's entry for a PASID", Guest("nested"), AttachPasid("nested", 5, "n"),
              Precondition("PASID_INCOMPATIBLE", "EINVAL").Blames("nested")),
      Refused("5.6", "a guest's entry beside a PASID", pasid, Attach("nested", "n"),
              Precondition("PASID_INCOMPATIBLE", "EINVAL").Blames("nested")),
      Accepted("5.6", "a guest's entry when the last PASID is gone", pasid + Steps{leave},
               Attach("nested", "n"), {Reads("nested", kGuestPage, 3)}),
      Refused("4.7", "a guest's entry that a device is on",
              Guest("nested") + Steps{Attach("nested", "n")}, DeleteDomain("n"),
              Precondition("IN_USE", "EBUSY").Blames("nested")),
      Refused("4.7", "a parent with a Viommu", known, DeleteDomain("p"),
              Precondition("IN_USE", "EBUSY").Blames(Viommu("v"))),
      Accepted("4.7", "a guest's entry, then its Viommu, then what is below",
               OnParent() + Steps{New(kBypass)}, DeleteDomain("n"),
               {DeleteViommu("v"), DeleteDomain("p"), UnmapAll("a"), DeleteIoas("a")}),
  };
}

}  // namespace

std::vector<Case> VsteCases() {
  std::vector<Case> all;
  for (auto* const part : {Places, Words, Attaching}) {
    for (Case& row : part()) all.push_back(std::move(row));
  }
  return AllOnSmmuV3(std::move(all));
}

}  // namespace viommu::conformance
