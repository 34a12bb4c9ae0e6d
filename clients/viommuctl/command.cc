#include "clients/viommuctl/command.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "clients/viommuctl/values.h"

namespace viommu {
namespace {

const std::vector<Param>& ChangeFlags() {
  static const auto* const kFlags = new std::vector<Param>{
      {"dry-run", ValueType::kSwitch, "Check everything, change nothing (validate_only)."},
      {"request-id", ValueType::kText, "Makes a repetition safe: the first answer is given again."},
  };
  return *kFlags;
}

constexpr Param kEtagFlag = {"etag", ValueType::kText, "The etag that the object must still have."};
constexpr Param kLimitFlag = {"limit", ValueType::kCount, "Show at most so many. Default: all."};

absl::Status CheckChoice(const Param& param, absl::string_view value) {
  for (const absl::string_view choice : absl::StrSplit(param.choices, '|')) {
    if (value == choice) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", absl::CHexEscape(value), "\" is none of ",
                   absl::StrReplaceAll(param.choices, {{"|", ", "}})));
}

std::string UsageOf(const Param& flag) {
  const std::string placeholder = PlaceholderOf(flag);
  const std::string text =
      absl::StrCat("--", flag.name, placeholder.empty() ? "" : " ", placeholder);
  return flag.presence == Presence::kRequired ? text : absl::StrCat("[", text, "]");
}

// "device" for "devices", "region" for "memoryRegions".
std::string Stem(absl::string_view word) {
  for (const KindWords& words : AllKinds()) {
    absl::string_view prefix = words.prefix;
    absl::ConsumeSuffix(&prefix, "/");
    const bool is_its_own = words.suffix.empty() && words.below.empty();
    if (is_its_own && word == prefix) word = words.singular;
  }
  absl::ConsumeSuffix(&word, "s");
  return std::string(word);
}

}  // namespace

const std::vector<Param>& GlobalFlags() {
  static const auto* const kFlags = new std::vector<Param>{
      {"target", ValueType::kText,
       "Where viommud listens: path of its socket, or HOST:PORT. Default: $VIOMMU_TARGET, else "
       ".state/viommud.sock."},
      {"timeout", ValueType::kDuration, "For one call with its repetitions. Default: 20s."},
      {"output", ValueType::kChoice, "How answers are printed. Default: table.",
       Presence::kOptional, Kind::kNone, "table|json|textproto", 'o'},
      {"quiet", ValueType::kSwitch,
       "No headings, and no word on what was done but the name of what was created.",
       Presence::kOptional, Kind::kNone, "", 'q'},
      {"verbose", ValueType::kSwitch, "Tell on stderr what is called and how long it takes.",
       Presence::kOptional, Kind::kNone, "", 'v'},
      {"help", ValueType::kSwitch, "Explain the command.", Presence::kOptional, Kind::kNone, "",
       'h'},
  };
  return *kFlags;
}

std::vector<Param> FlagsOf(const Command& command) {
  std::vector<Param> flags = command.flags;
  if ((command.traits & kEtag) != 0) flags.push_back(kEtagFlag);
  if ((command.traits & kPaged) != 0) flags.push_back(kLimitFlag);
  if ((command.traits & kChanges) != 0) {
    flags.insert(flags.end(), ChangeFlags().begin(), ChangeFlags().end());
  }
  flags.insert(flags.end(), GlobalFlags().begin(), GlobalFlags().end());
  return flags;
}

std::string PlaceholderOf(const Param& flag) {
  switch (flag.type) {
    case ValueType::kSwitch:
      return "";
    case ValueType::kAddress:
      return "ADDRESS";
    case ValueType::kSize:
      return "SIZE";
    case ValueType::kNumber:
    case ValueType::kCount:
      return "N";
    case ValueType::kDuration:
      return "TIME";
    case ValueType::kPermission:
      return "r|w|rw";
    case ValueType::kHexBytes:
      return "HEX";
    case ValueType::kRange:
      return "RANGE";
    case ValueType::kId:
      return "ID";
    case ValueType::kName:
      return absl::AsciiStrToUpper(WordsOf(flag.kind).singular);
    case ValueType::kChoice:
      return std::string(flag.choices);
    case ValueType::kText:
      break;
  }
  return "TEXT";
}

absl::Status CheckValue(const Param& param, absl::string_view value) {
  switch (param.type) {
    case ValueType::kSwitch:
    case ValueType::kText:
      return absl::OkStatus();
    case ValueType::kId:
      return value.empty() ? absl::InvalidArgumentError("must not be empty") : absl::OkStatus();
    case ValueType::kAddress:
      return ParseAddress(value).status();
    case ValueType::kSize:
      return ParseSize(value).status();
    case ValueType::kCount:
      return ParseNumber(value, 1).status();
    case ValueType::kNumber:
      return ParseNumber(value, 0).status();
    case ValueType::kDuration:
      return ParseDuration(value).status();
    case ValueType::kPermission:
      return ParsePermission(value).status();
    case ValueType::kRange:
      return ParseRange(value).status();
    case ValueType::kHexBytes:
      return ParseHexBytes(value).status();
    case ValueType::kName:
      return ResourceName(param.kind, value).status();
    case ValueType::kChoice:
      return CheckChoice(param, value);
  }
  return absl::OkStatus();
}

std::string UsageOf(const Command& command) {
  std::string usage = absl::StrCat("viommuctl ", command.name);
  for (const Param& argument : command.arguments) {
    if (argument.presence == Presence::kRequired) absl::StrAppend(&usage, " ", argument.name);
    if (argument.presence == Presence::kOptional) {
      absl::StrAppend(&usage, " [", argument.name, "]");
    }
    if (argument.presence == Presence::kRepeated) {
      absl::StrAppend(&usage, " [", argument.name, "...]");
    }
  }
  std::vector<Param> flags = FlagsOf(command);
  flags.resize(flags.size() - GlobalFlags().size());
  // What must be given comes first.
  std::stable_partition(flags.begin(), flags.end(),
                        [](const Param& flag) { return flag.presence == Presence::kRequired; });
  for (const Param& flag : flags) absl::StrAppend(&usage, " ", UsageOf(flag));
  return usage;
}

bool IsCalled(const Command& command, const std::vector<std::string>& words) {
  const std::vector<std::string> name = absl::StrSplit(command.name, ' ');
  if (words.size() < name.size() || words[0] != name[0]) return false;
  for (size_t i = 1; i < name.size(); ++i) {
    if (Stem(words[i]) != Stem(name[i])) return false;
  }
  return true;
}

}  // namespace viommu
