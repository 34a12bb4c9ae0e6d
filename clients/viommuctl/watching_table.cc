// Commands that look on, and those of the tool itself.
#include "clients/viommuctl/command_params.h"
#include "clients/viommuctl/commands.h"

namespace viommu::table {

void AddWatchingCommands(std::vector<Command>* to) {
  const std::vector<Command> commands = {
      {"health", {}, {}, kPlain, "Whether viommud and its services can be used.", "health", Health},
      {"queues", {}, {}, kPaged, "The same as list queues.", "queues", ListQueues},
      {"top",
       {},
       {{"once", T::kSwitch, "Show one interval and end."},
        {"interval", T::kDuration, "How long to count. Default: 2s."},
        {"metrics", T::kText,
         "IPV4:PORT of viommud's metrics. Default: as endpoints.json beside its socket says; there "
         "is none for HOST:PORT."}},
       kForPeople,
       "What viommud is doing, in rates per second, from its metrics.",
       "top --once",
       Top},
      {"watch",
       {{"KIND", T::kChoice, "What to watch. Default: all.", Presence::kRepeated, Kind::kNone,
         "regions|ioas|domains|devices|fault-queues|viommus|vdevices|event-queues|hardware-"
         "queues"}},
       {{"once", T::kSwitch, "Show what there is and end."}},
       kPlain,
       "What there is, then what changes, until it is interrupted; goes on when viommud is back.",
       "watch devices ioas",
       WatchObjects},
      {"version",
       {},
       {},
       kForPeople,
       "The versions of viommuctl and, if it can be reached, viommud.",
       "version",
       Version},
      {"completion",
       {{"SHELL", T::kChoice, "Shell.", kRequired, Kind::kNone, "bash"}},
       {},
       kForPeople,
       "Print a script that completes words.",
       "completion bash",
       Completion},
      {"reference",
       {},
       {},
       kForPeople,
       "Print the page docs/VIOMMUCTL.md.",
       "reference",
       Reference},
      {"help",
       {{"COMMAND", T::kText, "Its words.", Presence::kRepeated}},
       {},
       kForPeople,
       "Explain a command, or list all.",
       "help create domain",
       Help},
  };
  to->insert(to->end(), commands.begin(), commands.end());
}

}  // namespace viommu::table
