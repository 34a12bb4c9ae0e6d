// tests/conformance/nested_cases.cc -- NESTED domains: making, deleting, attaching.
#include "tests/conformance/cases.h"
#include "tests/conformance/nested_verbs.h"
#include "tests/conformance/pasid_verbs.h"
#include "tests/conformance/verbs.h"
#include "viommu/v1/domain.pb.h"

namespace viommu::conformance {
namespace {

using Steps = std::vector<Step>;

constexpr uint64_t kAperture = uint64_t{1} << 48;  // Of a nest parent of 4 levels.

// A nest parent "p" over "a" for a device that is claimed.
Steps Parent(const std::string& device = "nested") {
  return {NewRegion("r"), NewIoas("a"), Claim(device), NewParent("p", "a", device)};
}

Step Nest(const std::string& parent, const Stage1& stage1 = {}) {
  return NewNested("n", parent, "nested", stage1);
}

v1::Domain WithoutStage(v1::Domain domain) {
  domain.mutable_nested()->clear_stage1();
  return domain;
}

v1::Domain OfArm() {
  v1::Domain domain = NestedOn("p", "nested", {});
  domain.mutable_nested()->mutable_arm_smmu_v3()->set_ste_0(1);
  return domain;
}

v1::Domain WithQueue() {
  v1::Domain domain = NestedOn("p", "nested", {});
  domain.mutable_nested()->set_fault_queue("faultQueues/conf-q");
  return domain;
}

v1::Domain OnName(const std::string& parent) {
  v1::Domain domain = NestedOn("p", "nested", {});
  domain.mutable_nested()->set_parent(parent);
  return domain;
}

// On the auto domain that the device is on.
Step NestOnPicked() {
  return [](World& world) { return SendNewDomain("n", OnName(world.picked.at(0)))(world); };
}

std::vector<Case> Parents() {
  const auto no_parent = [] {
    return Precondition("NOT_NEST_PARENT", "EINVAL").Field("domain.nested.parent");
  };
  const Steps plain = {NewIoas("a"), Claim("nested"), NewDomain("d", "a", "nested")};
  return {
      Refused("4.2/1", "no first stage", Parent(),
              SendNewDomain("n", WithoutStage(NestedOn("p", "nested", {}))),
              Invalid("MISSING_FIELD").Field("domain.nested.stage1")),
      OnVtd(Refused("4.2/3", "a first stage for a device that the host has", Parent(),
                    NewNested("n", "p", "nested.mate"),
                    Precondition("DEVICE_NOT_CLAIMED", "EPERM").Blames("nested.mate"))),
      OnVtd(Refused("4.2/4", "a parent that is not there", Parent(), Nest("none"),
                    NotFound("DOMAIN_NOT_FOUND").Blames("domains/conf-none"))),
      Refused("4.2/4", "a parent's name that is no domain's", Parent(),
              SendNewDomain("n", OnName("ioas/conf-a")),
              Invalid("MALFORMED_NAME").Field("domain.nested.parent")),
      OnVtd(Refused("4.2/5", "nested on nested", Parent() + Steps{Nest("p")},
                    NewNested("m", "n", "nested"), no_parent().Blames("domains/conf-n"))),
      OnVtd(Refused("4.2/5", "nested on identity", Parent(), Nest("identity"),
                    no_parent().Blames("domains/identity"))),
      OnVtd(Refused("4.2/5", "nested on blocked", Parent(), Nest("blocked"),
                    no_parent().Blames("domains/blocked"))),
      OnVtd(Refused("4.4/2", "a parent that was not made as one", plain, Nest("d"),
                    no_parent().Blames("domains/conf-d"))),
      OnVtd(Refused("4.4/2", "a parent made for PASIDs only",
                    {NewIoas("a"), Claim("nested"), NewPaging("d", "a", "nested", ForPasids())},
                    Nest("d"), no_parent())),
      Refused("4.4/2", "an auto domain as parent",
              {NewIoas("a"), Claim("nested"), AttachTo("nested", "a")}, NestOnPicked(),
              no_parent()),
      Refused("4.4/1", "a fault queue of a guest", Parent(), SendNewDomain("n", WithQueue()),
              Unimplemented("FAULT_QUEUE_UNAVAILABLE").Field("domain.nested.fault_queue")),
      OnVtd(Refused(
          "4.4/1", "a device whose unit can not nest", Parent() + Steps{Claim("plain")},
          NewNested("n", "p", "plain"),
          Unimplemented("NESTING_UNAVAILABLE").Field("domain.nested.device").Blames("plain"))),
      OnVtd(Refused("4.4/1", "which is told before the parent", plain + Steps{Claim("plain")},
                    NewNested("n", "d", "plain"), Unimplemented("NESTING_UNAVAILABLE"))),
      OnVtd(Refused("4.4/3", "a device whose unit can not use the parent",
                    Parent("deep") + Steps{Claim("nested")}, Nest("p"),
                    Precondition("INCOMPATIBLE_DOMAIN", "EINVAL"))),
      OnVtd(Refused("4.2/7", "a guest's name twice", Parent() + Steps{Nest("p")}, Nest("p"),
                    Exists("DOMAIN_EXISTS").Blames("domains/conf-n"))),
      OnVtd(Refused("4.2/7", "a guest named as a static domain", Parent(),
                    NewNested("identity", "p", "nested"),
                    Exists("DOMAIN_EXISTS").Field("domain_id").Says("identity"))),
      OnVtd(Accepted(
          "4.4", "a first stage on a parent", Parent(), Nest("p"),
          {DomainSays("n", "type: DOMAIN_TYPE_NESTED"), DomainSays("n", "ioas: \"ioas/conf-a\""),
           DomainSays("n", "format: \"x86-first-stage\""),
           DomainSays("p", "children: \"domains/conf-n\"")})),
      OnVtd(Accepted("4.4", "several on one parent", Parent() + Steps{Nest("p")},
                     NewNested("m", "p", "nested"),
                     {DomainSays("p", "children: \"domains/conf-m\""),
                      DomainSays("p", "children: \"domains/conf-n\"")})),
      OnVtd(Accepted("4.4", "another device of the unit", Parent() + Steps{Claim("nested.mate")},
                     NewNested("n", "p", "nested.mate"))),
      OnVtd(Accepted("4.4", "a device of another unit that can use the parent",
                     Parent() + Steps{Claim("deep")}, NewNested("n", "p", "deep"))),
      OnVtd(Accepted("4.4", "one for PASIDs on a parent that is not", Parent(),
                     Nest("p", {0, 48, false, false, false, /*pasid=*/true}),
                     {DomainSays("n", "pasid: true")})),
  };
}

std::vector<Case> Stages() {
  const auto field = [](const std::string& name) { return "domain.nested.vtd." + name; };
  const auto unavailable = [&](const std::string& name) {
    return Unimplemented("STAGE1_UNAVAILABLE").Field(field(name));
  };
  const auto width = [&] {
    return Invalid("INVALID_ADDRESS_WIDTH").Field(field("address_width_bits"));
  };
  const auto deep = [](const Stage1& stage1) { return NewNested("n", "p", "deep", stage1); };
  Stage1 supervisor, protect, both, extended;
  supervisor.supervisor_requests = true;
  protect.write_protect = true;
  both.supervisor_requests = both.write_protect = true;
  extended.extended_accessed = true;
  return {
      Refused(
          "4.9/nested", "a first stage of Arm", Parent(), SendNewDomain("n", OfArm()),
          Unimplemented("STAGE1_UNAVAILABLE").Field("domain.nested.arm_smmu_v3").Blames("nested")),
      OnVtd(Refused("4.9/nested", "no width", Parent(), Nest("p", {0, 0}), width().Says("0"))),
      OnVtd(Refused("4.9/nested", "39 bits", Parent(), Nest("p", {0, 39}), width().Says("39"))),
      OnVtd(Refused("4.9/nested", "64 bits", Parent(), Nest("p", {0, 64}), width().Says("64"))),
      OnVtd(Refused("4.9/nested", "a width that no int holds", Parent(),
                    Nest("p", {0, ~uint32_t{0}}), width())),
      OnVtd(Refused("4.9/nested", "57 bits where 4 levels are walked", Parent(), Nest("p", {0, 57}),
                    unavailable("address_width_bits").Blames("nested"))),
      OnVtd(Refused("4.9/nested", "a table that is not aligned", Parent(), Nest("p", {0x1800}),
                    Invalid("MISALIGNED").Field(field("table_address")).Says("0x1800"))),
      OnVtd(Refused("4.9/nested", "a table beyond the parent's addresses", Parent(),
                    Nest("p", {kAperture}),
                    OutOfRange("TABLE_OUT_OF_RANGE", "EINVAL")
                        .Field(field("table_address"))
                        .Says("0x1000000000000"))),
      OnVtd(Refused("4.9/nested", "a table in the last page of all", Parent(),
                    Nest("p", {kTop - kPage + 1}),
                    OutOfRange("TABLE_OUT_OF_RANGE", "EINVAL").Says("0xfffffffffffff000"))),
      OnVtd(Refused("4.9/nested", "write protection without supervisor requests", Parent(),
                    Nest("p", protect),
                    Invalid("WRITE_PROTECT_WITHOUT_SUPERVISOR").Field(field("write_protect")))),
      OnVtd(Refused("4.9/nested", "supervisor requests that the unit lacks", Parent("deep"),
                    deep(supervisor), unavailable("supervisor_requests").Blames("deep"))),
      OnVtd(Refused("4.9/nested", "write protection that is wrong anywhere is told first",
                    Parent("deep"), deep(protect), Invalid("WRITE_PROTECT_WITHOUT_SUPERVISOR"))),
      OnVtd(Refused("4.9/nested", "an accessed flag that the unit lacks", Parent(),
                    Nest("p", extended), unavailable("extended_accessed").Blames("nested"))),
      OnVtd(Accepted("4.9/nested", "a table in the parent's last page", Parent(),
                     Nest("p", {kAperture - kPage}), {DomainSays("n", "address_width_bits: 48")})),
      OnVtd(Accepted("4.9/nested", "57 bits where 5 levels are walked", Parent("deep"),
                     deep({0, 57}), {DomainSays("n", "address_width_bits: 57")})),
      OnVtd(Accepted("4.9/nested", "supervisor requests that respect write protection", Parent(),
                     Nest("p", both),
                     {DomainSays("n", "supervisor_requests: true write_protect: true")})),
      OnVtd(Accepted("4.9/nested", "an accessed flag that the unit has", Parent("deep"),
                     deep(extended), {DomainSays("n", "extended_accessed: true")})),
  };
}

std::vector<Case> Deleting() {
  const auto in_use = [](const std::string& by) {
    return Precondition("IN_USE", "EBUSY").Blames(by);
  };
  const Steps guest = Guest("nested");
  return {
      OnVtd(Refused("4.7", "a parent with a child", guest, DeleteDomain("p"),
                    in_use("domains/conf-n"))),
      OnVtd(Refused("4.7", "a parent with one child left of two",
                    guest + Steps{NewNested("m", "p", "nested"), DeleteDomain("n")},
                    DeleteDomain("p"), in_use("domains/conf-m"))),
      OnVtd(Refused("4.7", "a parent whose child a device is on",
                    guest + Steps{Attach("nested", "n")}, DeleteDomain("p"),
                    in_use("domains/conf-n"))),
      Refused("4.7", "a nested one that a device is on", guest + Steps{Attach("nested", "n")},
              DeleteDomain("n"), in_use("nested")),
      OnVtd(Refused("4.7", "a nested one that a PASID is on",
                    Guest("nested", {kGuestTables, 48, false, false, false, true}) +
                        Steps{AttachPasid("nested", 5, "n")},
                    DeleteDomain("n"), in_use("nested"))),
      Refused("3.2", "an address space below a nest parent", guest, DeleteIoas("a"),
              in_use("domains/conf-p")),
      OnVtd(Accepted("4.7", "a nested one, then its parent, then what is below", guest,
                     DeleteDomain("n"),
                     {DomainLacks("p", "children"), DeleteDomain("p"), DeleteIoas("a")})),
  };
}

std::vector<Case> Attaching() {
  const Refusal incompatible = Precondition("INCOMPATIBLE_DOMAIN", "EINVAL");
  const Steps guest = Guest("nested");
  const Steps pasids = Guest("nested", {kGuestTables, 48, false, false, false, true});
  const uint64_t page = kGuestPage;
  return {
      Accepted(
          "5.3", "a guest's tables are walked", guest, Attach("nested", "n"),
          {Reads("nested", page, 3), Faults("nested", page + kPage), Faults("nested", kGuestMemory),
           DeviceSays("nested", "domain: \"domains/conf-n\"")}),
      Accepted("5.3", "another device on the same guest",
               guest + Steps{Claim("nested.mate"), Introduce("nested.mate", 2)},
               Attach("nested.mate", "n"), {Reads("nested.mate", page, 3)}),
      Accepted("5.4", "from the parent to the guest", guest + Steps{Attach("nested", "p")},
               Replace("nested", "n"), {Reads("nested", page, 3)}),
      Accepted("5.4", "from the guest to the parent", guest + Steps{Attach("nested", "n")},
               Replace("nested", "p"), {Reads("nested", kGuestMemory, 1), Faults("nested", page)}),
      Accepted("5.4/2", "the guest it is on", guest + Steps{Attach("nested", "n"), Remember()},
               Replace("nested", "n"), {NothingChanged()}),
      Accepted("5.5", "leaving a guest", guest + Steps{Attach("nested", "n")}, Detach("nested"),
               {Faults("nested", page), DomainLacks("n", "attached_devices")}),
      OnVtd(Accepted("5.6", "a guest for a PASID", pasids, AttachPasid("nested", 5, "n"),
                     {PasidReads("nested", 5, page, 3), Faults("nested", page)})),
      Refused("5.6", "a guest that is not for PASIDs", guest, AttachPasid("nested", 5, "n"),
              Precondition("PASID_INCOMPATIBLE", "EINVAL").Blames("nested")),
      Refused("4.8", "a unit that walks no first stage", guest + Steps{Claim("plain")},
              Attach("plain", "n"), incompatible),
      Refused("4.8", "moving to a guest that the unit can not walk",
              guest + Steps{Claim("plain"), NewIoas("b"), NewDomain("e", "b", "plain"),
                            Attach("plain", "e")},
              Replace("plain", "n"), incompatible),
  };
}

// "p" over "a", and "n" on it, for a device with a reserved page and a window for doorbells.
Steps WithRegions() {
  return {NewRegion("r"),
          NewIoas("a"),
          Claim("nested.sw-msi"),
          NewParent("p", "a", "nested.sw-msi"),
          MakeRoomForGuest("p", "nested.sw-msi"),
          NewNested("n", "p", "nested.sw-msi")};
}

std::vector<Case> Regions() {
  const std::string device = "nested.sw-msi";
  const Range below{0, 0x1fffff}, between{0x201000, 0x7ffffff}, above{0x8100000, kAperture - 1};
  const std::vector<Range> on_parent = {below, between, above};
  const std::vector<Range> on_guest = {{0, 0x7ffffff}, above};
  const Steps on_n = WithRegions() + Steps{Attach(device, "n")};
  return {
      Accepted("7/nested", "on the parent all regions are reserved", WithRegions(),
               Attach(device, "p"), {Usable("a", on_parent)}),
      Accepted("7/nested", "on a guest the doorbells only", WithRegions(), Attach(device, "n"),
               {Usable("a", on_guest)}),
      Accepted("7/nested", "moving to a guest frees the others",
               WithRegions() + Steps{Attach(device, "p")}, Replace(device, "n"),
               {Usable("a", on_guest), Map("a", {At(0x200000)})}),
      Accepted("7/nested", "moving back reserves them again", on_n, Replace(device, "p"),
               {Usable("a", on_parent)}),
      Accepted("7/nested", "leaving a guest frees the doorbells", on_n, Detach(device),
               {Usable("a", {{0, kAperture - 1}})}),
      Refused("7/nested", "doorbells are not mapped on a guest", on_n, Map("a", {At(0x8000000)}),
              Invalid("IOVA_RESERVED").Field("mappings[0].iova").Says("0x8000000")),
      Refused("7/nested", "moving back over a mapping", on_n + Steps{Map("a", {At(0x200000)})},
              Replace(device, "p"), Conflict().Blames("0x200000")),
      Refused("7/nested", "moving back over a range that must stay usable",
              on_n + Steps{Allow("a", {{0x100000, 0x2fffff}})}, Replace(device, "p"), Conflict()),
      Refused("7/nested", "a mapping where the doorbells are",
              WithRegions() + Steps{Map("a", {At(0x8000000)})}, Attach(device, "n"),
              Conflict().Blames("0x8000000")),
      Accepted("7/nested", "a mapping where a guest needs nothing",
               WithRegions() + Steps{Map("a", {At(0x200000)})}, Attach(device, "n")),
  };
}

}  // namespace

std::vector<Case> NestedCases() {
  std::vector<Case> all;
  for (auto* const part : {Parents, Stages, Deleting, Attaching, Regions}) {
    for (Case& row : part()) all.push_back(std::move(row));
  }
  return all;
}

}  // namespace viommu::conformance
