// clients/viommuctl/command.h -- What a command is: one row from which everything is made.
//
// Parsing, help, completion and the reference page read the same rows (command_table.cc). A new
// kind or verb is a row and the function that it names.
#ifndef VIOMMU_CLIENTS_VIOMMUCTL_COMMAND_H_
#define VIOMMU_CLIENTS_VIOMMUCTL_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "clients/viommuctl/kinds.h"

namespace viommu {

class Invocation;

enum class ValueType {
  kSwitch,  // A flag without value.
  kText,
  kId,  // Of an object to be made.
  kAddress,
  kSize,
  kNumber,  // From 0.
  kCount,   // From 1.
  kDuration,
  kPermission,
  kRange,
  kHexBytes,
  kName,    // Of an object of Param::kind.
  kChoice,  // One of Param::choices.
};

enum class Presence { kOptional, kRequired, kRepeated };

// A flag or a positional argument.
struct Param {
  absl::string_view name;  // "iova" of a flag, "IOAS" of an argument.
  ValueType type = ValueType::kText;
  absl::string_view help = {};
  Presence presence = Presence::kOptional;
  Kind kind = Kind::kNone;
  absl::string_view choices = {};  // "identity|dma".
  char letter = 0;                 // Of a flag: -o; 0: none.
};

// What several commands have in common; each brings flags.
enum Trait : unsigned {
  kPlain = 0,
  kChanges = 1,    // --dry-run, --request-id.
  kEtag = 2,       // --etag.
  kPaged = 4,      // --limit.
  kForPeople = 8,  // Has no messages that -o could print.
};

struct Command {
  absl::string_view name;  // "map", or "get ioas".
  std::vector<Param> arguments;
  std::vector<Param> flags;  // Its own; FlagsOf has all.
  unsigned traits = kPlain;
  absl::string_view help;     // One line.
  absl::string_view example;  // Without "viommuctl ".
  absl::Status (*run)(Invocation& call) = nullptr;
};

// The flags that every command has.
const std::vector<Param>& GlobalFlags();

// Its own, those of its traits, the global ones.
std::vector<Param> FlagsOf(const Command& command);

// "SIZE" for --size SIZE; empty for a switch.
std::string PlaceholderOf(const Param& flag);

// Says whether `value` is one of its type. kInvalidArgument: it is not; names the value.
absl::Status CheckValue(const Param& param, absl::string_view value);

// "viommuctl map IOAS --region REGION --size SIZE [--iova ADDRESS] ...", without the global flags.
std::string UsageOf(const Command& command);

// Whether `words` begin with the name of `command`; kinds may be singular, plural or as in resource
// names.
bool IsCalled(const Command& command, const std::vector<std::string>& words);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_VIOMMUCTL_COMMAND_H_
