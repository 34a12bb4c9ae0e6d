#include "clients/viommuctl/command_line.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "clients/viommuctl/nearest.h"

namespace viommu {
namespace {

std::string Quoted(absl::string_view text) {
  return absl::StrCat("\"", absl::CHexEscape(text), "\"");
}

std::string DidYouMean(absl::string_view prefix, const std::string& nearest) {
  return nearest.empty() ? "" : absl::StrCat("; did you mean ", prefix, nearest, "?");
}

// A flag as it is written: "--size=4K" has the name "size" and the value "4K", "-ojson" and
// "-o=json" the name "o" and the value "json".
struct WrittenFlag {
  absl::string_view name;
  absl::string_view value;
  bool has_value = false;
  bool is_letter = false;
};

bool IsFlag(absl::string_view word) { return word.size() > 1 && word[0] == '-'; }

WrittenFlag Written(absl::string_view word) {
  WrittenFlag flag;
  flag.is_letter = !absl::StartsWith(word, "--");
  word.remove_prefix(flag.is_letter ? 1 : 2);
  const size_t name_size = flag.is_letter ? 1 : std::min(word.find('='), word.size());
  flag.name = word.substr(0, name_size);
  flag.value = word.substr(name_size);
  flag.has_value = !flag.value.empty();
  absl::ConsumePrefix(&flag.value, "=");
  return flag;
}

const Param* Find(const std::vector<Param>& flags, const WrittenFlag& written) {
  const auto found = std::find_if(flags.begin(), flags.end(), [&written](const Param& flag) {
    if (!written.is_letter) return flag.name == written.name;
    return flag.letter != 0 && written.name == absl::string_view(&flag.letter, 1);
  });
  return found == flags.end() ? nullptr : &*found;
}

class Parser {
 public:
  Parser(const std::vector<Command>& commands, const std::vector<std::string>& words,
         CommandLine* line)
      : commands_(commands), words_(words), line_(*line) {}

  absl::Status Parse();

 private:
  // Separates flags from other words. Which flags take a value depends on the command, so that is
  // looked for as soon as its words are there.
  absl::Status Separate();
  absl::Status TakeFlag(size_t* i);
  void Recognise();
  void AskForHelp();
  absl::Status TakeArguments();
  absl::Status TakeArgument(const Param& argument, size_t* at);
  absl::Status CheckRequiredFlags() const;
  absl::Status UnknownFlag(absl::string_view word) const;
  absl::Status UnknownCommand() const;

  const std::vector<Command>& commands_;
  const std::vector<std::string>& words_;
  CommandLine& line_;
  std::vector<std::string> plain_;  // Words that are no flags.
  std::vector<Param> flags_ = GlobalFlags();
};

absl::Status Parser::Parse() {
  absl::Status separated = Separate();
  if (!separated.ok()) return separated;
  if (line_.command == nullptr && !plain_.empty() && line_.Has("help")) AskForHelp();
  if (line_.command == nullptr) return plain_.empty() ? absl::OkStatus() : UnknownCommand();
  if (line_.Has("help")) return absl::OkStatus();
  absl::Status arguments = TakeArguments();
  return arguments.ok() ? CheckRequiredFlags() : arguments;
}

absl::Status Parser::Separate() {
  bool flags_ended = false;
  for (size_t i = 0; i < words_.size(); ++i) {
    if (!flags_ended && words_[i] == "--") {
      flags_ended = true;
    } else if (!flags_ended && IsFlag(words_[i])) {
      absl::Status taken = TakeFlag(&i);
      if (!taken.ok()) return taken;
    } else {
      plain_.push_back(words_[i]);
      Recognise();
    }
  }
  return absl::OkStatus();
}

// "get -h" is what "help get" is.
void Parser::AskForHelp() {
  for (const Command& command : commands_) {
    if (command.name != "help") continue;
    line_.command = &command;
    line_.values.erase("help");
    plain_.insert(plain_.begin(), "help");
    return;
  }
}

// The longest name counts: "tables export" is another command than "tables".
void Parser::Recognise() {
  for (const Command& command : commands_) {
    if (!IsCalled(command, plain_)) continue;
    if (line_.command != nullptr && command.name.size() <= line_.command->name.size()) continue;
    line_.command = &command;
    flags_ = FlagsOf(command);
  }
}

absl::Status Parser::TakeFlag(size_t* i) {
  const std::string& word = words_[*i];
  const WrittenFlag written = Written(word);
  const Param* flag = Find(flags_, written);
  // What is behind a command that is none is not to be judged before it.
  if (flag == nullptr) {
    return line_.command == nullptr && !plain_.empty() ? UnknownCommand() : UnknownFlag(word);
  }
  const std::string shown = absl::StrCat("--", flag->name);
  std::string value(written.value);
  if (flag->type == ValueType::kSwitch) {
    if (written.has_value) return absl::InvalidArgumentError(shown + " takes no value");
  } else if (!written.has_value) {
    // A flag behind it shows that the value was forgotten; "-" alone is a word.
    if (*i + 1 >= words_.size() || absl::StartsWith(words_[*i + 1], "--")) {
      return absl::InvalidArgumentError(
          absl::StrCat(shown, " needs a value: ", shown, " ", PlaceholderOf(*flag)));
    }
    value = words_[++*i];
  }
  auto& values = line_.values[std::string(flag->name)];
  if (!values.empty()) return absl::InvalidArgumentError(shown + " is given twice");
  const absl::Status checked = CheckValue(*flag, value);
  if (!checked.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(shown, ": ", checked.message()));
  }
  values.push_back(value);
  return absl::OkStatus();
}

absl::Status Parser::UnknownFlag(absl::string_view word) const {
  std::vector<std::string> names;
  for (const Param& flag : flags_) names.emplace_back(flag.name);
  const absl::string_view name = word.substr(0, word.find('='));
  absl::string_view bare = name;
  while (absl::ConsumePrefix(&bare, "-")) {
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "there is no flag ", Quoted(name),
      line_.command == nullptr ? " before a command" : absl::StrCat(" of ", line_.command->name),
      DidYouMean("--", Nearest(bare, names))));
}

absl::Status Parser::UnknownCommand() const {
  // "ioas list" is what noun-first tools have.
  if (plain_.size() >= 2) {
    const std::vector<std::string> swapped = {plain_[1], plain_[0]};
    for (const Command& command : commands_) {
      if (absl::StrContains(command.name, " ") && IsCalled(command, swapped)) {
        return absl::InvalidArgumentError(absl::StrCat(
            "there is no command ", Quoted(absl::StrJoin(swapped.rbegin(), swapped.rend(), " ")),
            "; the verb comes first: viommuctl ", command.name));
      }
    }
  }
  std::set<std::string> verbs;
  std::vector<std::string> names;  // Whole, of commands with the verb given.
  for (const Command& command : commands_) {
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(command.name, absl::MaxSplits(' ', 1));
    verbs.insert(parts.first);
    if (parts.first == plain_[0]) names.push_back(parts.second);
  }
  if (names.empty()) {
    const std::vector<std::string> all(verbs.begin(), verbs.end());
    return absl::InvalidArgumentError(
        absl::StrCat("there is no command ", Quoted(plain_[0]),
                     DidYouMean("viommuctl ", Nearest(plain_[0], all))));
  }
  const std::string of = absl::StrCat(plain_[0], " needs one of: ", absl::StrJoin(names, ", "));
  if (plain_.size() < 2) return absl::InvalidArgumentError(of);
  return absl::InvalidArgumentError(
      absl::StrCat(of, "; not ", Quoted(plain_[1]), DidYouMean("", Nearest(plain_[1], names))));
}

absl::Status Parser::TakeArguments() {
  const std::vector<std::string> name = absl::StrSplit(line_.command->name, ' ');
  size_t at = name.size();
  for (const Param& argument : line_.command->arguments) {
    absl::Status taken = TakeArgument(argument, &at);
    if (!taken.ok()) return taken;
  }
  if (at == plain_.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("one word too many: ", Quoted(plain_[at])));
}

absl::Status Parser::TakeArgument(const Param& argument, size_t* at) {
  if (*at == plain_.size() && argument.presence == Presence::kRequired) {
    return absl::InvalidArgumentError(absl::StrCat(argument.name, " is missing"));
  }
  const bool repeated = argument.presence == Presence::kRepeated;
  do {
    if (*at == plain_.size()) break;
    const absl::Status checked = CheckValue(argument, plain_[*at]);
    if (!checked.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(argument.name, ": ", checked.message()));
    }
    line_.values[std::string(argument.name)].push_back(plain_[(*at)++]);
  } while (repeated);
  return absl::OkStatus();
}

absl::Status Parser::CheckRequiredFlags() const {
  for (const Param& flag : line_.command->flags) {
    if (flag.presence == Presence::kRequired && !line_.Has(flag.name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", flag.name, " ", PlaceholderOf(flag), " is missing"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

bool CommandLine::Has(absl::string_view name) const {
  return values.find(std::string(name)) != values.end();
}

std::string CommandLine::Text(absl::string_view name) const {
  const auto found = values.find(std::string(name));
  return found == values.end() || found->second.empty() ? "" : found->second.front();
}

absl::Status ParseCommandLine(const std::vector<Command>& commands,
                              const std::vector<std::string>& words, CommandLine* line) {
  return Parser(commands, words, line).Parse();
}

}  // namespace viommu
