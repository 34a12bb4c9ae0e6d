// tests/conformance/pasid_table_cases.cc -- Which PASIDs are taken: allocate, reserve, free, list.
#include "tests/conformance/cases.h"
#include "tests/conformance/nested_verbs.h"
#include "tests/conformance/pasid_verbs.h"
#include "tests/conformance/verbs.h"

namespace viommu::conformance {
namespace {

using Steps = std::vector<Step>;

// The device is claimed, and PASID 2 is reserved.
Steps Reserved(const std::string& device = "deep") {
  return {Claim(device), ReservePasid(device, 2, "kept")};
}

// PASID 5 is attached.
Steps AttachedAt5() {
  return {NewIoas("a"), Claim("deep"), NewPaging("d", "a", "deep", ForPasids()),
          AttachPasid("deep", 5, "d")};
}

Refusal NotClaimed() { return Precondition("DEVICE_NOT_CLAIMED", "EPERM").Blames("deep"); }

std::vector<Case> Allocating() {
  const auto out_of_range = [](const std::string& field) {
    return OutOfRange("PASID_OUT_OF_RANGE", "EINVAL").Field(field).Says("256");
  };
  const Steps claimed{Claim("deep")};
  return {
      Refused("5.6/table", "of a device that the host has", {}, AllocatePasid("deep"),
              NotClaimed()),
      Refused("5.6/table", "of a device that has none", {Claim("plain")}, AllocatePasid("plain"),
              Unimplemented("PASID_UNAVAILABLE").Blames("plain")),
      Refused("5.6/table", "of a device whose mate has none", {Claim("mixed.a")},
              AllocatePasid("mixed.a"), Unimplemented("PASID_UNAVAILABLE").Blames("mixed.b")),
      Refused("5.6/table", "from 0", claimed, AllocatePasid("deep", {0}),
              Invalid("INVALID_PASID").Field("min_pasid")),
      Refused("5.6/table", "up to 0", claimed, AllocatePasid("deep", {{}, 0}),
              Invalid("INVALID_PASID").Field("max_pasid")),
      Refused("5.6/table", "from beyond its width", claimed, AllocatePasid("deep", {256}),
              out_of_range("min_pasid")),
      Refused("5.6/table", "up to beyond its width", claimed, AllocatePasid("deep", {1, 256}),
              out_of_range("max_pasid")),
      Refused("5.6/table", "the lowest above the highest", claimed, AllocatePasid("deep", {9, 8}),
              Invalid("RANGE_INVALID").Field("min_pasid").Says("9")),
      Refused("5.6/table", "a label of 64 bytes", claimed,
              AllocatePasid("deep", {{}, {}, std::string(64, 'x')}),
              Invalid("LABEL_TOO_LONG").Field("label").Says("64")),
      Refused("5.6/table", "of a range that is taken", Reserved(), AllocatePasid("deep", {2, 2}),
              Exhausted("PASIDS_EXHAUSTED").Blames("deep")),
      Accepted("5.6/table", "the lowest is taken", claimed, AllocatePasid("deep"),
               {AnswerSays("pasid: 1 "), Taken("deep", "1:allocated")}),
      Accepted("5.6/table", "the next one after it", claimed + Steps{AllocatePasid("deep")},
               AllocatePasid("deep"), {AnswerSays("pasid: 2 ")}),
      Accepted("5.6/table", "one that is reserved is left out",
               Reserved() + Steps{AllocatePasid("deep")}, AllocatePasid("deep"),
               {AnswerSays("pasid: 3 "), Taken("deep", "1:allocated 2:reserved 3:allocated")}),
      Accepted("5.6/table", "one that is attached is left out", AttachedAt5(),
               AllocatePasid("deep", {5, 6}), {AnswerSays("pasid: 6 ")}),
      Accepted("5.6/table", "a hole that was left is filled",
               claimed + Steps{AllocatePasid("deep"), AllocatePasid("deep"), FreePasid("deep", 1)},
               AllocatePasid("deep"), {AnswerSays("pasid: 1 ")}),
      Accepted("5.6/table", "the highest of all, with a label of 63 bytes", claimed,
               AllocatePasid("deep", {255, {}, std::string(63, 'x')}),
               {AnswerSays("pasid: 255 "), AnswerSays(std::string(63, 'x'))}),
  };
}

std::vector<Case> Reserving() {
  const Steps claimed{Claim("deep")};
  const auto exists = [] { return Exists("PASID_EXISTS").Field("pasid").Says("2"); };
  return {
      Refused("5.6/table", "reserving of a device that the host has", {}, ReservePasid("deep", 2),
              NotClaimed()),
      Refused("5.6/table", "reserving no number", claimed, ReservePasid("deep", {}),
              Invalid("MISSING_FIELD").Field("pasid")),
      Refused("5.6/table", "reserving 0", claimed, ReservePasid("deep", 0),
              Invalid("INVALID_PASID").Field("pasid")),
      Refused("5.6/table", "reserving beyond its width", claimed, ReservePasid("deep", 256),
              OutOfRange("PASID_OUT_OF_RANGE", "EINVAL").Field("pasid").Says("256")),
      Refused("5.6/table", "reserving beyond the width of a mate", {Claim("stream.a")},
              ReservePasid("stream.a", 64), OutOfRange("PASID_OUT_OF_RANGE", "EINVAL").Says("64")),
      Refused("5.6/table", "reserving with a label of 64 bytes", claimed,
              ReservePasid("deep", 2, std::string(64, 'x')),
              Invalid("LABEL_TOO_LONG").Field("label")),
      Refused("5.6/table", "reserving twice", Reserved(), ReservePasid("deep", 2), exists()),
      Refused("5.6/table", "reserving what a mate has", Reserved("stream.a"),
              ReservePasid("stream.b", 2), exists()),
      Refused("5.6/table", "reserving what is attached", AttachedAt5(), ReservePasid("deep", 5),
              Exists("PASID_EXISTS").Says("5")),
      Accepted("5.6/table", "reserving", claimed, ReservePasid("deep", 2, "kept"),
               {AnswerSays("label: \"kept\""), Taken("deep", "2:reserved")}),
      Accepted("5.6/table", "a group's members see the same", {Claim("stream.a")},
               ReservePasid("stream.b", 2), {Taken("stream.a", "2:reserved")}),
  };
}

std::vector<Case> Freeing() {
  const Steps reserved_and_attached = {NewIoas("a"), Claim("deep"), ReservePasid("deep", 5),
                                       NewPaging("d", "a", "deep", ForPasids()),
                                       AttachPasid("deep", 5, "d")};
  return {
      Refused("5.6/table", "freeing of a device that the host has", {}, FreePasid("deep", 2),
              NotClaimed()),
      Refused("5.6/table", "freeing no number", Reserved(), FreePasid("deep", {}),
              Invalid("MISSING_FIELD").Field("pasid")),
      Refused("5.6/table", "freeing one that is not taken", Reserved(), FreePasid("deep", 3),
              NotFound("PASID_NOT_FOUND").Field("pasid").Says("3")),
      Refused("5.6/table", "freeing one that was reserved and is attached", reserved_and_attached,
              FreePasid("deep", 5), Precondition("IN_USE", "EBUSY").Blames("pasid 5")),
      Refused("5.6/table", "freeing one that is attached", AttachedAt5(), FreePasid("deep", 5),
              Precondition("IN_USE", "EBUSY").Blames("pasid 5")),
      Accepted("5.6/table", "freeing", Reserved(), FreePasid("deep", 2), {Taken("deep", "")}),
      Accepted("5.6/table", "freeing what a mate reserved", Reserved("stream.a"),
               FreePasid("stream.b", 2), {Taken("stream.a", "")}),
      Accepted("5.6/table", "one that was reserved stays when it is detached",
               reserved_and_attached, DetachPasid("deep", 5), {Taken("deep", "5:reserved")}),
      Accepted("5.6/table", "attaching one that is reserved",
               Reserved() + Steps{NewIoas("a"), NewPaging("d", "a", "deep", ForPasids())},
               AttachPasid("deep", 2, "d"), {Taken("deep", "2:attached")}),
      Accepted("5.6/table", "a device that is released keeps none", Reserved(), Release("deep"),
               {Claim("deep"), Taken("deep", "")}),
  };
}

}  // namespace

std::vector<Case> PasidTableCases() {
  std::vector<Case> all;
  for (auto* const part : {Allocating, Reserving, Freeing}) {
    for (Case& row : part()) all.push_back(std::move(row));
  }
  return all;
}

}  // namespace viommu::conformance
