#include "clients/viommuctl/help.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "clients/viommuctl/exit_code.h"
#include "clients/viommuctl/table.h"

namespace viommu {
namespace {

constexpr int kIndent = 2;

std::string Written(const Param& flag) {
  const std::string placeholder = PlaceholderOf(flag);
  std::string out;
  if (flag.letter != 0) absl::StrAppend(&out, "-", absl::string_view(&flag.letter, 1), ", ");
  absl::StrAppend(&out, "--", flag.name, placeholder.empty() ? "" : " ", placeholder);
  return out;
}

std::string Lines(const std::vector<Param>& params, bool are_flags) {
  Table table;
  for (const Param& param : params) {
    table.Add({are_flags ? Written(param) : std::string(param.name), std::string(param.help)});
  }
  return table.Format(/*with_headings=*/false, kIndent);
}

std::vector<Param> OwnFlags(const Command& command) {
  std::vector<Param> flags = FlagsOf(command);
  flags.resize(flags.size() - GlobalFlags().size());
  return flags;
}

// A cell of a Markdown table.
std::string Cell(absl::string_view text) { return absl::StrReplaceAll(text, {{"|", "\\|"}}); }

void AppendFlags(const std::vector<Param>& flags, std::string* page) {
  absl::StrAppend(page, "| | |\n|---|---|\n");
  for (const Param& flag : flags) {
    absl::StrAppend(page, "| `", Cell(Written(flag)), "` | ", Cell(flag.help), " |\n");
  }
}

void AppendCommand(const Command& command, std::string* page) {
  absl::StrAppend(page, "\n### ", command.name, "\n\n", command.help, "\n\n```\n", UsageOf(command),
                  "\n```\n\n");
  if (!command.arguments.empty() || !OwnFlags(command).empty()) {
    absl::StrAppend(page, "| | |\n|---|---|\n");
    for (const Param& argument : command.arguments) {
      absl::StrAppend(page, "| `", Cell(argument.name), "` | ", Cell(argument.help),
                      argument.choices.empty() ? "" : " One of: ",
                      absl::StrReplaceAll(argument.choices, {{"|", ", "}}), " |\n");
    }
    for (const Param& flag : OwnFlags(command)) {
      absl::StrAppend(page, "| `", Cell(Written(flag)), "` | ", Cell(flag.help), " |\n");
    }
    absl::StrAppend(page, "\n");
  }
  absl::StrAppend(page, "Example: `viommuctl ", command.example, "`\n");
}

constexpr absl::string_view kPreamble = R"(# viommuctl

The command line of viommu. This page is what `viommuctl reference` prints; a test compares the two.
A worked session is in [TOUR.md](TOUR.md).

- The verb comes first: `viommuctl get ioas vm0`. Kinds are region, ioas, domain, device, iommu, queue
  and attachment, singular or plural.
- Objects are named by id (`vm0`) or resource name (`ioas/vm0`; an operator also writes
  `owners/x/ioas/vm0`).
- Addresses are hexadecimal (`0x40000000`) or decimal; sizes are bytes with the exact units K, M, G, T.
- A flag is written `--flag value` or `--flag=value`, once, anywhere behind the command.
- `-o json` and `-o textproto` print the answer of viommud as it is; listings come whole, whatever
  their number of pages. A field that is 0, false or empty is left out, as protobuf does: read an
  absent `mapped_bytes` as 0. 64-bit numbers are strings in JSON.
- What was done goes to standard output, everything else to standard error. An error says its code,
  reason and values; a line `hint:` says what to do next.
- Words are completed after `source <(viommuctl completion bash)`.

## Exit codes

)";

}  // namespace

std::string Overview(const std::vector<Command>& commands) {
  std::string out = "usage: viommuctl COMMAND [ARGUMENT...] [--FLAG VALUE...]\n\n";
  Table table;
  for (const Command& command : commands) {
    table.Add({std::string(command.name), std::string(command.help)});
  }
  absl::StrAppend(&out, table.Format(/*with_headings=*/false, kIndent),
                  "\nflags of every command:\n", Lines(GlobalFlags(), /*are_flags=*/true),
                  "\nviommuctl help COMMAND explains one command.\n");
  return out;
}

std::string Explanation(const Command& command) {
  std::string out = absl::StrCat(command.help, "\n\nusage: ", UsageOf(command), "\n");
  if (!command.arguments.empty()) {
    absl::StrAppend(&out, "\narguments:\n", Lines(command.arguments, /*are_flags=*/false));
  }
  if (!OwnFlags(command).empty()) {
    absl::StrAppend(&out, "\nflags:\n", Lines(OwnFlags(command), /*are_flags=*/true));
  }
  absl::StrAppend(&out, "\nflags of every command:\n", Lines(GlobalFlags(), /*are_flags=*/true),
                  "\nexample: viommuctl ", command.example, "\n");
  return out;
}

std::string ReferencePage(const std::vector<Command>& commands) {
  std::string page(kPreamble);
  absl::StrAppend(&page, "| | |\n|---|---|\n");
  for (const ExitCodeMeaning& code : ExitCodes()) {
    absl::StrAppend(&page, "| ", static_cast<int>(code.code), " | ", code.meaning, " |\n");
  }
  absl::StrAppend(&page, "\n## Flags of every command\n\n");
  AppendFlags(GlobalFlags(), &page);
  absl::StrAppend(&page, "\n## Commands\n");
  for (const Command& command : commands) AppendCommand(command, &page);
  return page;
}

}  // namespace viommu
