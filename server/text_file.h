// server/text_file.h -- A protobuf message in text format, that remembers where each field stood.
#ifndef VIOMMU_SERVER_TEXT_FILE_H_
#define VIOMMU_SERVER_TEXT_FILE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "google/protobuf/text_format.h"

namespace viommu {

// What is wrong with what an operator wrote, one line each, fit to be read on a terminal. Start-up
// collects all of them before it gives up.
using Problems = std::vector<std::string>;

// The bytes of a file. kNotFound, kPermissionDenied or kInvalidArgument: it can not be read; the
// message names `path` and why.
absl::StatusOr<std::string> ReadTextFile(const std::string& path);

// Thread-compatible.
class TextFile {
 public:
  // `name` stands in front of every problem; for a file its path.
  explicit TextFile(std::string name) : name_(std::move(name)) {}

  // Reads `text` into `message`. Appends every unknown field, and the first thing that is no text
  // format at all (nothing can be read behind that one), as "name:line:column: ...". False: it did.
  bool Parse(absl::string_view text, google::protobuf::Message* message, Problems* problems);

  // Where the field at `path` ("devices[3].iommu") was given, as "name:line:column". When it was
  // not, where the innermost message around it begins; for one at the top, just the name.
  std::string Where(absl::string_view path) const;

  // Whether the field `path` was given.
  bool Has(absl::string_view path) const;

 private:
  struct Found {
    google::protobuf::TextFormat::ParseLocation location;  // Of the last segment that was found.
    bool complete = false;                                 // All segments were.
  };
  Found Find(absl::string_view path) const;

  std::string name_;
  const google::protobuf::Descriptor* descriptor_ = nullptr;
  google::protobuf::TextFormat::ParseInfoTree locations_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_TEXT_FILE_H_
