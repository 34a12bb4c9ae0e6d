// tests/conformance/vfio_cases.cc -- What VFIO's device files make of attaching (5.8): there it is
// one call that also moves; here moving is a call of its own, and the rest is the same.
#include "tests/conformance/cases.h"
#include "tests/conformance/nested_verbs.h"
#include "tests/conformance/pasid_verbs.h"
#include "tests/conformance/verbs.h"

namespace viommu::conformance {

std::vector<Case> VfioCases() {
  using Steps = std::vector<Step>;
  const Steps two = Attached("plain") + Steps{NewDomain("e", "a", "plain")};
  const Steps pasid = {NewRegion("r"),
                       NewIoas("a"),
                       Map("a", {At(0x10000)}),
                       Claim("trusted"),
                       NewPaging("d", "a", "trusted", ForPasids()),
                       NewPaging("e", "a", "trusted", ForPasids()),
                       AttachPasid("trusted", 5, "d")};
  const auto attached = [](const char* device) {
    return Precondition("ALREADY_ATTACHED", "EBUSY").Blames(device);
  };
  return {
      Refused("5.8", "attaching does not move", two, Attach("plain", "e"), attached("plain")),
      Accepted("5.8", "moving does", two, Replace("plain", "e"),
               {DeviceSays("plain", "domain: \"domains/conf-e\"")}),
      Refused("5.8", "attaching does not move a PASID", pasid, AttachPasid("trusted", 5, "e"),
              attached("trusted")),
      Accepted("5.8", "moving a PASID does", pasid, ReplacePasid("trusted", 5, "e"),
               {PasidReads("trusted", 5, 0x10000, 1), DeleteDomain("d")}),
      Refused("5.8", "a PASID of a device without", Attached("plain"),
              AttachPasid("plain", 5, "blocked"),
              Unimplemented("PASID_UNAVAILABLE").Blames("plain")),
      Accepted("5.8", "detaching twice", Attached("plain") + Steps{Detach("plain"), Remember()},
               Detach("plain"), {NothingChanged()}),
      Accepted("5.8", "detaching a PASID twice",
               pasid + Steps{DetachPasid("trusted", 5), Remember()}, DetachPasid("trusted", 5),
               {NothingChanged()}),
  };
}

}  // namespace viommu::conformance
