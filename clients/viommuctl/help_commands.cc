// help, reference, completion: what is made of the command table alone.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/viommuctl/commands.h"
#include "clients/viommuctl/completion.h"
#include "clients/viommuctl/help.h"

namespace viommu {

absl::Status Help(Invocation& call) {
  const std::vector<std::string>& words = call.Texts("COMMAND");
  if (words.empty()) {
    call.Print(Overview(call.commands()));
    return absl::OkStatus();
  }
  std::string found;
  for (const Command& command : call.commands()) {
    // "get" alone stands for all that begin with it.
    const bool of_group = words.size() == 1 && absl::StartsWith(command.name, words[0] + " ");
    if (of_group) absl::StrAppend(&found, UsageOf(command), "\n  ", command.help, "\n");
    if (IsCalled(command, words)) found = Explanation(command);
  }
  if (found.empty()) {
    // The parser knows best what is wrong with the words.
    CommandLine line;
    absl::Status refused = ParseCommandLine(call.commands(), words, &line);
    if (!refused.ok()) return refused;
  }
  call.Print(found);
  return absl::OkStatus();
}

absl::Status Reference(Invocation& call) {
  call.Print(ReferencePage(call.commands()));
  return absl::OkStatus();
}

absl::Status Completion(Invocation& call) {
  call.Print(BashScript());
  return absl::OkStatus();
}

}  // namespace viommu
