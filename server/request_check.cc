#include "server/request_check.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/unknown_field_set.h"

namespace viommu {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr size_t kMaxRequestIdBytes = 128;

// Where the walk is: built into text only when something is wrong, because batches are long.
struct Path {
  const Path* parent = nullptr;
  const FieldDescriptor* field = nullptr;
  int index = -1;  // -1: not repeated.

  std::string ToString() const {
    if (field == nullptr) return "";
    std::string out = parent->ToString();
    if (!out.empty()) out.push_back('.');
    absl::StrAppend(&out, std::string(field->name()));
    if (index >= 0) absl::StrAppend(&out, "[", index, "]");
    return out;
  }
};

absl::Status UnknownField(const Path& path, int number) {
  const std::string where = path.ToString();
  return Error(absl::StatusCode::kInvalidArgument, "UNKNOWN_FIELD",
               absl::StrCat(where.empty() ? "the request" : where, " has a field number ", number,
                            " that this version does not know"))
      .Errno("E2BIG")
      .Field(absl::StrCat(where, where.empty() ? "" : ".", number));
}

absl::Status CheckEnum(const Path& path, int value) {
  if (path.field->enum_type()->FindValueByNumber(value) != nullptr) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "UNKNOWN_ENUM_VALUE",
               absl::StrCat(path.ToString(), ": ", value, " is no ",
                            std::string(path.field->enum_type()->full_name())))
      .Errno("EINVAL")
      .Field(path.ToString());
}

absl::Status CheckMessage(const Path& path, const Message& message);

absl::Status CheckRepeated(const Path& parent, const Message& message,
                           const FieldDescriptor* field) {
  const Reflection& reflection = *message.GetReflection();
  const bool is_enum = field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM;
  for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
    const Path path{&parent, field, i};
    RETURN_IF_ERROR(is_enum ? CheckEnum(path, reflection.GetRepeatedEnumValue(message, field, i))
                            : CheckMessage(path, reflection.GetRepeatedMessage(message, field, i)));
  }
  return absl::OkStatus();
}

absl::Status CheckField(const Path& parent, const Message& message, const FieldDescriptor* field) {
  const bool is_enum = field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM;
  if (!is_enum && field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) return absl::OkStatus();
  if (field->is_repeated()) return CheckRepeated(parent, message, field);
  const Reflection& reflection = *message.GetReflection();
  const Path path{&parent, field, -1};
  return is_enum ? CheckEnum(path, reflection.GetEnumValue(message, field))
                 : CheckMessage(path, reflection.GetMessage(message, field));
}

// As deep as the request's type is, which is never recursive.
absl::Status CheckMessage(const Path& path, const Message& message) {
  const Reflection& reflection = *message.GetReflection();
  const auto& unknown = reflection.GetUnknownFields(message);
  if (!unknown.empty()) return UnknownField(path, unknown.field(0).number());
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) RETURN_IF_ERROR(CheckField(path, message, field));
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckKnown(const Message& request) { return CheckMessage(Path{}, request); }

absl::Status CheckRequestId(absl::string_view request_id) {
  bool printable = true;
  for (const char c : request_id) printable = printable && c > ' ' && c <= '~';
  if (printable && request_id.size() <= kMaxRequestIdBytes) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "MALFORMED_REQUEST_ID",
               absl::StrCat("request_id: ", request_id.size(), " bytes, but 1 to ",
                            kMaxRequestIdBytes,
                            " printable ASCII characters without spaces are expected"))
      .Errno("EINVAL")
      .Field("request_id");
}

absl::Status Require(bool present, absl::string_view field) {
  if (present) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "MISSING_FIELD",
               absl::StrCat(field, " is required"))
      .Errno("EINVAL")
      .Field(field);
}

}  // namespace viommu
