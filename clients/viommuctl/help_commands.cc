// help, reference, completion: what is made of the command table alone.
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/viommuctl/commands.h"
#include "clients/viommuctl/completion.h"
#include "clients/viommuctl/help.h"
#include "clients/viommuctl/kinds.h"

namespace viommu {
namespace {

// kNone: `word` is none.
Kind KindCalled(absl::string_view word) {
  for (const KindWords& words : AllKinds()) {
    if (word == words.singular || word == words.plural) return words.kind;
  }
  return Kind::kNone;
}

bool Takes(const Command& command, Kind kind) {
  const auto is_of_kind = [kind](const Param& param) { return param.kind == kind; };
  return std::any_of(command.arguments.begin(), command.arguments.end(), is_of_kind) ||
         std::any_of(command.flags.begin(), command.flags.end(), is_of_kind);
}

// Whether `command` has to do with what the single word of a request for help means: "get" stands
// for all that begin with it, "ioas" for all that make, show or take one.
bool IsAbout(const Command& command, const std::string& word) {
  if (absl::StartsWith(command.name, word + " ")) return true;
  const Kind kind = KindCalled(word);
  if (kind == Kind::kNone) return false;
  const KindWords& words = WordsOf(kind);
  return absl::EndsWith(command.name, absl::StrCat(" ", words.singular)) ||
         absl::EndsWith(command.name, absl::StrCat(" ", words.plural)) || Takes(command, kind);
}

}  // namespace

absl::Status Help(Invocation& call) {
  const std::vector<std::string>& words = call.Texts("COMMAND");
  if (words.empty()) {
    call.Print(Overview(call.commands()));
    return absl::OkStatus();
  }
  std::string found;
  const Command* called = nullptr;  // The longest name counts, as for the parser.
  for (const Command& command : call.commands()) {
    const bool longer = called == nullptr || command.name.size() > called->name.size();
    if (IsCalled(command, words) && longer) called = &command;
    if (words.size() == 1 && IsAbout(command, words[0])) {
      absl::StrAppend(&found, UsageOf(command), "\n  ", command.help, "\n");
    }
  }
  if (called != nullptr) found = Explanation(*called);
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
