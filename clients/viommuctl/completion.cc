#include "clients/viommuctl/completion.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace viommu {
namespace {

constexpr char kBashScript[] =
    R"(# Completion of viommuctl for bash: source <(viommuctl completion bash)
_viommuctl() {
  local line=${COMP_LINE:0:COMP_POINT} words current
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  current=${words[-1]}
  mapfile -t COMPREPLY < <("${COMP_WORDS[0]}" __complete "${words[@]:1}" 2>/dev/null)
  # Bash replaces only what stands behind the last of its word breaks, such as ':' and '='.
  local kept=${current%"${current##*[$COMP_WORDBREAKS]}"}
  COMPREPLY=("${COMPREPLY[@]#"$kept"}")
}
complete -F _viommuctl viommuctl
)";

bool IsFlag(absl::string_view word) { return absl::StartsWith(word, "-"); }

class Completer {
 public:
  Completer(const std::vector<Command>& commands, const std::vector<std::string>& words,
            const NamesSource& names)
      : commands_(commands), words_(words), names_(names), current_(words.back()) {}

  std::vector<std::string> Complete();

 private:
  // Reads the words before the current one.
  void Read();
  void ReadFlag(size_t* i);
  const Param* FindFlag(absl::string_view name) const;
  const Param* CurrentArgument() const;

  void OfferCommands();
  // The words by which another command's name goes on.
  void OfferLongerNames();
  void OfferFlags();
  void OfferValues(const Param& param, absl::string_view prefix);
  // Adds `word` when it begins as the current one does.
  void Offer(const std::string& word);

  const std::vector<Command>& commands_;
  const std::vector<std::string>& words_;
  const NamesSource& names_;
  const std::string current_;
  CommandLine line_;
  std::vector<std::string> plain_;  // Words that are no flags, before the current one.
  std::vector<Param> flags_ = GlobalFlags();
  const Param* awaited_ = nullptr;  // Flag whose value the current word is.
  std::vector<std::string> offered_;
};

std::vector<std::string> Completer::Complete() {
  Read();
  if (awaited_ != nullptr) {
    OfferValues(*awaited_, "");
  } else if (IsFlag(current_)) {
    const size_t equals = current_.find('=');
    const Param* flag =
        equals == std::string::npos ? nullptr : FindFlag(current_.substr(2, equals - 2));
    if (flag != nullptr) {
      OfferValues(*flag, current_.substr(0, equals + 1));
    } else {
      OfferFlags();
    }
  } else if (line_.command == nullptr || line_.command->name == "help") {
    OfferCommands();
  } else if (const Param* argument = CurrentArgument()) {
    OfferLongerNames();
    OfferValues(*argument, "");
  } else if (current_.empty()) {
    OfferFlags();
  }
  return std::move(offered_);
}

void Completer::Read() {
  for (size_t i = 0; i + 1 < words_.size(); ++i) {
    if (IsFlag(words_[i])) {
      ReadFlag(&i);
      continue;
    }
    plain_.push_back(words_[i]);
    for (const Command& command : commands_) {
      if (!IsCalled(command, plain_)) continue;
      if (line_.command != nullptr && command.name.size() <= line_.command->name.size()) continue;
      line_.command = &command;
      flags_ = FlagsOf(command);
    }
  }
}

void Completer::ReadFlag(size_t* i) {
  absl::string_view name = words_[*i];
  name.remove_prefix(absl::StartsWith(name, "--") ? 2 : 1);
  const size_t equals = name.find('=');
  const Param* flag = FindFlag(name.substr(0, equals));
  if (flag == nullptr || flag->type == ValueType::kSwitch) return;
  auto& values = line_.values[std::string(flag->name)];
  if (equals != absl::string_view::npos) {
    values = {std::string(name.substr(equals + 1))};
  } else if (*i + 2 < words_.size()) {
    values = {words_[++*i]};
  } else {
    awaited_ = flag;
  }
}

const Param* Completer::FindFlag(absl::string_view name) const {
  for (const Param& flag : flags_) {
    const bool by_letter = flag.letter != 0 && name == absl::string_view(&flag.letter, 1);
    if (flag.name == name || by_letter) return &flag;
  }
  return nullptr;
}

const Param* Completer::CurrentArgument() const {
  const std::vector<std::string> name = absl::StrSplit(line_.command->name, ' ');
  const size_t at = plain_.size() - name.size();
  const std::vector<Param>& arguments = line_.command->arguments;
  if (at < arguments.size()) return &arguments[at];
  const bool repeats = !arguments.empty() && arguments.back().presence == Presence::kRepeated;
  return repeats ? &arguments.back() : nullptr;
}

void Completer::OfferCommands() {
  const size_t skipped = line_.command == nullptr ? 0 : 1;  // `help`
  const size_t at = plain_.size() - skipped;
  for (const Command& command : commands_) {
    const std::vector<std::string> name = absl::StrSplit(command.name, ' ');
    if (at >= name.size()) continue;
    if (std::equal(name.begin(), name.begin() + static_cast<ptrdiff_t>(at),
                   plain_.begin() + static_cast<ptrdiff_t>(skipped))) {
      Offer(name[at]);
    }
  }
}

void Completer::OfferLongerNames() {
  const std::string begun = absl::StrCat(absl::StrJoin(plain_, " "), " ");
  for (const Command& command : commands_) {
    absl::string_view rest = command.name;
    if (absl::ConsumePrefix(&rest, begun)) Offer(std::string(rest.substr(0, rest.find(' '))));
  }
}

void Completer::OfferFlags() {
  for (const Param& flag : flags_) {
    const bool given = line_.Has(flag.name) ||
                       std::count(words_.begin(), words_.end(), absl::StrCat("--", flag.name)) != 0;
    // The current word may be this very flag, complete.
    if (!given || current_ == absl::StrCat("--", flag.name)) Offer(absl::StrCat("--", flag.name));
  }
}

void Completer::OfferValues(const Param& param, absl::string_view prefix) {
  if (param.type == ValueType::kPermission) {
    for (const char* word : {"r", "w", "rw"}) Offer(absl::StrCat(prefix, word));
  }
  if (param.type == ValueType::kChoice) {
    for (const absl::string_view word : absl::StrSplit(param.choices, '|')) {
      Offer(absl::StrCat(prefix, word));
    }
  }
  if (param.type != ValueType::kName) return;
  // Whoever has begun to type a resource name goes on with one.
  absl::string_view typed = current_;
  typed.remove_prefix(prefix.size());
  const bool whole = absl::StrContains(typed, '/');
  for (const std::string& name : names_(param.kind, line_)) {
    Offer(absl::StrCat(prefix, whole ? ResourceName(param.kind, name).value_or(name) : name));
  }
}

void Completer::Offer(const std::string& word) {
  const bool known = std::count(offered_.begin(), offered_.end(), word) != 0;
  if (!known && absl::StartsWith(word, current_)) offered_.push_back(word);
}

}  // namespace

std::vector<std::string> Complete(const std::vector<Command>& commands,
                                  const std::vector<std::string>& words, const NamesSource& names) {
  if (words.empty()) return {};
  return Completer(commands, words, names).Complete();
}

std::string BashScript() { return kBashScript; }

}  // namespace viommu
