#include "server/announcement.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/json.h"

namespace viommu {
namespace {

// What a new user calls first: who serves, what is there, and something to make.
constexpr absl::string_view kFirstCalls[] = {
    "viommu.v1.HostService/GetHost",
    "viommu.v1.DeviceService/ListDevices",
    "viommu.v1.IoasService/CreateIoas",
};

// `word` as one word of a POSIX shell.
std::string ShellWord(absl::string_view word) {
  constexpr absl::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+./:,@%=";
  if (!word.empty() && word.find_first_not_of(kPlain) == absl::string_view::npos) {
    return std::string(word);
  }
  return absl::StrCat("'", absl::StrReplaceAll(word, {{"'", "'\\''"}}), "'");
}

void AppendField(absl::string_view name, absl::string_view value, std::string* json) {
  if (!value.empty()) absl::StrAppend(json, ",", JsonString(name), ":", JsonString(value));
}

}  // namespace

std::string EndpointsJson(const Endpoints& endpoints, int process_id) {
  std::string json = absl::StrCat("{\"pid\":", process_id);
  AppendField("unix_socket", endpoints.unix_socket, &json);
  AppendField("tcp_address", endpoints.tcp_address, &json);
  AppendField("metrics_address", endpoints.metrics_address, &json);
  AppendField("health_address", endpoints.health_address, &json);
  json.append("}\n");
  return json;
}

std::string Greeting(const Endpoints& endpoints, absl::string_view grpcurl) {
  std::string text = "viommud is ready.\n";
  absl::StrAppend(&text, "  unix socket  ", endpoints.unix_socket, "\n");
  if (!endpoints.tcp_address.empty()) {
    absl::StrAppend(&text, "  tcp          ", endpoints.tcp_address, "\n");
  }
  if (!endpoints.metrics_address.empty()) {
    absl::StrAppend(&text, "  metrics      http://", endpoints.metrics_address, "/metrics\n");
  }
  if (!endpoints.health_address.empty()) {
    absl::StrAppend(&text, "  health       ", endpoints.health_address, "\n");
  }
  text.append("Try in another terminal:\n");
  for (const absl::string_view call : kFirstCalls) {
    absl::StrAppend(&text, "  ", ShellWord(grpcurl), " -plaintext -unix ",
                    ShellWord(endpoints.unix_socket), " ", call, "\n");
  }
  text.append("Ctrl-C stops it.\n");
  return text;
}

}  // namespace viommu
