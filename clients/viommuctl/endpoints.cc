#include "clients/viommuctl/endpoints.h"

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"

namespace viommu {
namespace {

// As viommud has it by default.
constexpr char kDefaultTarget[] = ".state/viommud.sock";
constexpr char kEndpointsFile[] = "endpoints.json";
constexpr char kSayWhere[] = "say where the metrics are: --metrics IPV4:PORT";

// Folder of the target's socket; empty for TCP.
std::string FolderOf(absl::string_view target) {
  const bool is_unix = absl::ConsumePrefix(&target, "unix:");
  if (is_unix) absl::ConsumePrefix(&target, "//");
  const size_t slash = target.rfind('/');
  if (slash != absl::string_view::npos) return std::string(target.substr(0, slash + 1));
  return is_unix ? "./" : "";
}

}  // namespace

std::string TargetFrom(absl::string_view flag) {
  if (!flag.empty()) return std::string(flag);
  const char* const environment = std::getenv("VIOMMU_TARGET");
  return environment != nullptr && *environment != 0 ? environment : kDefaultTarget;
}

absl::StatusOr<std::string> MetricsAddressAt(absl::string_view target) {
  const std::string folder = FolderOf(target);
  if (folder.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(target, " has no ", kEndpointsFile, " beside it; ", kSayWhere));
  }
  const std::string path = absl::StrCat(folder, kEndpointsFile);
  std::ifstream file(path);
  if (!file) return absl::UnavailableError(absl::StrCat("there is no ", path, "; ", kSayWhere));
  const std::string text(std::istreambuf_iterator<char>(file), {});
  google::protobuf::Struct endpoints;
  if (!google::protobuf::util::JsonStringToMessage(text, &endpoints).ok()) {
    return absl::UnavailableError(absl::StrCat(path, " is not the JSON object it should be"));
  }
  const auto found = endpoints.fields().find("metrics_address");
  if (found == endpoints.fields().end()) {
    return absl::UnavailableError("this viommud serves no metrics (--metrics_address is empty)");
  }
  return found->second.string_value();
}

}  // namespace viommu
