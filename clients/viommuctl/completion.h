// clients/viommuctl/completion.h -- What the word that is being typed may become.
#ifndef VIOMMU_CLIENTS_VIOMMUCTL_COMPLETION_H_
#define VIOMMU_CLIENTS_VIOMMUCTL_COMPLETION_H_

#include <functional>
#include <string>
#include <vector>

#include "clients/viommuctl/command.h"
#include "clients/viommuctl/command_line.h"
#include "clients/viommuctl/kinds.h"

namespace viommu {

// The names of all objects of a kind, as the daemon that `line` means knows them.
using NamesSource = std::function<std::vector<std::string>(Kind kind, const CommandLine& line)>;

// Words that `words.back()`, which may be empty, can become behind the words before it. In the
// order of the table; none when nothing is known.
std::vector<std::string> Complete(const std::vector<Command>& commands,
                                  const std::vector<std::string>& words, const NamesSource& names);

// For `source`: makes bash ask `viommuctl __complete WORD...`.
std::string BashScript();

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_VIOMMUCTL_COMPLETION_H_
