// clients/viommuctl/command_line.h -- Takes the words of a command line apart, strictly.
//
// Flags may stand anywhere behind the command, global ones before it too, as `--flag value` or
// `--flag=value`; `--` ends them. Every value has been checked to be of its type.
#ifndef VIOMMU_CLIENTS_VIOMMUCTL_COMMAND_LINE_H_
#define VIOMMU_CLIENTS_VIOMMUCTL_COMMAND_LINE_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "clients/viommuctl/command.h"

namespace viommu {

// A command with its values. Thread-compatible.
struct CommandLine {
  const Command* command = nullptr;                        // Null: none was named.
  std::map<std::string, std::vector<std::string>> values;  // By name of the flag or argument.

  bool Has(absl::string_view name) const;
  // Empty when it was not given.
  std::string Text(absl::string_view name) const;
};

// Fills `line`, which points into `commands`. On an error the command is set if it was recognised.
// kInvalidArgument: there is no such command or flag (the nearest one is named); a flag is given
//   twice or without its value; an argument is missing or one too many; a value is malformed.
absl::Status ParseCommandLine(const std::vector<Command>& commands,
                              const std::vector<std::string>& words, CommandLine* line);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_VIOMMUCTL_COMMAND_LINE_H_
