// clients/viommuctl/help.h -- Texts about the commands, all made from their table.
#ifndef VIOMMU_CLIENTS_VIOMMUCTL_HELP_H_
#define VIOMMU_CLIENTS_VIOMMUCTL_HELP_H_

#include <string>
#include <vector>

#include "clients/viommuctl/command.h"

namespace viommu {

// All commands, a line each.
std::string Overview(const std::vector<Command>& commands);

// Usage, arguments, flags and an example of one command.
std::string Explanation(const Command& command);

// docs/VIOMMUCTL.md.
std::string ReferencePage(const std::vector<Command>& commands);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_VIOMMUCTL_HELP_H_
