// tests/conformance/stage_cases.cc -- Flags of PAGING domains, and what either stage can hold.
#include "tests/conformance/cases.h"
#include "tests/conformance/nested_verbs.h"
#include "tests/conformance/verbs.h"
#include "viommu/v1/common.pb.h"

namespace viommu::conformance {
namespace {

using Steps = std::vector<Step>;

constexpr v1::Permission kRead = v1::PERMISSION_READ;
constexpr v1::Permission kWrite = v1::PERMISSION_WRITE;

Steps Claimed(const std::string& device) { return {NewRegion("r"), NewIoas("a"), Claim(device)}; }

Step Make(const std::string& device, bool nest_parent, bool pasid) {
  return NewPaging("d", "a", device, {nest_parent, pasid});
}

std::vector<Case> Making() {
  const std::string first = "format: \"x86-first-stage\"", second = "format: \"vtd-second-stage\"";
  return {
      OnVtd(Accepted("4.9", "no flag, and the unit walks first stages", Claimed("nested"),
                     Make("nested", false, false),
                     {DomainSays("d", first), DomainSays("d", "supports_read_only: true"),
                      DomainLacks("d", "supports_write_only"), DomainLacks("d", "nest_parent"),
                      DomainLacks("d", "pasid")})),
      OnVtd(Accepted("4.9", "no flag, and the unit walks second stages only", Claimed("plain"),
                     Make("plain", false, false),
                     {DomainSays("d", second), DomainSays("d", "supports_read_only: true"),
                      DomainSays("d", "supports_write_only: true")})),
      OnVtd(Accepted(
          "4.9", "a nest parent is a second stage", Claimed("nested"), Make("nested", true, false),
          {DomainSays("d", second), DomainSays("d", "nest_parent: true"),
           DomainSays("d", "supports_write_only: true"), DomainLacks("d", "supports_read_only")})),
      OnVtd(Accepted("4.9", "for PASIDs, a first stage", Claimed("nested"),
                     Make("nested", false, true),
                     {DomainSays("d", first), DomainSays("d", "pasid: true")})),
      OnVtd(Accepted("4.9", "for PASIDs, a second stage", Claimed("trusted"),
                     Make("trusted", false, true), {DomainSays("d", second)})),
      OnVtd(Accepted("4.9", "for PASIDs, though the device has none", Claimed("plain"),
                     Make("plain", false, true), {DomainSays("d", "pasid: true")})),
      OnVtd(Accepted("4.9", "a nest parent for PASIDs", Claimed("nested"),
                     Make("nested", true, true),
                     {DomainSays("d", "nest_parent: true pasid: true"), DomainSays("d", second)})),
      OnVtd(Accepted("4.9", "a first stage of 5 levels", Claimed("deep"),
                     Make("deep", false, false),
                     {DomainSays("d", first), DomainSays("d", "levels: 5")})),
  };
}

std::vector<Case> Refusals() {
  const auto make = [](const std::string& device, const Flags& flags) {
    return NewPaging("d", "a", device, flags);
  };
  const Flags dirty{false, false, /*dirty_tracking=*/true};
  const Flags queue{false, false, false, "faultQueues/conf-q"};
  const Flags parent_with_queue{true, false, false, "faultQueues/conf-q"};
  const std::string dirty_field = "domain.paging.dirty_tracking";
  const std::string queue_field = "domain.paging.fault_queue";
  const auto no_dirty = [&] {
    return Unimplemented("DIRTY_TRACKING_UNAVAILABLE").Field(dirty_field);
  };
  return {
      Refused("4.3/3", "dirty tracking", Claimed("nested"), make("nested", dirty), no_dirty()),
      Refused("4.3/3", "dirty tracking of a nest parent", Claimed("nested"),
              make("nested", {true, false, true}), no_dirty()),
      Refused("4.3/3", "dirty tracking for PASIDs", Claimed("nested"),
              make("nested", {false, true, true}), no_dirty()),
      Refused("4.3/3", "dirty tracking is told before a fault queue", Claimed("nested"),
              make("nested", {true, true, true, "faultQueues/conf-q"}), no_dirty()),
      Refused("4.3/3", "a device that the host has is told first", {NewIoas("a")},
              make("nested", dirty), Precondition("DEVICE_NOT_CLAIMED", "EPERM").Blames("nested")),
      Refused("4.3/4", "a fault queue of a nest parent", Claimed("nested"),
              make("nested", parent_with_queue),
              Unimplemented("FAULT_QUEUE_ON_NEST_PARENT").Field(queue_field)),
      Refused("4.3/4", "a fault queue of a nest parent, before the unit is asked", Claimed("plain"),
              make("plain", parent_with_queue),
              Unimplemented("FAULT_QUEUE_ON_NEST_PARENT").Field(queue_field)),
      Refused("4.2/6", "a fault queue", Claimed("nested"), make("nested", queue),
              Unimplemented("FAULT_QUEUE_UNAVAILABLE").Field(queue_field)),
      Refused(
          "4.9", "a nest parent where the unit can not nest", Claimed("plain"),
          make("plain", {/*nest_parent=*/true}),
          Unimplemented("NESTING_UNAVAILABLE").Field("domain.paging.nest_parent").Blames("plain")),
      Refused("4.9", "a nest parent for PASIDs where the unit can not nest", Claimed("plain"),
              make("plain", {true, true}), Unimplemented("NESTING_UNAVAILABLE")),
      OnVtd(Refused("4.9", "a nest parent over a mapping that is read only",
                    Claimed("nested") + Steps{Map("a", {With(At(0x10000), kRead)})},
                    make("nested", {/*nest_parent=*/true}),
                    Precondition("PERMISSION_UNAVAILABLE", "EINVAL").Blames("0x10000"))),
      Refused("4.9", "a first stage over a mapping that is write only",
              Claimed("nested") + Steps{Map("a", {With(At(0x10000), kWrite)})}, make("nested", {}),
              Precondition("PERMISSION_UNAVAILABLE", "EINVAL").Blames("0x10000")),
      OnVtd(Refused("4.9", "a first stage over a mapping beyond its half",
                    Claimed("nested") + Steps{Map("a", {At(uint64_t{1} << 47)})},
                    make("nested", {}), Conflict().Blames("0x800000000000"))),
  };
}

std::vector<Case> Permissions() {
  const auto refused = [] {
    return Precondition("PERMISSION_UNAVAILABLE", "EINVAL").Field("mappings[0].permission");
  };
  const Steps first = Claimed("nested") + Steps{NewDomain("d", "a", "nested")};
  const Steps parent = Claimed("nested") + Steps{NewParent("d", "a", "nested")};
  Copy write_only;
  write_only.source = "b";
  write_only.into = "a";
  write_only.permission = kWrite;
  return {
      Refused("20", "write only in a first stage", first, Map("a", {With(At(0x10000), kWrite)}),
              refused()),
      OnVtd(Refused("20", "read only in a nest parent", parent,
                    Map("a", {With(At(0x10000), kRead)}), refused())),
      Refused("20", "write only below what is reserved is told as reserved",
              first + Steps{Attach("nested", "d")}, Map("a", {With(At(0xfee00000), kWrite)}),
              Invalid("IOVA_RESERVED").Field("mappings[0].iova")),
      Refused("20", "write only where something is mapped is told as mapped",
              first + Steps{Map("a", {At(0x10000)})}, Map("a", {With(At(0x10000), kWrite)}),
              Exists("IOVA_OCCUPIED").Field("mappings[0].iova")),
      Refused("20", "one of a batch takes the others with it", first,
              Map("a", {At(0x10000), With(At(0x20000), kWrite)}),
              Precondition("PERMISSION_UNAVAILABLE", "EINVAL")
                  .Field("mappings[1].permission")
                  .Index(1)),
      Refused("20", "a copy that is write only",
              first + Steps{NewIoas("b"), Map("b", {At(0x10000)})}, CopyMappings(write_only),
              Precondition("PERMISSION_UNAVAILABLE", "EINVAL").Field("permission")),
      Refused("20", "one domain of several can not hold it",
              first + Steps{Claim("plain"), NewDomain("e", "a", "plain")},
              Map("a", {With(At(0x10000), kWrite)}), refused()),
      Accepted("20", "read only in a first stage", first + Steps{Attach("nested", "d")},
               Map("a", {With(At(0x10000), kRead)}),
               {Reads("nested", 0x10000, 1), FaultsAtWrite("nested", 0x10000)}),
      Accepted("20", "write only in a nest parent", parent + Steps{Attach("nested", "d")},
               Map("a", {With(At(0x10000), kWrite)}),
               {Writes("nested", 0x10000), Faults("nested", 0x10000)}),
      Accepted("20", "write only in a plain second stage", Attached("plain"),
               Map("a", {With(At(0x10000), kWrite)}),
               {Writes("plain", 0x10000), Faults("plain", 0x10000)}),
      Accepted("20", "read only in a plain second stage", Attached("plain"),
               Map("a", {With(At(0x10000), kRead)}),
               {Reads("plain", 0x10000, 1), FaultsAtWrite("plain", 0x10000)}),
      Accepted("20", "read only when the nest parent is gone", parent + Steps{DeleteDomain("d")},
               Map("a", {With(At(0x10000), kRead)})),
      Accepted("20", "write only when the first stage is gone", first + Steps{DeleteDomain("d")},
               Map("a", {With(At(0x10000), kWrite)})),
  };
}

}  // namespace

std::vector<Case> StageCases() {
  std::vector<Case> all;
  for (auto* const part : {Making, Refusals, Permissions}) {
    for (Case& row : part()) all.push_back(std::move(row));
  }
  return all;
}

}  // namespace viommu::conformance
