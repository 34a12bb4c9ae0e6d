// clients/viommuctl/hints.h -- What to do next when a command was refused.
#ifndef VIOMMU_CLIENTS_VIOMMUCTL_HINTS_H_
#define VIOMMU_CLIENTS_VIOMMUCTL_HINTS_H_

#include <string>
#include <vector>

#include "clients/client/call_error.h"
#include "clients/viommuctl/command_line.h"

namespace viommu {

// Sentences for a person, most of them a command to type; none when nothing is known. `line` is
// what was asked for: its words stand for the objects that the error does not name.
// `may_have_arrived`: whether viommud may have done it, when it did not say so.
std::vector<std::string> HintsFor(const CallError& error, const CommandLine& line,
                                  bool may_have_arrived = false);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_VIOMMUCTL_HINTS_H_
