// Commands for page faults: what waits for an answer, and the answers.
#include "clients/viommuctl/command_params.h"
#include "clients/viommuctl/commands.h"

namespace viommu::table {

void AddFaultCommands(std::vector<Command>* to) {
  const std::vector<Command> commands = {
      {"faults list",
       {kFaultQueue},
       {},
       kPaged,
       "Groups of page faults that wait for an answer.",
       "faults list vm0",
       ListFaults},
      {"faults respond",
       {kFaultQueue,
        {"CODE", T::kChoice, "What their devices are told.", kRequired, Kind::kNone,
         "success|invalid"},
        {"COOKIE", T::kCount, "Groups.", Presence::kRepeated}},
       {},
       kChanges,
       "Answer groups of page faults.",
       "faults respond vm0 success 1 2",
       RespondFault},
      {"faults watch",
       {kFaultQueue},
       {{"count", T::kCount, "End after so many lines."}},
       kPlain,
       "Page faults as they come, until it is interrupted; they stay for who answers them.",
       "faults watch vm0",
       WatchFaults},
  };
  to->insert(to->end(), commands.begin(), commands.end());
}

}  // namespace viommu::table
