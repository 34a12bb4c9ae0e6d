#include "tests/differential/step.h"

#include <iterator>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace viommu::differential {
namespace {

constexpr const char* kPrincipals[kCallers] = {"alice", "bob", "root"};
// Written for ids that the text of ids has no name for.
constexpr const char* kMadeUpText = "made-up";
constexpr const char* kLatestText = "latest";

const char* PrefixOf(Sort sort) {
  switch (sort) {
    case Sort::kNumber:
      return "";
    case Sort::kRegion:
      return "r";
    case Sort::kIoas:
      return "as";
    case Sort::kDomain:
      return "d";
    case Sort::kDevice:
      return "dev";
    case Sort::kFaultQueue:
      return "q";
    case Sort::kViommu:
      return "vm";
    case Sort::kVdevice:
      return "x";
    case Sort::kEventQueue:
      return "e";
  }
  return "";
}

std::string ValueText(uint64_t value, Sort sort) {
  if (sort == Sort::kNumber) return absl::StrCat("0x", absl::Hex(value));
  const Naming naming = Naming::Of(value);
  std::string owner;
  if (naming.owner != 0) owner = absl::StrCat(kPrincipals[naming.owner - 1], ":");
  return absl::StrCat(owner,
                      naming.id == kMadeUpId ? kMadeUpText : IdOf(naming.id, sort, kLatestText));
}

std::optional<uint64_t> CallerOf(absl::string_view text) {
  for (uint64_t i = 0; i < kCallers; ++i) {
    if (text == kPrincipals[i]) return i;
  }
  return std::nullopt;
}

std::optional<uint64_t> ParseValue(absl::string_view text, Sort sort) {
  uint64_t value = 0;
  if (sort == Sort::kNumber) {
    if (!absl::SimpleHexAtoi(text, &value)) return std::nullopt;
    return value;
  }
  Naming naming;
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  if (parts.size() == 2) {
    const std::optional<uint64_t> owner = CallerOf(parts[0]);
    if (!owner.has_value()) return std::nullopt;
    naming.owner = *owner + 1;
  }
  absl::string_view id = parts.back();
  for (const uint64_t special : {kIdentityId, kBlockedId, kLatestId}) {
    if (id == IdOf(special, sort, kLatestText)) naming.id = special;
  }
  if (id == kMadeUpText) naming.id = kMadeUpId;
  if (naming.id != 0) return naming.argument();
  if (!absl::ConsumePrefix(&id, PrefixOf(sort)) || !absl::SimpleAtoi(id, &naming.id)) {
    return std::nullopt;
  }
  return naming.argument();
}

std::string ArgumentsText(const Step& step) {
  std::string text;
  for (size_t i = 0; i < step.arguments.size(); ++i) {
    const Syntax& syntax = *step.syntax;
    const size_t fixed = syntax.fixed.size();
    const Parameter& parameter =
        i < fixed ? syntax.fixed[i] : syntax.entry[(i - fixed) % syntax.entry.size()];
    absl::StrAppend(&text, " ", parameter.name, "=", ValueText(step.arguments[i], parameter.sort));
  }
  return text;
}

// The parameter that the argument at `position` is for; null: the verb has no more.
const Parameter* ParameterAt(const Syntax& syntax, size_t position) {
  if (position < syntax.fixed.size()) return &syntax.fixed[position];
  if (syntax.entry.empty()) return nullptr;
  return &syntax.entry[(position - syntax.fixed.size()) % syntax.entry.size()];
}

bool ParseArgument(absl::string_view word, Step& step) {
  const Parameter* const parameter = ParameterAt(*step.syntax, step.arguments.size());
  if (parameter == nullptr || !absl::ConsumePrefix(&word, parameter->name) ||
      !absl::ConsumePrefix(&word, "=")) {
    return false;
  }
  const std::optional<uint64_t> value = ParseValue(word, parameter->sort);
  if (value.has_value()) step.arguments.push_back(*value);
  return value.has_value();
}

bool IsComplete(const Step& step) {
  if (step.syntax == nullptr || step.arguments.size() < step.syntax->fixed.size()) return false;
  const size_t rest = step.arguments.size() - step.syntax->fixed.size();
  return rest == 0 || rest % step.syntax->entry.size() == 0;
}

}  // namespace

const char* PrincipalOf(Caller caller) { return kPrincipals[static_cast<int>(caller)]; }

std::string IdOf(uint64_t id, Sort sort, absl::string_view latest) {
  switch (id) {
    case kIdentityId:
      return "identity";
    case kBlockedId:
      return "blocked";
    case kMadeUpId:
      return "";
    case kLatestId:
      return std::string(latest);
    default:
      return absl::StrCat(PrefixOf(sort), id);
  }
}

size_t Step::entries() const {
  if (syntax->entry.empty()) return 0;
  return (arguments.size() - syntax->fixed.size()) / syntax->entry.size();
}

uint64_t Step::OfEntry(size_t entry, size_t position) const {
  return arguments[syntax->fixed.size() + entry * syntax->entry.size() + position];
}

std::string Digest(const Step& step) {
  return absl::StrCat(step.syntax->name, ArgumentsText(step));
}

std::string ToLine(const Step& step) {
  std::string line = PrincipalOf(step.caller);
  if (step.validate_only) absl::StrAppend(&line, " validate_only");
  if (step.late) absl::StrAppend(&line, " late");
  if (step.request != 0) absl::StrAppend(&line, " request=", step.request);
  return absl::StrCat(line, " ", Digest(step));
}

std::optional<Step> ParseLine(absl::string_view line, absl::Span<const Syntax* const> verbs) {
  const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
  Step step;
  const std::optional<uint64_t> caller = words.empty() ? std::nullopt : CallerOf(words.front());
  if (!caller.has_value()) return std::nullopt;
  step.caller = static_cast<Caller>(*caller);
  for (auto word = std::next(words.begin()); word != words.end(); ++word) {
    absl::string_view request = *word;
    if (step.syntax != nullptr) {
      if (!ParseArgument(*word, step)) return std::nullopt;
    } else if (*word == "validate_only") {
      step.validate_only = true;
    } else if (*word == "late") {
      step.late = true;
    } else if (absl::ConsumePrefix(&request, "request=")) {
      if (!absl::SimpleAtoi(request, &step.request)) return std::nullopt;
    } else {
      for (const Syntax* const verb : verbs) {
        if (*word == verb->name) step.syntax = verb;
      }
      if (step.syntax == nullptr) return std::nullopt;
    }
  }
  if (!IsComplete(step)) return std::nullopt;
  return step;
}

}  // namespace viommu::differential
