#include "clients/viommuctl/command_table.h"

#include "clients/viommuctl/command_params.h"

namespace viommu {

std::vector<Command> AllCommands() {
  std::vector<Command> commands;
  table::AddObjectCommands(&commands);
  table::AddDeviceCommands(&commands);
  table::AddMappingCommands(&commands);
  table::AddGuestCommands(&commands);
  table::AddViommuCommands(&commands);
  table::AddFaultCommands(&commands);
  table::AddListenerCommands(&commands);
  table::AddSimulationCommands(&commands);
  table::AddWatchingCommands(&commands);
  return commands;
}

}  // namespace viommu
