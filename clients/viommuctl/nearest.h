// clients/viommuctl/nearest.h -- What somebody who mistyped a word may have meant.
#ifndef VIOMMU_CLIENTS_VIOMMUCTL_NEAREST_H_
#define VIOMMU_CLIENTS_VIOMMUCTL_NEAREST_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace viommu {

// The first of `candidates` with the fewest letters to insert, delete, replace or swap; empty when
// even that one shares too little with `word` to be what was meant.
std::string Nearest(absl::string_view word, const std::vector<std::string>& candidates);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_VIOMMUCTL_NEAREST_H_
