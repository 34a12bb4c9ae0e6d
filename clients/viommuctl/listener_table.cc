// Commands for listeners: sockets of tenants.
#include "clients/viommuctl/command_params.h"
#include "clients/viommuctl/commands.h"

namespace viommu::table {

void AddListenerCommands(std::vector<Command>* to) {
  const std::vector<Command> commands = {
      {"list listeners", {}, {}, kPaged, "Sockets of tenants.", "list listeners", ListListeners},
      {"get listener",
       {kListener},
       {},
       kPlain,
       "The socket of one tenant.",
       "get listener vm0",
       GetListener},
      {"create listener",
       {{"OWNER", T::kId, "The tenant, as its objects' owner.", kRequired}},
       {{"mode", T::kChoice, "Who may connect, as the mode of the socket. Default: 0660.",
         kOptional, Kind::kNone, "0600|0660|0606|0666"},
        {"uid", T::kNumber, "User that the socket belongs to. Default: viommud's."},
        {"gid", T::kNumber, "Group that the socket belongs to. Default: viommud's."}},
       kChanges,
       "Give a tenant a socket of its own.",
       "create listener vm0 --gid 1000",
       CreateListener},
      {"delete listener",
       {kListener},
       {},
       kChanges,
       "Cut a tenant off; what it owns stays.",
       "delete listener vm0",
       DeleteListener},
  };
  to->insert(to->end(), commands.begin(), commands.end());
}

}  // namespace viommu::table
