#include "tests/differential/verbs.h"

#include "tests/differential/attach_verbs.h"
#include "tests/differential/device_verbs.h"
#include "tests/differential/domain_verbs.h"
#include "tests/differential/fault_verbs.h"
#include "tests/differential/guest_verbs.h"
#include "tests/differential/host_verbs.h"
#include "tests/differential/ioas_verbs.h"
#include "tests/differential/mapping_verbs.h"
#include "tests/differential/nested_verbs.h"
#include "tests/differential/pasid_verbs.h"
#include "tests/differential/region_verbs.h"
#include "tests/differential/viommu_verbs.h"

namespace viommu::differential {
namespace {

std::vector<const Verb*> Collect() {
  std::vector<const Verb*> all;
  for (const absl::Span<const Verb> kind :
       {RegionVerbs(), IoasVerbs(), MappingVerbs(), DomainVerbs(), NestedVerbs(), DeviceVerbs(),
        AttachVerbs(), PasidVerbs(), HostVerbs(), FaultVerbs(), ViommuVerbs(), GuestVerbs()}) {
    for (const Verb& verb : kind) all.push_back(&verb);
  }
  return all;
}

// A verb as often as its weight says.
std::vector<const Verb*> Weighted() {
  std::vector<const Verb*> lots;
  for (const Verb* const verb : AllVerbs()) lots.insert(lots.end(), verb->weight, verb);
  return lots;
}

std::vector<const Syntax*> Syntaxes() {
  std::vector<const Syntax*> syntaxes;
  for (const Verb* const verb : AllVerbs()) syntaxes.push_back(&verb->syntax);
  return syntaxes;
}

}  // namespace

const std::vector<const Verb*>& AllVerbs() {
  static const auto* const kAll = new std::vector<const Verb*>(Collect());
  return *kAll;
}

const std::vector<const Syntax*>& AllSyntaxes() {
  static const auto* const kAll = new std::vector<const Syntax*>(Syntaxes());
  return *kAll;
}

const Verb& InventVerb(Dice& dice) {
  static const auto* const kLots = new std::vector<const Verb*>(Weighted());
  return *dice.Any(*kLots);
}

const Verb& VerbOf(const Step& step) {
  for (const Verb* const verb : AllVerbs()) {
    if (&verb->syntax == step.syntax) return *verb;
  }
  return *AllVerbs().front();  // No step is made but of these.
}

}  // namespace viommu::differential
