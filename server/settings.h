// server/settings.h -- Settings that are the fields of a message: read from a file, under flags of
// the same names.
//
// A flag wins over the file. Strings, numbers and enums can be flags; an enum's value is the rest
// of its name behind the field's, in small letters (`--log_level=debug` is LOG_LEVEL_DEBUG).
#ifndef VIOMMU_SERVER_SETTINGS_H_
#define VIOMMU_SERVER_SETTINGS_H_

#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "server/text_file.h"

namespace viommu {

// A command line, taken apart.
struct CommandLine {
  struct Flag {
    std::string name;
    std::string value;
  };
  std::vector<Flag> settings;  // As given, `--name=value` or `--name value`.
  std::string config_file;     // --config; empty: none.
  bool help = false;
  bool version = false;
};

// `arguments` without the program's name; what can be a flag says `settings`. Unknown flags, flags
// without value, flags given twice and stray words are appended to `problems`.
CommandLine ParseFlags(const google::protobuf::Descriptor& settings,
                       const std::vector<std::string>& arguments, Problems* problems);

// Where each setting came from. Thread-compatible.
class SettingsSource {
 public:
  // Reads the file that the command line names into `message` and lays the flags over it.
  SettingsSource(const CommandLine& command_line, google::protobuf::Message* message,
                 Problems* problems);

  // What to put before a complaint about a setting: the flag, or the place in the file.
  std::string Origin(absl::string_view setting) const;

 private:
  TextFile file_;
  std::set<std::string> flags_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_SETTINGS_H_
