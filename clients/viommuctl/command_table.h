// clients/viommuctl/command_table.h -- All commands, in the order of the help.
#ifndef VIOMMU_CLIENTS_VIOMMUCTL_COMMAND_TABLE_H_
#define VIOMMU_CLIENTS_VIOMMUCTL_COMMAND_TABLE_H_

#include <vector>

#include "clients/viommuctl/command.h"

namespace viommu {

std::vector<Command> AllCommands();

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_VIOMMUCTL_COMMAND_TABLE_H_
