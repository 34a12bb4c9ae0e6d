#include "server/settings.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace viommu {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::EnumDescriptor;
using ::google::protobuf::EnumValueDescriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;

// Reads a whole number of the field's width; false: the flag's value is none.
template <typename Number>
bool ParseNumber(const CommandLine::Flag& flag, Number* number, Problems* problems) {
  if (absl::SimpleAtoi(flag.value, number)) return true;
  problems->push_back(absl::StrCat("--", flag.name, ": \"", flag.value, "\" is no whole number"));
  return false;
}

// "log_level" and "debug" are LOG_LEVEL_DEBUG.
std::string ValuePrefix(absl::string_view setting) {
  return absl::StrCat(absl::AsciiStrToUpper(setting), "_");
}

// "debug, info, warning, error".
std::string ValuesOf(const FieldDescriptor& field) {
  const EnumDescriptor& type = *field.enum_type();
  const size_t prefix = ValuePrefix(field.name()).size();
  std::vector<std::string> values;
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() == 0) continue;
    values.push_back(absl::AsciiStrToLower(type.value(i)->name().substr(prefix)));
  }
  return absl::StrJoin(values, ", ");
}

void OverrideEnum(const CommandLine::Flag& flag, const FieldDescriptor& field, Message* message,
                  Problems* problems) {
  const EnumValueDescriptor* value = field.enum_type()->FindValueByName(
      absl::StrCat(ValuePrefix(flag.name), absl::AsciiStrToUpper(flag.value)));
  if (value == nullptr || value->number() == 0) {
    problems->push_back(
        absl::StrCat("--", flag.name, ": \"", flag.value, "\" is none of ", ValuesOf(field)));
    return;
  }
  message->GetReflection()->SetEnum(message, &field, value);
}

// Lays one flag over the message.
void Override(const CommandLine::Flag& flag, Message* message, Problems* problems) {
  const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(flag.name);
  const auto* reflection = message->GetReflection();
  // Whatever the file says is overridden, even by a value that turns out to be none.
  reflection->ClearField(message, field);
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
    reflection->SetString(message, field, flag.value);
  } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_UINT32) {
    uint32_t number = 0;
    if (ParseNumber(flag, &number, problems)) reflection->SetUInt32(message, field, number);
  } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_UINT64) {
    uint64_t number = 0;
    if (ParseNumber(flag, &number, problems)) reflection->SetUInt64(message, field, number);
  } else {
    OverrideEnum(flag, *field, message, problems);
  }
}

// Takes the value of the flag `name` from behind its '=' or from the next argument.
std::optional<std::string> TakeValue(const std::vector<std::string>& arguments, size_t* i,
                                     absl::string_view name, Problems* problems) {
  const size_t equals = arguments[*i].find('=');
  if (equals != std::string::npos) return arguments[*i].substr(equals + 1);
  if (*i + 1 < arguments.size() && !absl::StartsWith(arguments[*i + 1], "--")) {
    return arguments[++*i];
  }
  problems->push_back(absl::StrCat("--", name, ": needs a value"));
  return std::nullopt;
}

bool IsSetting(const Descriptor& settings, const std::string& name) {
  const FieldDescriptor* field = settings.FindFieldByName(name);
  return field != nullptr && !field->is_repeated() && field->message_type() == nullptr;
}

}  // namespace

CommandLine ParseFlags(const Descriptor& settings, const std::vector<std::string>& arguments,
                       Problems* problems) {
  CommandLine line;
  std::set<std::string> seen;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--help" || argument == "-h") {
      line.help = true;
    } else if (argument == "--version") {
      line.version = true;
    } else if (!absl::StartsWith(argument, "--")) {
      problems->push_back(absl::StrCat("\"", argument, "\": not understood; see --help"));
    } else {
      const std::string name = argument.substr(2, argument.find('=') - 2);
      if (name != "config" && !IsSetting(settings, name)) {
        problems->push_back(absl::StrCat("--", name, ": no such flag; see --help"));
        continue;
      }
      std::optional<std::string> value = TakeValue(arguments, &i, name, problems);
      if (!value.has_value()) continue;
      if (!seen.insert(name).second) {
        problems->push_back(absl::StrCat("--", name, ": given twice"));
      } else if (name == "config") {
        line.config_file = *std::move(value);
      } else {
        line.settings.push_back({name, *std::move(value)});
      }
    }
  }
  return line;
}

SettingsSource::SettingsSource(const CommandLine& command_line, Message* message,
                               Problems* problems)
    : file_(command_line.config_file) {
  if (!command_line.config_file.empty()) {
    const absl::StatusOr<std::string> text = ReadTextFile(command_line.config_file);
    if (text.ok()) {
      file_.Parse(*text, message, problems);
    } else {
      problems->push_back(absl::StrCat("--config: ", text.status().message()));
    }
  }
  for (const CommandLine::Flag& flag : command_line.settings) {
    Override(flag, message, problems);
    flags_.insert(flag.name);
  }
}

std::string SettingsSource::Origin(absl::string_view setting) const {
  if (flags_.count(std::string(setting)) != 0) return absl::StrCat("--", setting);
  if (file_.Has(setting)) return absl::StrCat(file_.Where(setting), ": ", setting);
  return absl::StrCat("default of ", setting);
}

}  // namespace viommu
