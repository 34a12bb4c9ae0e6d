// tests/differential/verbs.h -- All verbs, and the choice among them.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_VERBS_H_
#define VIOMMU_TESTS_DIFFERENTIAL_VERBS_H_

#include <vector>

#include "tests/differential/verb.h"

namespace viommu::differential {

const std::vector<const Verb*>& AllVerbs();
const std::vector<const Syntax*>& AllSyntaxes();

// By weight.
const Verb& InventVerb(Dice& dice);
// The verb of a step.
const Verb& VerbOf(const Step& step);

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_VERBS_H_
