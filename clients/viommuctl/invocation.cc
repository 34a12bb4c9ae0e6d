#include "clients/viommuctl/invocation.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "clients/client/target.h"
#include "clients/viommuctl/endpoints.h"
#include "clients/viommuctl/values.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/json_util.h"

namespace viommu {
namespace {

using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;

// Somebody at a terminal waits: where nobody listens on this host, nobody soon will.
constexpr absl::Duration kConnectPatience = absl::Seconds(1);
// The most that a server gives; it reduces a larger wish.
constexpr uint64_t kPageSize = 1000;

// The items of a listing: its repeated field.
const FieldDescriptor* ItemsOf(const Message& listing) {
  const auto* type = listing.GetDescriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    if (type->field(i)->is_repeated()) return type->field(i);
  }
  return nullptr;
}

uint64_t CountOf(const Message& listing) {
  const FieldDescriptor* items = ItemsOf(listing);
  return items == nullptr
             ? 0
             : static_cast<uint64_t>(listing.GetReflection()->FieldSize(listing, items));
}

const FieldDescriptor* FieldNamed(const Message& message, const char* name) {
  return message.GetDescriptor()->FindFieldByName(name);
}

void SetText(Message* message, const char* field, const std::string& text) {
  if (const FieldDescriptor* found = FieldNamed(*message, field)) {
    message->GetReflection()->SetString(message, found, text);
  }
}

}  // namespace

const std::vector<std::string>& Invocation::Texts(absl::string_view name) const {
  static const auto* const kNone = new std::vector<std::string>();
  const auto found = line_.values.find(std::string(name));
  return found == line_.values.end() ? *kNone : found->second;
}

uint64_t Invocation::Address(absl::string_view name) const {
  return ParseAddress(Text(name)).value_or(0);
}

uint64_t Invocation::Size(absl::string_view name) const {
  return ParseSize(Text(name)).value_or(0);
}

int Invocation::Number(absl::string_view name) const {
  return ParseNumber(Text(name), 0).value_or(0);
}

v1::Permission Invocation::PermissionOf(absl::string_view name) const {
  return ParsePermission(Text(name)).value_or(v1::PERMISSION_UNSPECIFIED);
}

const Param* Invocation::Find(absl::string_view name) const {
  for (const auto* params : {&line_.command->arguments, &line_.command->flags}) {
    for (const Param& param : *params) {
      if (param.name == name) return &param;
    }
  }
  return nullptr;
}

std::string Invocation::Name(absl::string_view name) const {
  const Param* const param = Find(name);
  if (param == nullptr || !Has(name)) return "";
  return ResourceName(param->kind, Text(name)).value_or("");
}

std::string Invocation::FirstName() const { return Name(line_.command->arguments.front().name); }

std::string Invocation::target() const { return TargetFrom(Text("target")); }

bool Invocation::IsListenedAt() const {
  const absl::StatusOr<Target> parsed = ParseTarget(target());
  return parsed.ok() && viommu::IsListenedAt(parsed->socket_path);
}

absl::StatusOr<Client*> Invocation::Connected() {
  if (client_ != nullptr) return client_.get();
  ClientOptions options;
  if (Has("timeout")) {
    // In a line that is being completed no value has been checked.
    const absl::StatusOr<absl::Duration> timeout = ParseDuration(Text("timeout"));
    if (!timeout.ok()) return timeout.status();
    options.call_timeout = *timeout;
  }
  options.connect_timeout = std::min(options.call_timeout, kConnectPatience);
  if (patience_ > absl::ZeroDuration()) {
    options.connect_timeout = options.call_timeout = options.reconnect_timeout = patience_;
    options.max_attempts = 1;
  }
  absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect(target(), options);
  if (absl::IsUnavailable(client.status()) && options.connect_timeout < options.call_timeout &&
      IsListenedAt()) {
    // A busy host does not always let a daemon answer at once.
    options.connect_timeout = options.call_timeout;
    client = Client::Connect(target(), options);
  }
  if (!client.ok()) return client.status();
  if (Has("verbose")) err_ << "viommuctl: connected to " << target() << "\n";
  client_ = *std::move(client);
  return client_.get();
}

void Invocation::Prepare(Message* request) const {
  const FieldDescriptor* const validate_only = FieldNamed(*request, "validate_only");
  if (validate_only != nullptr && DryRun()) {
    request->GetReflection()->SetBool(request, validate_only, true);
  }
  if (Has("request-id")) SetText(request, "request_id", Text("request-id"));
  if (Has("etag")) SetText(request, "etag", Text("etag"));
}

void Invocation::Note(const Message& request, const absl::Status& status, absl::Duration took) {
  if (!Has("verbose")) return;
  err_ << "viommuctl: " << request.GetDescriptor()->name() << " {" << request.ShortDebugString()
       << "} " << absl::StatusCodeToString(status.code()) << " "
       << absl::FormatDuration(absl::Trunc(took, absl::Microseconds(1))) << "\n";
}

int Invocation::NextPageSize(const Message& all, uint64_t limit) {
  const uint64_t wanted = limit == 0 ? kPageSize : std::min(kPageSize, limit - CountOf(all));
  return static_cast<int>(wanted);
}

bool Invocation::IsFull(const Message& all, uint64_t limit) {
  return limit != 0 && CountOf(all) >= limit;
}

uint64_t Invocation::Limit() const { return static_cast<uint64_t>(Number("limit")); }

bool Invocation::ForPrograms() const { return Has("output") && Text("output") != "table"; }

void Invocation::PrintMessage(const Message& message) {
  std::string text;
  if (Text("output") == "json") {
    google::protobuf::util::JsonPrintOptions options;
    options.add_whitespace = true;
    options.preserve_proto_field_names = true;
    // It fails only for messages that hold an Any, which ours do not.
    static_cast<void>(google::protobuf::util::MessageToJsonString(message, &text, options));
  } else {
    google::protobuf::TextFormat::PrintToString(message, &text);
  }
  out_ << text;
}

void Invocation::Show(const Message& message, const Table& table) {
  if (ForPrograms()) {
    PrintMessage(message);
  } else {
    Print(table.Format(/*with_headings=*/!Quiet()));
  }
}

void Invocation::ShowListing(const Message& message, bool is_cut, const Table& table) {
  if (!ForPrograms() && table.empty()) {
    if (!Quiet()) err_ << "none\n";
    return;
  }
  Show(message, table);
  if (is_cut && !Quiet()) err_ << "there are more; --limit " << Limit() << " left them out\n";
}

void Invocation::Did(const Message& message, absl::string_view subject,
                     absl::string_view participle, absl::string_view rest) {
  if (ForPrograms()) return PrintMessage(message);
  if (Quiet()) return;
  const absl::string_view gap = rest.empty() ? "" : " ";
  Print(DryRun() ? absl::StrCat(subject, " would be ", participle, gap, rest,
                                " (dry run: nothing is changed)\n")
                 : absl::StrCat(subject, " ", participle, gap, rest, "\n"));
}

}  // namespace viommu
